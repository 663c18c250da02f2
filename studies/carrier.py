"""A campaign by hand and the same one as a task of a fleet, launch by launch in turn: does it matter who carries it?"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from math import log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil

from samenet import read_run, stats
from samenet.environments import ROOT, tox_folder
from studies.laboratory import StudyError
from studies.pytest_runs import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studies.options import Options


LAUNCH = re.compile(r"\blaunch \d+, ")


@dataclass(frozen=True)
class Carried:
    """A campaign that runs for a launch at a time, and is stopped in between."""

    process: subprocess.Popen[str]
    storage: Path

    @classmethod
    def start(cls, command: Sequence[str], storage: Path) -> Carried:
        """Start it, with a lock of its own: the other one is there, and does nothing meanwhile."""
        environment = os.environ | {"TOX_WORK_DIR": str(tox_folder(ROOT)), "SAMENET_CACHE": str(storage / "cache")}
        environment |= {"SAMENET_LOCK": str(storage.with_suffix(".lock"))}
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return cls(process, storage)

    def run_a_launch(self) -> None:
        """Let it run to the end of a launch, or to its own end."""
        self._signal(signal.SIGCONT)
        for line in self.process.stdout or ():
            if LAUNCH.search(line):
                self._signal(signal.SIGSTOP)
                return

    def _signal(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            mine = psutil.Process(self.process.pid)
            for each in [mine, *mine.children(recursive=True)]:
                if "pytest" in each.cmdline():
                    os.killpg(each.pid, number)

    def finish(self) -> None:
        """Let it run to its end."""
        self._signal(signal.SIGCONT)
        self.process.communicate()

    def seconds(self, case: str) -> dict[str, dict[int, float]]:
        """Return the typical times (s) of all that it has measured, by entry and launch.

        Raises:
            StudyError: it has no result.
        """
        for path in self.storage.rglob("*.json"):
            results = read_run(path).results
            entries = [each for each in (results[case], results.again, results.bound, results.peak) if each]
            return {
                entry.case: {
                    launch: statistics.median(value for key, value in entry.clean_seconds.items() if key[0] == launch)
                    for launch in {launch for launch, _ in entry.clean_seconds}
                }
                for entry in entries
            }
        raise StudyError(f"{self.storage} has no result; run its campaign by itself")


def carrier(options: Options) -> None:
    """Run a campaign of one case by hand and through Dask on this machine: what is the ratio of its times?

    While one of them measures a launch, the other one is stopped; Dask is there all the time, and idle. What a campaign
    measures besides the case is work of its own: the second entry, the matrix products and the peak.
    """
    with TemporaryDirectory(prefix="samenet-study-") as folder, ExitStack() as stack:
        both = []
        for command, storage in commands(options, Path(folder)):
            both.append(each := Carried.start(command, storage))
            stack.callback(each.process.kill)
            each.run_a_launch()
        order = random.Random(options.seed)  # noqa: S311
        for _ in range(1, options.launches):
            for each in order.sample(both, 2):
                each.run_a_launch()
        for each in both:
            each.finish()
        by_hand, as_task = (each.seconds(f"{options.case}-cpu") for each in both)
    logs = {
        name: {
            launch: log(as_task[name][launch] / seconds)
            for launch, seconds in times.items()
            if launch in as_task[name]  # one that was disturbed all the time has none
        }
        for name, times in by_hand.items()
    }
    for name, ratios in logs.items():
        print(f"{name}: as a task {stats.geometric_mean(list(ratios.values())).text()} times as long as by hand")
    launches = set[int].intersection(*(set(ratios) for ratios in logs.values()))
    together = [statistics.mean(ratios[launch] for ratios in logs.values()) for launch in launches]
    print(f"all of them: {stats.geometric_mean(together).text()}, in {len(together)} launches of each")


def commands(options: Options, folder: Path) -> list[tuple[list[str], Path]]:
    """Return the two command lines, by hand and as a task, each with its storage."""
    arguments = [*select([options.case]), "--launches", str(options.launches), "--rounds", str(options.rounds)]
    arguments += ["--iterations", str(options.iterations), "--seed", str(options.seed)]
    arguments += ["--data", str(options.data)] if options.data else []
    arguments += ["--threads", str(options.threads)] if options.threads else []
    hand, task, fleet = folder / "hand", folder / "task", folder / "fleet.yml"
    fleet.write_text(f"python: {sys.executable}\n")
    saved = [f"--benchmark-storage={hand}", "--benchmark-save=hand"]
    return [
        ([sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider", *arguments, *saved], hand),
        ([sys.executable, "-m", "samenet", "fleet", "run", str(fleet), "--storage", str(task), "--", *arguments], task),
    ]
