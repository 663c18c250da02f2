"""Which interpreter serves which implementation."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import impls
from impls.worker import CPU
from samenet.errors import NoInterpreterError
from samenet.machine import gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.lanes import Case, Device, Implementation


NEWER_CUDA = 13  # for which tox.ini has environments, besides CUDA 12
ROOT = Path(impls.__file__).parent.parent  # the tree that is measured


def tox_folder(root: Path) -> Path:
    """Return the folder of tox's environments: ``$TOX_WORK_DIR``, which tox sets, or ``root/.tox``."""
    return Path(os.environ.get("TOX_WORK_DIR") or root / ".tox").absolute()


def environments(implementation: Implementation, device: Device, root: Path) -> list[str]:
    """Return the tox environments that can run ``implementation`` on ``device``, the preferred one first.

    On an NVIDIA GPU those with CUDA's libraries, as far as its driver supports them: ``jax-cuda13`` before
    ``jax-cuda12`` and ``jax``. Where ``tox.ini`` has no environment for CUDA 13, the plain one is for it.
    """
    name = implementation.environment
    newer, older = f"{name}-cuda13", f"{name}-cuda12"
    if device.kind != "cuda":
        return [name]
    if (gpu.cuda_version() or NEWER_CUDA) < NEWER_CUDA:
        return [older, name]
    return [newer, older, name] if is_defined(newer, root) else [name, older]


def tox_settings(environment: str, root: Path) -> Mapping[str, str] | None:
    """Return what ``tox.ini`` has of an environment, or None if it has none; a wheel has no ``tox.ini``."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    return dict(tox).get(f"testenv:{environment}")


def is_defined(environment: str, root: Path) -> bool:
    """Return whether ``tox.ini`` has an environment."""
    return tox_settings(environment, root) is not None


def environment_name(implementation: Implementation, device: Device, root: Path) -> str:
    """Return the first of ``environments`` that is there, or else the one that serves the CPU too."""
    present = [name for name in environments(implementation, device, root) if os.access(python_of(name, root), os.X_OK)]
    return next(iter(present), implementation.environment)


def python_of(environment: str, root: Path) -> Path:
    """Return the interpreter of a tox environment, whether it is there or not."""
    return tox_folder(root) / environment / "bin" / "python"


def find_interpreter(
    implementation: Implementation, given: Mapping[str, Path], root: Path, device: Device = CPU
) -> Path:
    """Return the interpreter for ``implementation``: the given one, tox's, or the present one, in that order.

    ``given`` maps names of implementations or environments to interpreters (``--python``).

    Raises:
        NoInterpreterError: none of these is there.
    """
    for name in (implementation.name, implementation.environment):
        if name in given:
            return given[name]
    python = python_of(environment_name(implementation, device, root), root)
    if os.access(python, os.X_OK):
        return python
    if all(find_spec(name) for name, _ in implementation.packages):
        return Path(sys.executable)
    first = f"install {implementation.prerequisites}, then run" if implementation.prerequisites else "run"
    command = installation(implementation, device, root)
    raise NoInterpreterError(f"no interpreter for {implementation.name}; {first}: {command}")


def installation(implementation: Implementation, device: Device, root: Path) -> str:
    """Return the command that installs what ``implementation`` needs on ``device``."""
    if not (root / "tox.ini").is_file():  # a wheel has none: what is installed next to it serves
        return "python -m pip install " + " ".join(distribution for _, distribution in implementation.packages)
    defined = [name for name in environments(implementation, device, root) if is_defined(name, root)]
    return f"tox run -e {next(iter(defined), implementation.environment)}"


def disk_bytes(implementation: Implementation, python: Path) -> int | None:
    """Return how large what ``implementation`` needs is on the disk, or None where its interpreter cannot say."""
    script = Path(impls.__file__).with_name("installed.py")
    command = [str(python), "-P", str(script), *(distribution for _, distribution in implementation.packages)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def remedy(case: Case, python: Path, root: Path) -> str:
    """Return what to do where the framework in ``python`` can use no device of the case's kind."""
    implementation, device = case.implementation, case.device
    preferred = environments(implementation, device, root)[0]
    if is_defined(preferred, root) and python_of(preferred, root) != python:
        return f"run: {installation(implementation, device, root)}"
    return implementation.remedies.get(device.kind, f"install a build of it for {device.kind}, and its driver")
