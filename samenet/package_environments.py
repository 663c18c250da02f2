"""Environments with one version of a package, in the user's cache: made where they are missing, and used again.

An environment is a folder named by a checksum of Python's version and of all that is installed. It is made under
another name and renamed when it is whole, so that one that was cut off is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from samenet import cpu_torch
from samenet.data import cache_folder
from samenet.environments import environments, tox_settings
from samenet.errors import NoInterpreterError, SettingsError
from samenet.installers import InstallError, find_installer, is_option, without_room
from samenet.machine.files import write_whole
from samenet.versions import PYTHON, own_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from impls.lanes import Case, PackageVersion

ABOUT = "samenet.json"
UNFINISHED = ".unfinished-"
MINORS = range(20, 7, -1)  # of Python 3, the newest first
DAY = 86_400  # seconds


@dataclass(frozen=True, kw_only=True)
class About:
    """What an environment has, as it is kept in it.

    Attributes:
        requests: checksums of what was asked for and led to it.
        python: the version of its interpreter.
        packages: versions by normalized name.
        size: bytes on disk.
    """

    requests: tuple[str, ...]
    python: str
    packages: dict[str, str]
    size: int = 0

    @property
    def key(self) -> str:
        """The name of its folder."""
        return checksum([self.python, *(f"{name}=={version}" for name, version in sorted(self.packages.items()))])


@dataclass(frozen=True)
class PackageEnvironment:
    """An environment that is whole; ``used`` is when it was last asked for, in seconds since the epoch."""

    folder: Path
    about: About
    used: float = field(default_factory=time.time)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def unused_days(self) -> float:
        """How long ago it was last asked for."""
        return (time.time() - self.used) / DAY

    def write(self, about: About) -> None:
        """Replace what is kept about it, which also says that it was used now."""
        write_whole(self.folder / ABOUT, msgspec.json.encode(about))


def checksum(texts: Sequence[str]) -> str:
    """Return a name for ``texts``."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def environments_folder() -> Path:
    """Return the folder of all environments, whether it is there or not."""
    return cache_folder() / "environments"


