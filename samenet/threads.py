"""Whether the threads of a worker had the CPUs that they were given: what was seen of them during one run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from samenet.machine import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A thread works if it ran, or waited for a CPU, for the first share of an equal part of the run, and ran for the
# second. Where only the products are shared, the other threads have 20 to 50 % of an equal part; threads that only
# serve the process run for less than 1 %, but may wait for long next to a busy neighbour.
WORKING_SHARE, RUNNING_SHARE = 0.1, 0.02
SEEN_SHARE = 0.8  # of the run's CPU time; if less is seen, threads have ended meanwhile, and nothing is known
# Of a step's products, for each of which one more thread is expected. numpy-tuned uses the fewest threads of all lanes,
# one for each 0.105 GFLOP; the book's network has 0.96 GFLOP a step.
FLOP_PER_THREAD = 1.2e8


class Activity(NamedTuple):
    """What the threads of a worker did during a run: how many worked, and on which CPUs these may run.

    ``affinities`` has the CPUs of each of them; where it is empty, each may run on all of ``cpus``.
    """

    working: int
    cpus: tuple[int, ...]
    affinities: tuple[frozenset[int], ...] = ()


def shortage(seen: Activity | None, pools: Sequence[Mapping[str, Any]], given: Sequence[int], step_flops: float) -> str:
    """Say what the threads lack of the CPUs that were ``given``, or return ""; the unknown is no shortage.

    How many threads worked is judged in as far as a step of so many flops is worth sharing.
    """
    if seen is None:
        return ""
    expected = min(len(given), int(step_flops / FLOP_PER_THREAD))
    small = small_pool(seen.working, pools, len(given))
    stacked = stacked_threads(seen, len(given))
    if not (small or stacked or seen.working < expected):
        return ""
    sentence = f"{seen.working} of {len(given)} threads worked"
    if not set(given) <= set(seen.cpus):
        sentence += f"; its threads may run on {listed(seen.cpus)} only"
    elif stacked:
        sentence += f"; {stacked}"
    return f"{sentence}; {small}" if small else sentence


def stacked_threads(seen: Activity, given: int) -> str:
    """Say how many threads share too few CPUs, or return "": fewer than they are, and than the ``given`` ones."""
    affinities = seen.affinities or (frozenset(seen.cpus),) * seen.working
    for cpus in sorted({*affinities, frozenset(seen.cpus)}, key=lambda each: (len(each), sorted(each))):
        confined = sum(each <= cpus for each in affinities)
        if len(cpus) < min(confined, given):
            return f"{confined} of them may run on {listed(sorted(cpus))} only"
    return ""


def listed(cpus: Sequence[int]) -> str:
    """Return ``cpus`` in words, such as ``CPUs 0, 1``."""
    return f"CPU{'s' if len(cpus) > 1 else ''} {', '.join(map(str, cpus))}"


def small_pool(working: int, pools: Sequence[Mapping[str, Any]], given: int) -> str:
    """Say which pool is smaller than what was given, or return ""; a lane may have threads outside of all pools.

    One of several pools may be small because its library can use no more, and may have nothing to do: it counts if as
    many threads worked as it has, and so it was what limited them. A pool of one thread was made so, unless its library
    was built without threads.
    """
    sizes = [
        (int(pool["num_threads"]), str(pool.get("internal_api", "unknown")))
        for pool in pools
        if pool.get("num_threads") and pool.get("threading_layer") != "disabled"
    ]
    every_is_small = all(size < given for size, _ in sizes)
    small = [
        f"the pool of {name} has {size} where {given} were given"
        for size, name in sorted(sizes)
        if working <= size < given and (every_is_small or size in {1, working})
    ]
    return small[0] if small else ""


class Busy(NamedTuple):
    """How long a thread has run, and was ready to run without a CPU, in nanoseconds."""

    ran: int
    waited: int

    @property
    def total(self) -> int:
        """Both: on a busy machine a case's threads may wait for long, and it is not the case's fault."""
        return self.ran + self.waited


class ThreadWatch:
    """Reads how long each thread of a worker has run; ``stop`` gives what they did since."""

    def __init__(self, pid: int) -> None:
        """Start watching process ``pid``."""
        self._pid, self._start = pid, busy_threads(pid)

    def stop(self, threads: int, cpu_seconds: float) -> Activity | None:
        """Return what the threads did in a run of so many CPU seconds on ``threads`` CPUs, or None if it is unknown."""
        busy = {thread: self._since(thread, now) for thread, now in busy_threads(self._pid).items()}
        total = sum(each.total for each in busy.values())
        if not total or total < SEEN_SHARE * cpu_seconds * 1e9:
            return None
        part = total / threads
        working = [
            thread
            for thread, each in busy.items()
            if each.total >= WORKING_SHARE * part and each.ran >= RUNNING_SHARE * part
        ]
        affinities = []
        for thread in working:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                affinities.append(frozenset(os.sched_getaffinity(thread)))
        return Activity(len(working), tuple(sorted(frozenset().union(*affinities))), tuple(affinities))

    def _since(self, thread: int, now: Busy) -> Busy:
        before = self._start.get(thread, Busy(0, 0))
        return Busy(now.ran - before.ran, now.waited - before.waited)


def busy_threads(pid: int) -> dict[int, Busy]:
    """Return how busy each thread of ``pid`` has been, by its id; empty if that is unknown."""
    busy: dict[int, Busy] = {}
    with contextlib.suppress(OSError):
        busy = {int(path.name): busy_thread(path) for path in (files.PROC / str(pid) / "task").iterdir()}
    return busy if any(each.total for each in busy.values()) else {}


def busy_thread(path: Path) -> Busy:
    """Return how busy one thread has been; without the scheduler's statistic how long it has run, in ticks."""
    counts = files.read_integers(path / "schedstat")
    if len(counts) >= 2 and any(counts):
        return Busy(counts[0], counts[1])
    after_name = files.read_text(path / "stat").rpartition(")")[2].split()  # from the third field on
    ticks = [int(count) for count in after_name[11:13] if count.isdecimal()]  # utime and stime
    return Busy(sum(ticks) * 10**9 // os.sysconf("SC_CLK_TCK"), 0)
