"""A real git repository of this project's tree, to compare revisions in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from samenet.environments import ROOT
from tests.support import warm
from tests.support.command_line import PYTEST, TRIES, disturbed, skip_if_disturbed

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org"}
IDENTITY |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org"}
NUMPY = "impls/numpy_mlp.py"
STEP = "    hidden, backward = hidden_layer(x, *first)\n"


class Repository:
    """A copy of this project's tree under git, with one commit."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Copy the tree to ``folder`` and commit it; runs take their images from ``data``."""
        self.folder, self.data, self.saved = folder, data, folder.parent / "saved.json"
        # .gitignore is part of the tree, and bytecode saves each process a second; what has a suffix is being written.
        ignored = shutil.ignore_patterns(".[!g]*", ".git", "*.pyc.*")
        shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git, and return what it prints."""
        command = ["git", *arguments]
        environment = os.environ | IDENTITY
        return subprocess.run(
            command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace ``old``, which has to be there, by ``new``."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def against(self, revision: str, *options: str, cases: str = "numpy-cpu") -> tuple[int, str, dict[str, Any]]:
        """Measure the tree against ``revision``; return the exit code, the output and the saved comparison.

        Until the machine has disturbed no case; the test is skipped if it always does.
        """
        for _ in range(TRIES):
            code, output, comparison = self._against(revision, *options, cases=cases)
            if not disturbed(output):
                break
        skip_if_disturbed(output)
        return code, output, comparison

    def _against(self, revision: str, *options: str, cases: str) -> tuple[int, str, dict[str, Any]]:
        command = [*PYTEST, "-k", cases]
        command += ["--against", revision, "--data", str(self.data), "--workload", "hidden=100,batch_size=200"]
        command += ["--iterations", "60", "--budget", "3", f"--benchmark-json={self.saved}", *options]
        environment = os.environ | {"TOX_WORK_DIR": os.environ.get("TOX_WORK_DIR", str(ROOT / ".tox"))}
        done = warm.run(command, cwd=self.folder, env=environment, timeout=300)
        content = self.saved.read_text() if self.saved.exists() else ""
        comparison = json.loads(content)["samenet"]["against"] if content else {}
        return done.returncode, done.stdout + done.stderr, comparison
