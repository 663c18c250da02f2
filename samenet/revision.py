"""Another revision of this repository: its implementations, and the environments that its pins ask for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impls.lanes import Case, Device, Implementation
from samenet.environments import environment_name, find_interpreter, tox_folder, tox_settings
from samenet.errors import NoInterpreterError, RevisionError
from samenet.failures import first_line
from samenet.git import git, is_tracked
from samenet.installers import UV_EXPLAINS, failure

if TYPE_CHECKING:
    from collections.abc import Mapping

# Runs in the revision's own tree, whose types may be others: this is all that starting a worker takes.
LIST_CASES = """
import json
import sys
sys.path.insert(0, sys.argv[1])  # PYTHONSAFEPATH keeps the present folder out
from impls.registry import cases
print(json.dumps([
    [str(each.device), each.implementation.name, each.implementation.trainer, each.implementation.environment,
     each.implementation.packages, getattr(each.implementation, "shares_work", True),
     getattr(each.implementation, "devices", [each.device.kind])]
    for each in cases()
]))
"""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision's files in a folder that exists as long as this object, and the cases that it has, by id."""

    name: str
    commit: str
    folder: Path
    cases: Mapping[str, Case]
    temporary: tempfile.TemporaryDirectory[str]

    def find(self, case: Case) -> Case | None:
        """Return ``case`` as it was, or None if the revision has none: ``cases`` lists one device of a kind."""
        former = (each.implementation for each in self.cases.values())
        kinds = {each.name: each for each in former if case.device.kind in each.devices}
        name = case.implementation.name
        return Case(kinds[name], case.device) if name in kinds else None

    def find_interpreter(self, case: Case, given: Mapping[str, Path], root: Path) -> Path:
        """Return the interpreter for ``case``: the present one's, or one with the revision's pins where they differ.

        ``root`` is the present tree. A new environment is kept next to tox's others, under the pins' fingerprint.

        Raises:
            NoInterpreterError: there is none, and none can be made.
        """
        environment = environment_name(case.implementation, case.device, root)
        pins = _pins(self.folder, environment)
        plain = case.implementation.environment
        names = {plain, case.implementation.name}
        former, present = (without_extras(_pins(tree, plain)) for tree in (self.folder, root))
        if environment != plain and not pins and former != present:  # it is older than the environments for GPUs
            raise NoInterpreterError(
                f"{self.name} has no environment {environment}, and pins other packages for {plain}"
            )
        if pins in ("", _pins(root, environment)) or names & given.keys():  # "": the revision has no such environment
            return find_interpreter(case.implementation, given, root, case.device)
        work = tox_folder(root) / "revisions" / hashlib.sha256(pins.encode()).hexdigest()[:12]
        python = work / environment / "bin" / "python"
        if not python.exists():
            tox = shutil.which("tox")
            if tox is None:
                raise NoInterpreterError(f"{self.name} pins other packages for {environment}; install tox to get them")
            command = [tox, "run", "-q", "-c", str(self.folder / "tox.ini"), "--workdir", str(work), "-e", environment]
            clean = {name: value for name, value in os.environ.items() if not name.startswith("TOX_")}
            clean["NO_COLOR"] = "1"
            done = subprocess.run(command, env=clean, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
            if done.returncode:
                shutil.rmtree(work / environment, ignore_errors=True)  # a half-made one would be taken for whole
                reason = tox_reason(done.stdout, done.stderr, pins)
                raise NoInterpreterError(f"tox cannot make {environment} of {self.name}: {reason}")
        return python


def _pins(root: Path, environment: str) -> str:
    """Return what ``tox.ini`` below ``root`` installs into ``environment``, and with which Python."""
    settings = tox_settings(environment, root)
    return "" if settings is None else "\n".join(settings.get(key, "").strip() for key in ("base_python", "deps"))


def without_extras(pins: str) -> str:
    """Return ``pins`` without what is in brackets, such as CUDA's libraries, which change no version."""
    return re.sub(r"\[.*?\]", "", pins)


def tox_reason(output: str, errors: str, pins: str) -> str:
    """Return why tox failed: pip's or uv's error, or that of the import; tox ends with ``evaluation failed``."""
    if re.search(f"^ERROR: |{UV_EXPLAINS}", errors, re.MULTILINE):
        return str(failure(errors))
    if "Traceback (most recent call last)" in errors:
        return first_line(errors)
    if ": SKIP" in output:
        return f"there is no {pins.partition(chr(10))[0] or 'Python for it'}; install it"
    return next((line.strip() for line in (errors + output).splitlines() if line.strip()), "it does not say why")


def _extract(content: bytes, folder: Path, name: str) -> None:
    """Write the files of revision ``name``, a tar archive, into ``folder``.

    Raises:
        RevisionError: they cannot be written.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise RevisionError(f"{name} cannot be unpacked: {error}; choose another revision") from None
    except OSError as error:
        raise RevisionError(
            f"{name} cannot be unpacked into {folder}: {error.strerror}; set TMPDIR to a folder with free space"
        ) from None


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
    if not is_tracked(root, sha):
        if not is_tracked(root, "HEAD"):
            raise RevisionError(f"samenet in {root} is not part of a repository; run this in a git checkout of samenet")
        raise RevisionError(f"{name} has no folder impls, so it has no implementations; choose another revision")
    temporary = tempfile.TemporaryDirectory(prefix="samenet-revision-")  # removed with the revision
    folder = Path(temporary.name)
    _extract(git(root, "archive", "--format=tar", sha), folder, name)
    listed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", LIST_CASES, str(folder)], cwd=folder, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        reason = first_line(listed.stderr)
        raise RevisionError(f"{name} cannot list its implementations: {reason}; choose another revision")
    cases = [
        Case(
            Implementation(
                name=entry,
                trainer=trainer,
                environment=environment,
                packages=tuple(map(tuple, packages)),
                shares_work=shares_work,
                devices=tuple(devices),
            ),
            Device.parse(device),
        )
        for device, entry, trainer, environment, packages, shares_work, devices in json.loads(listed.stdout)
    ]
    return Revision(name=name, commit=sha, folder=folder, cases={case.id: case for case in cases}, temporary=temporary)
