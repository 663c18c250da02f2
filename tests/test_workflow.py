"""The workflow of GitHub Actions: its shell steps, run in a real repository, and what it may do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.test_against import IDENTITY, NUMPY, STEP, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/benchmarks.yml").read_text(encoding="utf-8"))
SHORT = "-k numpy-cpu -p no:cacheprovider --iterations 20 --launches 3 --workload hidden=50,batch_size=100"
GH = """#!/bin/sh
echo "$@" > called; cat results/comment.md >> called
"""


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each step of each job."""
    for name, job in WORKFLOW["jobs"].items():
        for step in job["steps"]:
            yield name, step


def shell(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the step called ``name`` in ``folder`` as a runner of GitHub's would."""
    (script,) = [step["run"] for _, step in steps() if step.get("name") == name]
    settings = {"TOX_WORK_DIR": os.environ.get("TOX_WORK_DIR", str(ROOT / ".tox"))} | os.environ | IDENTITY
    settings["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), settings["PATH"]])
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=settings | environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path, small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository with a remote, whose measurements are short."""
    repository = Repository(tmp_path / "checkout", small_mnist)
    repository.git("clone", "--quiet", "--bare", str(repository.folder), str(tmp_path / "remote"))
    repository.git("remote", "add", "origin", str(tmp_path / "remote"))
    repository.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    repository.git("fetch", "--quiet", "origin")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{SHORT} --data {small_mnist}")
    return repository


def test_a_pull_request_is_compared_with_its_merge_base(checkout: Repository) -> None:
    """Main has gone on since: what is measured beside is where the branches part; and the comment is posted."""
    folder = checkout.folder
    base = checkout.git("rev-parse", "HEAD").strip()
    checkout.edit("README.md", "# samenet", "# samenet, later")
    checkout.commit()
    checkout.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    checkout.git("fetch", "--quiet", "origin")
    checkout.git("reset", "--quiet", "--hard", base)
    checkout.edit(NUMPY, STEP, 8 * STEP)
    checkout.commit()
    summary = folder.parent / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "PYTEST_ADDOPTS": ""}
    github["PYTEST_ADDOPTS"] = f"{os.environ['PYTEST_ADDOPTS']} --budget 6"
    compared = shell("Compare with the merge base", folder, BASE="main", **github)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert f"this tree against {base} ({base[:9]})" in compared.stdout
    assert "::error title=numpy-cpu is slower::" in compared.stdout
    assert {path.name for path in (folder / "results").iterdir()} == {"comment.md", "junit.xml", "against.json"}
    comment = (folder / "results/comment.md").read_text()
    assert summary.read_text() == comment
    (folder / "bin").mkdir()
    (folder / "bin/gh").write_text(GH)
    (folder / "bin/gh").chmod(0o755)
    posted = shell("Comment", folder, NUMBER="7", GITHUB_REPOSITORY="owner/name")
    assert posted.returncode == 0, posted.stderr
    called = "pr comment 7 --repo owner/name --body-file results/comment.md --edit-last --create-if-none\n"
    assert (folder / "called").read_text() == called + comment


def test_runs_of_main_become_the_history(checkout: Repository, tmp_path: Path) -> None:
    """The first one makes the branch, the second one adds to it; both can be compared from there."""
    for commit in ("a" * 40, "b" * 40):
        checkout.git("switch", "--quiet", "--force-create", "work", "origin/main")
        measured = shell("Measure", checkout.folder, GITHUB_SHA=commit)
        assert measured.returncode == 0, measured.stdout + measured.stderr
        kept = shell("Keep the run", checkout.folder, GITHUB_SHA=commit)
        assert kept.returncode == 0, kept.stderr
        checkout.git("switch", "--quiet", "work")
        checkout.git("branch", "--quiet", "--delete", "--force", "benchmarks")
        checkout.git("clean", "--quiet", "--force", "-d", "results")
    checkout.git("clone", "--quiet", "--branch", "benchmarks", str(tmp_path / "remote"), str(tmp_path / "history"))
    command = [sys.executable, "-m", "reports", "compare", "a" * 40, "b" * 40, "--storage", str(tmp_path / "history")]
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
    assert "numpy-cpu   inconclusive" in compared.stdout


def test_actions_are_pinned_and_rights_are_least() -> None:
    """Every action is a commit; nothing may be written by default, nor by the job that runs a pull request's code."""
    assert WORKFLOW["permissions"] == {}
    assert WORKFLOW["jobs"]["measure"]["permissions"] == {"contents": "read"}
    for name, step in steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert "${{" not in step["run"], f"{name} puts somebody's text into a script; hand it over in env"
