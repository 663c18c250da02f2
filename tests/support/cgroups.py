"""Real cgroups with a CPU quota, where this process may make them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from samenet.environments import ROOT
from samenet.machine.cgroups import cpu_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PERIOD = 100_000  # microseconds


@contextmanager
def cgroup(cpus: float, above: Path | None = None) -> Iterator[Path]:
    """Make a cgroup that allows so many CPUs, below ``above`` or else this process's own, or skip the test."""
    reasons = []
    for parent in [above] if above else cpu_folders(os.getpid()):
        folder = parent / f"samenet-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(str(error))
            continue
        try:
            limit(folder, cpus)
        except OSError as error:  # of version 2, its parent does not pass the controller on
            reasons.append(str(error))
            folder.rmdir()
            continue
        try:
            yield folder
        finally:
            remove(folder)
        return
    pytest.skip(f"no cgroup with a CPU quota can be made here: {'; '.join(reasons) or 'none is mounted'}")


def limit(folder: Path, cpus: float) -> None:
    """Set the quota of a cgroup."""
    quota = round(cpus * PERIOD)
    if (folder / "cpu.max").exists():
        (folder / "cpu.max").write_text(f"{quota} {PERIOD}")
    else:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))


def remove(folder: Path) -> None:
    """Remove a cgroup as soon as the last of its processes has gone."""
    for _ in range(100):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return
    folder.rmdir()


def move(folder: Path, *pids: int) -> None:
    """Move processes into a cgroup."""
    for pid in pids:
        (folder / "cgroup.procs").write_text(str(pid))


def inside(folder: Path, *command: str) -> list[str]:
    """Return a command that moves itself into a cgroup and then runs ``command``."""
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(folder), *command]


def python_inside(folder: Path, source: str, *before: str) -> str:
    """Return what ``source`` prints, run inside a cgroup by the command ``before``."""
    command = inside(folder, *before, sys.executable, "-c", source)
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
