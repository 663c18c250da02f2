"""``pytest bench/`` as its users run it, in a process of its own, and what it saves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from samenet.environments import ROOT, tox_folder
from tests.support import warm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

TRIES = 3
# Without hypothesis's plugin, which the tests need and no user has: a quarter of the start.
PYTEST = (sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
# A linear model has no bound and no peak, which would take a third of the time.
QUICK = ("--launches", "1", "--rounds", "2", "--iterations", "20", "--workload", "model=linear,batch_size=100")
HIDDEN = ("--workload", "hidden=20,batch_size=100")  # has both


@dataclass(frozen=True)
class Bench:
    """Runs ``pytest bench/`` on ``data`` with quick settings; ``storage`` is where it saves."""

    data: Path
    storage: Path

    def command(self, *options: str, data: Path | None = None) -> list[str]:
        """Return the command line."""
        command = [*PYTEST, *QUICK, "--benchmark-storage", str(self.storage), "--data", str(data or self.data)]
        return [*command, *options]

    def environment(self, *, frameworks: Sequence[str] = (), plugins: bool = False, **variables: str) -> dict[str, str]:
        """Return the environment; without ``frameworks`` this interpreter serves numpy, and no other is started."""
        paths = [str(ROOT / "tests" / "plugin")] if plugins else []
        paths += [path for path in [os.environ.get("PYTHONPATH", "")] if path]
        variables |= {"TOX_WORK_DIR": str(some_of_tox(self.storage / "tox", frameworks))}
        settings = {name: value for name, value in os.environ.items() if name not in {"SAMENET_DATA", "COLUMNS"}}
        return settings | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"} | variables

    def __call__(self, *options: str, data: Path | None = None, **environment: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.run(self.command(*options, data=data), **environment)

    def run(self, command: Sequence[str], **environment: Any) -> subprocess.CompletedProcess[str]:
        """Run another command line of it to its end."""
        return warm.run(command, cwd=ROOT, env=self.environment(**environment), timeout=240)

    def tried(self, *options: str, **environment: Any) -> subprocess.CompletedProcess[str]:
        """Run it until the machine has disturbed no case, but not for ever."""
        return self.run_until_quiet(self.command(*options), **environment)

    def run_until_quiet(self, command: Sequence[str], **environment: Any) -> subprocess.CompletedProcess[str]:
        """Run another command line of it until the machine has disturbed no case, but not for ever."""
        for _ in range(TRIES):
            for stale in self.storage.rglob("*.json"):
                stale.unlink()
            result = self.run(command, **environment)
            if not disturbed(result.stdout):
                break
        return result

    def quiet(self, *options: str, **environment: Any) -> subprocess.CompletedProcess[str]:
        """Run it until the machine has disturbed no case, or skip the test."""
        result = self.tried(*options, **environment)
        skip_if_disturbed(result.stdout)
        return result


def disturbed(output: str) -> list[str]:
    """Return the reasons of the cases and verdicts that the machine has disturbed."""
    return re.findall(r"(?:contended|throttled): .*", output)


def skip_if_disturbed(output: str) -> None:
    """Skip the test with what disturbed the machine, if anything did."""
    if busy := disturbed(output):
        pytest.skip(f"this machine is too busy: {busy[0]}")


def some_of_tox(folder: Path, names: Iterable[str]) -> Path:
    """Return ``folder`` with these of tox's environments: all would be more bounds to start and to try."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(tox_folder(ROOT) / name)
    return folder


def saved(folder: Path) -> dict[str, Any]:
    """Return the one run that was saved below ``folder``."""
    (path,) = folder.rglob("*.json")
    run: dict[str, Any] = json.loads(path.read_text())
    return run


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every case of the one run below ``folder``, with or without a number, by its id."""
    run = saved(folder)
    found = [each["extra_info"] for each in run["benchmarks"]] + run["samenet"]["cases_without_number"]
    return {each["case"]: each for each in found}


def without_uv() -> str:
    """Return a PATH on which there is no uv."""
    paths = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(path for path in paths if not os.access(os.path.join(path, "uv"), os.X_OK))  # noqa: PTH118


def kill_at(line: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run ``command`` until it prints ``line``, and kill it then; skip the test if it ends because of the machine."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as killed:
        for printed in killed.stdout or ():
            skip_if_disturbed(printed)
            if printed == f"{line}\n":
                killed.kill()
    assert killed.returncode == -signal.SIGKILL
