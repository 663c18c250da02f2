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
from itertools import count, groupby
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


LAUNCH = re.compile(r'"launch": ?(\d+)')  # in a journal
SLICE_SECONDS = 0.5  # in which one campaign measures and the other one is stopped
STARTING = 4  # slices at the begin of a launch, in which its workers start and Dask's client runs


@dataclass
class Carried:
    """A campaign that is stopped, with all of its processes, unless it is let run."""

    process: subprocess.Popen[bytes]
    storage: Path
    output: Path
    begun: int = 0
    _stopped: set[psutil.Process] = field(default_factory=set)

    @classmethod
    def start(cls, command: Sequence[str], storage: Path) -> Carried:
        """Start it, with a lock of its own: the other one is there, and does nothing meanwhile."""
        environment = os.environ | {"TOX_WORK_DIR": str(tox_folder(ROOT)), "SAMENET_CACHE": str(storage / "cache")}
        environment |= {"SAMENET_LOCK": str(storage.with_suffix(".lock"))}
        output = storage.with_suffix(".txt")
        with output.open("w") as file:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        return cls(process, storage, output)

    @property
    def launches(self) -> float:
        """How many launches it has begun; infinity once it has ended."""
        if self.process.poll() is not None:
            return inf
        with suppress(FileNotFoundError):  # a journal that was saved meanwhile
            texts = [path.read_text() for path in self.storage.rglob("*.jsonl")]
            self.begun = max([self.begun, *(1 + int(number) for text in texts for number in LAUNCH.findall(text))])
        return self.begun

    def run_a_slice(self, *, with_client: bool) -> None:
        """Let it run for a slice, or to its end; what is not pytest's may stay stopped, as on another machine."""
        for each in self._stopped:
            with suppress(psutil.NoSuchProcess):
                if with_client or each.pid != self.process.pid or "pytest" in each.cmdline():
                    each.resume()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(SLICE_SECONDS)
        self._stop(with_client=with_client)

    def _stop(self, *, with_client: bool) -> None:
        """Stop its processes, each before its children, so that it can start no more, and remember which ran."""
        self._stopped = set() if with_client else {each for each in self._stopped if each.pid == self.process.pid}
        found = deque([self.process.pid])
        while found:
            with suppress(psutil.NoSuchProcess):
                each = psutil.Process(found.popleft())
                if each.status() != psutil.STATUS_STOPPED:  # by its campaign, for whom another worker measures
                    each.suspend()
                    self._stopped.add(each)
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

    They run in turn, for half a second each; the other one, and Dask with it, is stopped. Dask's client and scheduler
    run while workers start alone: those of a real fleet are on another machine. What a campaign measures besides the
    case is work of its own: the second entry, the matrix products and the peak.
    """
    order = random.Random(options.seed)  # noqa: S311
    with TemporaryDirectory(prefix="samenet-study-") as folder, ExitStack() as stack:
        both = []
        for command, storage in commands(options, Path(folder)):
            both.append(each := Carried.start(command, storage))
            stack.callback(each.kill)
        for launch in [*range(1, options.launches + 1), inf]:
            for number in count():
                if not (waiting := [each for each in both if each.launches < launch]):
                    break
                for each in order.sample(waiting, len(waiting)):
                    each.run_a_slice(with_client=launch in {1, inf} or number < STARTING)
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
    fleet.write_text(f"python: {sys.executable}\noptions: {{processes: true}}\n")  # its worker apart, as on a host
    saved = [f"--benchmark-storage={hand}", "--benchmark-save=hand"]
    return [
        ([sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider", *arguments, *saved], hand),
        ([sys.executable, "-m", "samenet", "fleet", "run", str(fleet), "--storage", str(task), "--", *arguments], task),
    ]
