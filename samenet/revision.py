"""Another revision of this repository: its implementations, and the environments that its pins ask for."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impls.lanes import Case, Device, Implementation
from samenet.environments import find_interpreter, tox_folder
from samenet.errors import NoInterpreterError, RevisionError
from samenet.saved import Commit

if TYPE_CHECKING:
    from collections.abc import Mapping

# Runs in the revision's own tree, whose types may be others: this is all that starting a worker takes.
LIST_CASES = """
import json
from impls.registry import cases
print(json.dumps([
    [str(each.device), each.implementation.name, each.implementation.trainer, each.implementation.environment,
     each.implementation.packages]
    for each in cases()
]))
"""


def git(root: Path, *arguments: str) -> bytes:
    """Return what ``git`` prints in ``root``.

    Raises:
        RevisionError: git is not there, or fails.
    """
    try:
        # A hook's GIT_DIR and the like would name another repository.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
        }
        done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=True)  # noqa: S603, S607
    except FileNotFoundError:
        raise RevisionError("there is no git on this machine; install it") from None
    except subprocess.CalledProcessError as error:
        raise RevisionError(error.stderr.decode(errors="replace").strip().removeprefix("fatal: ")) from None
    return done.stdout


@dataclass(frozen=True)
class Revision:
    """A revision's files in a folder that exists as long as this object, and the cases that it has, by id."""

    name: str
    commit: str
    folder: Path
    cases: Mapping[str, Case]
    temporary: tempfile.TemporaryDirectory[str]

    def find_interpreter(self, case: Case, given: Mapping[str, Path], root: Path) -> Path:
        """Return the interpreter for ``case``: the present one's, or one with the revision's pins where they differ.

        ``root`` is the present tree. A new environment is kept next to tox's others, under the pins' fingerprint.

        Raises:
            NoInterpreterError: there is none, and none can be made.
        """
        environment = case.implementation.environment
        pins = _pins(self.folder, environment)
        if pins == _pins(root, environment) or environment in given or case.implementation.name in given:
            return find_interpreter(case.implementation, given, root)
        work = tox_folder(root) / "revisions" / hashlib.sha256(pins.encode()).hexdigest()[:12]
        python = work / environment / "bin" / "python"
        if not python.exists():
            tox = shutil.which("tox")
            if tox is None:
                raise NoInterpreterError(f"{self.name} pins other packages for {environment}; install tox to get them")
            command = [tox, "run", "-q", "-c", str(self.folder / "tox.ini"), "--workdir", str(work), "-e", environment]
            clean = {name: value for name, value in os.environ.items() if not name.startswith("TOX_")}
            done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-1:]
                raise NoInterpreterError(f"tox cannot make {environment} of {self.name}: {' '.join(last)}")
        return python


def _pins(root: Path, environment: str) -> str:
    """Return what ``tox.ini`` below ``root`` installs into ``environment``, and with which Python."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "tox.ini", encoding="utf-8")
    section = f"testenv:{environment}"
    if section not in parser:
        return ""
    return "\n".join(parser[section].get(key, "").strip() for key in ("base_python", "deps"))


def present_commit(root: Path) -> Commit:
    """Return the commit that ``root`` has checked out; without a repository it is unknown."""
    try:
        commit = git(root, "rev-parse", "HEAD").decode().strip()
        branch = git(root, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        return Commit(commit, branch, bool(git(root, "status", "--porcelain")))
    except RevisionError:
        return Commit()


def check_out(name: str, root: Path) -> Revision:
    """Write the files of revision ``name`` into a temporary folder, and list its cases.

    The present tree is not touched, and may have uncommitted changes.

    Raises:
        RevisionError: there is no such revision here, or it has no registry of implementations.
    """
    try:
        commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except RevisionError as error:
        if str(error):  # no git, or no repository
            raise
        shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
        remedy = "this clone is shallow; run: git fetch --unshallow" if shallow else "see: git log --oneline"
        raise RevisionError(f"there is no revision {name!r} here; {remedy}") from None
    sha = commit.decode().strip()
    if not git(root, "ls-tree", sha, "--", "impls"):
        raise RevisionError(f"{name} has no folder impls, so it has no implementations; choose another revision")
    temporary = tempfile.TemporaryDirectory(prefix="samenet-revision-")  # removed with the revision
    folder = Path(temporary.name)
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", sha))) as archive:
        archive.extractall(folder, filter="data")
    listed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", LIST_CASES], cwd=folder, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        last = listed.stderr.strip().splitlines()[-1:]
        raise RevisionError(f"{name} cannot list its implementations: {' '.join(last)}; choose another revision")
    cases = [
        Case(
            Implementation(name=entry, trainer=trainer, environment=environment, packages=tuple(map(tuple, packages))),
            Device.parse(device),
        )
        for device, entry, trainer, environment, packages in json.loads(listed.stdout)
    ]
    return Revision(name, sha, folder, {case.id: case for case in cases}, temporary)
