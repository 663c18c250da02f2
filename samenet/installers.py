"""What makes an environment of packages: uv where it is installed, else venv and pip, with the caller's own settings.

Only wheels are installed: a framework that is built on this machine is not the one that its users run.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import filterfalse
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple, final

from samenet.progress import say_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Would install elsewhere, or let the new environment see other packages.
DROPPED = re.compile(
    r"PYTHON.*|VIRTUAL_ENV|PIP_(TARGET|PREFIX|USER|ROOT|PYTHON|REQUIRE_VIRTUALENV)|UV_(SYSTEM_)?PYTHON"
)
UNREACHABLE = re.compile("after connection broken by|Failed to fetch|error sending request")
UV_EXPLAINS = r"cause: |\u2570\u2500\u25b6 "  # an arrow in its earlier versions
MOST_CHARACTERS = 300  # of a reason; uv explains at length
UNPACKED = 3  # times the size of a wheel, about, with its compiled bytecode


class Wheel(NamedTuple):
    """A package as it was resolved; ``size`` in bytes, None where it is unknown."""

    name: str
    version: str
    size: int | None = None

    def __str__(self) -> str:
        """Return the requirement that is this version alone."""
        return f"{self.name}=={self.version}"


class InstallError(Exception):
    """A command failed; ``is_lasting`` where no other requirement and no other Python would help."""

    def __init__(self, reason: str, *, is_lasting: bool = False) -> None:
        """Take the reason in words."""
        super().__init__(reason)
        self.is_lasting = is_lasting


class Installer(ABC):
    """Makes an environment in a folder."""

    name: str

    @abstractmethod
    def create(self, python: Path, folder: Path) -> None:
        """Make an environment without packages for the interpreter ``python``.

        Raises:
            InstallError: it cannot.
        """

    @abstractmethod
    def resolve(self, folder: Path, arguments: Sequence[str]) -> list[Wheel]:
        """Return what installing ``arguments``, requirements and options, would install.

        Raises:
            InstallError: there are no wheels that fit.
        """

    @abstractmethod
    def install(
        self, folder: Path, wheels: Sequence[Wheel], options: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Install exactly ``wheels``, and ``say`` how much is downloaded.

        Raises:
            InstallError: it failed.
        """


