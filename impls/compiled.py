"""Compiles C and C++ to shared libraries, and says where no framework can load what it compiles."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# What glibc says of a library in a folder that is mounted noexec, wherever in a framework's traceback it is.
NOEXEC = "failed to map segment from shared object"
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")


def temporary_folder_is_noexec() -> bool:
    """Return whether nothing in the folder for temporary files can be executed, or loaded as a library."""
    return bool(os.statvfs(tempfile.gettempdir()).f_flag & os.ST_NOEXEC)


def refuse_noexec() -> None:
    """Check that compiled code can be loaded, before a framework compiles for a minute and fails.

    Raises:
        RuntimeError: the folder for temporary files is mounted noexec.
    """
    if temporary_folder_is_noexec():
        raise RuntimeError(f"the temporary folder {tempfile.gettempdir()} is mounted noexec; set TMPDIR to another one")


def compile_library(source: Path, folder: str | Path, *flags: str) -> Path:
    """Compile a C++ file for this processor and return the library, which a later process finds in ``folder``.

    Its name has a checksum of the source, the flags, the compiler and the processor: another library is never taken
    for it, nor one that was left half-written.

    Raises:
        RuntimeError: there is no compiler, it failed, or the folder is mounted noexec.
    """
    refuse_noexec()
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    if not compiler or not shutil.which(compiler[0]):
        raise RuntimeError(f"there is no C++ compiler {shlex.join(compiler)}; install g++, or set CXX to another one")
    # Its macros say which compiler it is, and what it compiles for.
    target = run([*compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])
    text = "\0".join([source.read_text(encoding="utf-8"), *FLAGS, *flags, target])
    library = Path(folder, f"{source.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.so")
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as unfinished:
            made = Path(unfinished, library.name)
            run([*compiler, *FLAGS, str(source), "-o", str(made), *flags])
            made.replace(library)
    return library


def load_library(source: Path, *flags: str, mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    """Compile a C++ file, unless an earlier worker did so, and load it.

    ``$SAMENET_COMPILED`` is where libraries are kept; without it they are not, since what is loaded from a file stays
    when that is removed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.environ.get("SAMENET_COMPILED", temporary)
        return ctypes.CDLL(str(compile_library(source, folder, *flags)), mode)


def run(command: Sequence[str]) -> str:
    """Return what the compiler prints.

    Raises:
        RuntimeError: it failed; with the first error.
    """
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise RuntimeError(f"{command[0]} failed: {next(iter(errors), 'it does not say why')}")
    return done.stdout
