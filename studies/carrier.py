"""A campaign by hand and the same one as a task of a fleet, launch by launch in turn: does it matter who carries it?"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import groupby
from math import inf, log
from operator import attrgetter
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


LAUNCH = re.compile(r"\blaunch \d+, \d+ s: ")  # the line on one that has ended
SLICE_SECONDS = 0.5  # in which one campaign measures and the other one is stopped


@dataclass
class Carried:
    """A campaign that is stopped, with all of its processes, unless it is let run."""

    process: subprocess.Popen[str]
    storage: Path
    output: Path
    _stopped: list[psutil.Process] = field(default_factory=list)

    @classmethod
    def start(cls, command: Sequence[str], storage: Path) -> Carried:
        """Start it, with a lock of its own: the other one is there, and does nothing meanwhile."""
        environment = os.environ | {"TOX_WORK_DIR": str(tox_folder(ROOT)), "SAMENET_CACHE": str(storage / "cache")}
        environment |= {"SAMENET_LOCK": str(storage.with_suffix(".lock"))}
        output = storage.with_suffix(".txt")
        with output.open("w") as file:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, text=True, start_new_session=True
            )
        return cls(process, storage, output)

    @property
    def launches(self) -> float:
        """How many launches it has finished; all of them once it has ended."""
        return len(LAUNCH.findall(self.output.read_text())) if self.process.poll() is None else inf

    def run_a_slice(self) -> None:
        """Let it run for a slice, or to its end."""
        for each in self._stopped:
            with suppress(psutil.NoSuchProcess):
                each.resume()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(SLICE_SECONDS)
        self._stop()

    def _stop(self) -> None:
        """Stop its processes, each before its children, so that it can start no more, and remember which ran."""
        self._stopped, found = [], deque([self.process.pid])
        while found:
            with suppress(psutil.NoSuchProcess):
                each = psutil.Process(found.popleft())
                if each.status() != psutil.STATUS_STOPPED:  # by its campaign, for whom another worker measures
                    each.suspend()
                    self._stopped.append(each)
                found.extend(child.pid for child in each.children())

    def kill(self) -> None:
        """End it, if it still runs, with all that it has started."""
        for each in self._stopped:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def seconds(self, case: str) -> dict[str, dict[int, float]]:
        """Return the median times (s) of a step of all that it has measured, by entry and launch.

        Blocks that were disturbed count too: each stop disturbs one, or what is judged with it.

        Raises:
            StudyError: it has no result.
        """
        for path in self.storage.rglob("*.json"):
            results = read_run(path).results
            entries = [each for each in (results[case], results.again, results.bound, results.peak) if each]
            return {
                entry.case: {
                    launch: statistics.median(each.round_seconds(1) for each in blocks)
                    for launch, blocks in groupby(entry.rounds, key=attrgetter("launch"))
                }
                for entry in entries
            }
        raise StudyError(f"a campaign has no result; it printed:\n{self.output.read_text()}")


def carrier(options: Options) -> None:
    """Run a campaign of one case by hand and through Dask on this machine: what is the ratio of its times?

    They run in turn, for half a second each; the other one, and Dask with it, is stopped. What a campaign measures
    besides the case is work of its own: the second entry, the matrix products and the peak.
    """
    order = random.Random(options.seed)  # noqa: S311
    with TemporaryDirectory(prefix="samenet-study-") as folder, ExitStack() as stack:
        both = []
        for command, storage in commands(options, Path(folder)):
            both.append(each := Carried.start(command, storage))
            stack.callback(each.kill)
        for launch in range(1, options.launches + 2):  # after the last one they save
            while waiting := [each for each in both if each.launches < launch]:
                for each in order.sample(waiting, len(waiting)):
                    each.run_a_slice()
        by_hand, as_task = (each.seconds(f"{options.case}-cpu") for each in both)
    logs = {
        name: {launch: log(as_task[name][launch] / seconds) for launch, seconds in times.items()}
        for name, times in by_hand.items()
    }
    for name, ratios in logs.items():
        print(f"{name}: as a task {stats.geometric_mean(list(ratios.values())).text()} times as long as by hand")
    together = [statistics.mean(ratios) for ratios in zip(*(each.values() for each in logs.values()), strict=True)]
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