@final
class Pip(Installer):
    """The standard library's venv, and the pip of this interpreter, or else the one that comes with Python."""

    name = "pip"
    is_here = find_spec("pip") is not None

    def _pip(self, folder: Path, *arguments: str) -> list[str]:
        options = ("--disable-pip-version-check", "--no-input", "--only-binary", ":all:", "--progress-bar", "off")
        python = str(folder / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python] if self.is_here else [python, "-m", "pip"]
        return [*pip, "install", *options, *arguments]

    def create(self, python: Path, folder: Path) -> None:
        """Make it; Debian's Python may lack venv."""
        run([str(python), "-m", "venv", *(["--without-pip"] if self.is_here else []), str(folder)])

    def resolve(self, folder: Path, arguments: Sequence[str]) -> list[Wheel]:
        """Ask pip for its report of an installation that it only plans."""
        report = json.loads(run(self._pip(folder, "--quiet", "--dry-run", "--report", "-", *arguments)))
        return [Wheel(each["metadata"]["name"], each["metadata"]["version"]) for each in report["install"]]

    def install(
        self, folder: Path, wheels: Sequence[Wheel], options: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Install them; pip names each download with its size before it begins."""
        run(self._pip(folder, "--no-deps", *options, *map(str, wheels)), heed=lambda line: _downloads(line, say))


def _downloads(line: str, say: Callable[[str], None]) -> None:
    if line.lstrip().startswith("Downloading") and ".metadata" not in line:
        say(line.strip())


@final
@dataclass(frozen=True)
class Uv(Installer):
    """The ``program`` uv."""

    program: str
    name = "uv"
    like_pip = ("--index-strategy", "unsafe-best-match")  # several indexes are searched as one

    def create(self, python: Path, folder: Path) -> None:
        """Make it, without pip."""
        run([self.program, "venv", "--quiet", "--python", str(python), str(folder)])

    def resolve(self, folder: Path, arguments: Sequence[str]) -> list[Wheel]:
        """Ask uv for a lock file of this platform, which has the sizes."""
        requirements = "\n".join(filterfalse(is_option, arguments))
        options = [*filter(is_option, arguments), "--only-binary", ":all:", *self.like_pip]
        options += ["--python", str(folder / "bin" / "python")]
        command = [self.program, "pip", "compile", "--quiet", "--no-header", "--format", "pylock.toml", *options, "-"]
        locked: list[dict[str, Any]] = tomllib.loads(run(command, given=requirements)).get("packages", [])
        return [Wheel(each["name"], each["version"], _largest(each.get("wheels", []))) for each in locked]

    def install(
        self, folder: Path, wheels: Sequence[Wheel], options: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Install them; what lies in uv's cache is not downloaded again."""
        known = [wheel.size for wheel in wheels if wheel.size]
        if known:
            say(f"Downloading at most {sum(known) / 1e6:.1f} MB ({len(wheels)} packages; uv keeps them in its cache)")
        python = str(folder / "bin" / "python")
        # As pip does: a worker may not be able to keep what it compiles, and would start more slowly each time. Where
        # the caller has set uv's variable, that decides.
        compiled = () if os.environ.get("UV_COMPILE_BYTECODE") else ("--compile-bytecode",)
        quietly = ("--quiet", "--no-deps", *compiled, *self.like_pip)
        run([self.program, "pip", "install", *quietly, "--python", python, *options, *map(str, wheels)])


def _largest(wheels: Sequence[dict[str, Any]]) -> int | None:
    return max((wheel["size"] for wheel in wheels if "size" in wheel), default=None)


def is_option(argument: str) -> bool:
    """Return whether an argument is an option, such as ``--extra-index-url=URL``, and not a requirement."""
    return argument.startswith("-")


def without_room(wheels: Sequence[Wheel], free: int, folder: Path) -> str:
    """Return a sentence if ``wheels`` may need more than the ``free`` bytes in ``folder``, as far as they are known."""
    needed = UNPACKED * sum(wheel.size or 0 for wheel in wheels)
    if needed <= free:
        return ""
    return f"{folder} has {free / 1e9:.1f} GB left, and this may take {needed / 1e9:.1f}; SAMENET_CACHE names another"


def find_installer() -> Installer:
    """Return uv where it is on the path, and otherwise pip."""
    program = shutil.which("uv")
    return Uv(program) if program else Pip()


@cache
def known_releases(package: str) -> list[str]:
    """Return the releases of ``package`` for this Python, by pip, which alone lists them.

    Raises:
        InstallError: the index cannot be reached, or has none.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "index", "versions", package]
    found = re.search("^Available versions: (.+)$", run(command), re.MULTILINE)
    return found[1].split(", ") if found else []


def run(command: Sequence[str], given: str = "", heed: Callable[[str], None] = say_nothing) -> str:
    """Run ``command`` on the text ``given``; ``heed`` each line as it is printed, and return all of them.

    Raises:
        InstallError: it failed.
    """
    clean = {name: value for name, value in os.environ.items() if not DROPPED.fullmatch(name)} | {"NO_COLOR": "1"}
    if clean.get("PIP_RETRIES") == "0":  # pip says only as it tries again that it cannot reach an index
        clean["PIP_RETRIES"] = "1"
    lines = []
    with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+", errors="replace") as errors:
        source.write(given)
        source.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603
                command, env=clean, stdin=source, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
            )
        except OSError as error:
            raise InstallError(f"{command[0]} does not start: {error.strerror}") from None
        with process:
            for line in process.stdout or ():
                lines.append(line)
                heed(line)
        errors.seek(0)
        written = errors.read()
    if process.returncode:
        raise failure(written or "".join(lines))
    return "".join(lines)


def failure(written: str) -> InstallError:
    """Return why pip, venv or uv failed, by what it wrote."""
    if UNREACHABLE.search(written):
        return InstallError("no package index can be reached", is_lasting=True)
    if os.strerror(errno.ENOSPC) in written:
        return InstallError("no space is left on the disk; free some, or set SAMENET_CACHE and TMPDIR", is_lasting=True)
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    of_pip = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    causes = [line for line in of_pip if line.startswith(("No matching distribution", "Cannot install"))]
    of_uv = re.split(UV_EXPLAINS, " ".join(lines), maxsplit=1)[1:]
    reason = next(iter([*causes, *of_pip[-1:], *of_uv, *lines[-1:]]), "it does not say why")
    return InstallError(shorten(reason, MOST_CHARACTERS, placeholder=" ..."))