def made_environments() -> list[PackageEnvironment]:
    """Return the environments that are there, the last one used first."""
    found = []
    for path in environments_folder().glob(f"*/{ABOUT}"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            about = msgspec.json.decode(path.read_bytes(), type=About)
            found.append(PackageEnvironment(path.parent, about, path.stat().st_mtime))
    return sorted((each for each in found if os.access(each.python, os.X_OK)), key=lambda each: -each.used)


def prune(days: float) -> list[PackageEnvironment]:
    """Remove the environments that were not used for so many days, and all that is broken; return the former."""
    made = made_environments()
    kept = {each.folder for each in made if each.unused_days < days}
    for folder in environments_folder().glob("*"):
        if folder not in kept and not _is_being_made(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return [each for each in made if not each.folder.exists()]


def _is_being_made(folder: Path) -> bool:
    """Return whether the process whose number is in an unfinished environment's name is still there."""
    owner = re.match(rf"{re.escape(UNFINISHED)}(\d+)-", folder.name)
    return owner is not None and Path("/proc", owner[1]).exists()


def requests(case: Case, root: Path) -> list[list[str]]:
    """Return what to install for ``case``: requirements and options of the installer, in order of trial.

    Without a version these are the pins of its tox environment. With one, all other packages first have these pins;
    then those may differ that the implementation is not written for. Packages that belong to the version, as jaxlib
    does to jax, always follow it.
    """
    wanted, own = case.version, own_packages(case.implementation)
    names = environments(case.implementation, case.device, root)
    settings: Mapping[str, str] = next(filter(None, (tox_settings(name, root) for name in names)), {})
    lines = [line.strip() for line in settings.get("deps", "").splitlines() if line.strip()]
    options = [line.replace(" ", "=", 1) for line in lines if is_option(line)]
    pinned = map(Requirement, filterfalse(is_option, lines))
    pins: dict[str, Requirement] = {canonicalize_name(pin.name): pin for pin in pinned}
    pins = pins or {name: Requirement(name) for name in sorted({*own, "numpy"})}
    if wanted is None or wanted.package == PYTHON:
        return [[*options, *map(str, pins.values())]]
    follow = own if wanted.package in own else set()
    trials = []
    for may_differ in (follow, set(pins) - own | follow):
        chosen = [bare(pin) if name in may_differ else str(pin) for name, pin in pins.items() if name != wanted.package]
        exact = bare(pins.get(wanted.package, Requirement(wanted.package))) + f"=={wanted.version}"
        trials.append([*options, exact, *chosen])
    return trials if trials[0] != trials[1] else trials[:1]


def bare(requirement: Requirement) -> str:
    """Return a requirement without its version."""
    return requirement.name + (f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else "")


def python_version(python: Path) -> str:
    """Return the version of an interpreter, or "" if it does not run, as pyenv's shims may not."""
    command = [str(python), "-I", "-c", "import platform; print(platform.python_version())"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip()
    return ""


def interpreters(wanted: PackageVersion | None) -> Iterator[Path]:
    """Yield the interpreters to try: the version of Python that is asked for, or else this one and then the others."""
    if wanted and wanted.package == PYTHON:
        found = shutil.which(f"python{wanted.version}")
        if found:
            yield Path(found)
        return
    yield Path(sys.executable)
    names = (f"python3.{minor}" for minor in MINORS if minor != sys.version_info.minor)
    yield from (Path(found) for name in names if (found := shutil.which(name)))


def request_of(version: str, trials: Sequence[Sequence[str]]) -> str:
    """Return a name for what is asked for: a version of Python, and what to install."""
    return checksum([version, *("\n".join(trial) for trial in trials)])


def find_made(case: Case, root: Path) -> PackageEnvironment | None:
    """Return the environment for ``case`` that ``obtain`` has made before, if it has."""
    made = made_environments()
    if not made:
        return None
    trials = requests(case, root)
    wanted = {request_of(python_version(python), trials) for python in interpreters(case.version)}
    return next((each for each in made if wanted & {*each.about.requests}), None)


def obtain(case: Case, root: Path, say: Callable[[str], None]) -> PackageEnvironment:
    """Return the environment for ``case``, which is made if it is not there; ``say`` what that takes.

    Raises:
        NoInterpreterError: there are no wheels for it.
        SettingsError: no index can be reached, or the disk is full: no other version would fare better.
    """
    wanted, trials, reasons = case.version or case.implementation.environment, requests(case, root), list[str]()
    for python in interpreters(case.version):
        version = python_version(python)
        request = request_of(version, trials)
        for made in made_environments():
            if request in made.about.requests:
                with contextlib.suppress(OSError):  # it can be used where it cannot be written
                    made.write(made.about)
                return made
        for trial in trials if version else ():
            try:
                return _make(python, version, [*index_options(case, trial), *trial], request, say)
            except InstallError as error:
                reasons.append(str(error))
                if error.is_lasting:
                    raise SettingsError(f"{wanted} cannot be installed: {error}") from None
    missing = f"there is no {str(wanted).replace(' ', '')} on the path; install it"
    raise NoInterpreterError(f"{wanted} cannot be installed: {reasons[0]}" if reasons else missing)


def index_options(case: Case, arguments: Sequence[str]) -> list[str]:
    """Return where else to look for what a case on the CPU needs; it is no part of what is asked for."""
    needs_torch = any(not is_option(each) and Requirement(each).name == "torch" for each in arguments)
    return cpu_torch.index_options() if needs_torch and not case.device.is_gpu else []


def _make(
    python: Path, version: str, arguments: Sequence[str], request: str, say: Callable[[str], None]
) -> PackageEnvironment:
    """Make an environment, or find one with the same packages.

    Raises:
        InstallError: the installer failed, or the folder cannot be written.
    """
    home, installer = environments_folder(), find_installer()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f"{UNFINISHED}{os.getpid()}-", dir=home, ignore_cleanup_errors=True
        ) as folder:
            unfinished = Path(folder)
            installer.create(python, unfinished)
            wheels = installer.resolve(unfinished, arguments)
            packages: dict[str, str] = {canonicalize_name(wheel.name): wheel.version for wheel in wheels}
            about = About(requests=(request,), python=version, packages=packages)
            place = home / about.key
            if same := next((made for made in made_environments() if made.folder == place), None):
                same.write(replace(same.about, requests=(*same.about.requests, request)))
                return same
            listed = ", ".join(f"{name} {number}" for name, number in packages.items())
            say(f"making an environment for Python {version} with {installer.name}: {listed}")
            if warning := without_room(wheels, shutil.disk_usage(home).free, home):
                say(warning)
            installer.install(unfinished, wheels, list(filter(is_option, arguments)), say)
            about = replace(about, size=sum(path.lstat().st_size for path in unfinished.rglob("*")))
            PackageEnvironment(unfinished, about).write(about)
            if all(made.folder != place for made in made_environments()):  # or another process was faster
                shutil.rmtree(place, ignore_errors=True)  # it is broken: its interpreter is gone
                unfinished.rename(place)
            return PackageEnvironment(place, about)
    except OSError as error:
        reason = f"{home} cannot be written ({error.strerror}); set SAMENET_CACHE to another folder"
        raise InstallError(reason, is_lasting=True) from None
