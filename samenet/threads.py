"""Whether the threads of a worker had the CPUs that they were given: what was seen of them during one run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from samenet.machine import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A thread works if it ran, or waited for a CPU, for this share of an equal part of the run. Where only the products are
# shared, the other threads have 20 to 50 % of an equal part; threads that only serve the process have 1 %.
WORKING_SHARE = 0.1
SEEN_SHARE = 0.8  # of the run's CPU time; if less is seen, threads have ended meanwhile, and nothing is known
# Of a step's products, for each of which one more thread is expected. numpy-tuned uses the fewest threads of all lanes,
# one for each 0.105 GFLOP; the book's network has 0.96 GFLOP a step.
FLOP_PER_THREAD = 1.2e8


class Activity(NamedTuple):
    """What the threads of a worker did during a run: how many worked, and on which CPUs these may run."""

    working: int
    cpus: tuple[int, ...]


def shortage(seen: Activity | None, pools: Sequence[Mapping[str, Any]], given: Sequence[int], step_flops: float) -> str:
    """Say what the threads lack of the CPUs that were ``given``, or return ""; the unknown is no shortage.

    How many threads worked is judged in as far as a step of so many flops is worth sharing.
    """
    if seen is None:
        return ""
    expected = min(len(given), int(step_flops / FLOP_PER_THREAD))
    small = small_pool(seen.working, pools, len(given))
    stacked = len(seen.cpus) < min(seen.working, len(given))
    if not (small or stacked or seen.working < expected):
        return ""
    sentence = f"{seen.working} of {len(given)} threads worked"
    if not set(given) <= set(seen.cpus):
        sentence += (
            f"; its threads may run on CPU{'s' if len(seen.cpus) > 1 else ''} {', '.join(map(str, seen.cpus))} only"
        )
    return f"{sentence}; {small}" if small else sentence


def small_pool(working: int, pools: Sequence[Mapping[str, Any]], given: int) -> str:
    """Say which pool is smaller than what was given, or return ""; a lane may have threads outside of all pools.

    One of several pools may be small because its library can use no more, and may have nothing to do. A pool of one
    thread was made so, unless its library was built without threads.
    """
    sizes = {
        str(pool.get("internal_api", "unknown")): int(pool["num_threads"])
        for pool in pools
        if pool.get("num_threads") and pool.get("threading_layer") != "disabled"
    }
    if not sizes:
        return ""
    smallest = min(sizes, key=lambda name: sizes[name])
    size = 1 if sizes[smallest] == 1 else max(sizes.values())
    return "" if size >= given or working > size else f"the pool of {smallest} has {size} where {given} were given"


class ThreadWatch:
    """Reads how long each thread of a worker has run; ``stop`` gives what they did since."""

    def __init__(self, pid: int) -> None:
        """Start watching process ``pid``."""
        self._pid, self._start = pid, busy_nanoseconds(pid)

    def stop(self, threads: int, cpu_seconds: float) -> Activity | None:
        """Return what the threads did in a run of so many CPU seconds on ``threads`` CPUs, or None if it is unknown."""
        end = busy_nanoseconds(self._pid)
        busy = {thread: time - self._start.get(thread, 0) for thread, time in end.items()}
        total = sum(busy.values())
        if not total or total < SEEN_SHARE * cpu_seconds * 1e9:
            return None
        working = [thread for thread, time in busy.items() if time >= WORKING_SHARE * total / threads]
        cpus: set[int] = set()
        for thread in working:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                cpus |= os.sched_getaffinity(thread)
        return Activity(len(working), tuple(sorted(cpus)))


def busy_nanoseconds(pid: int) -> dict[int, int]:
    """Return how long each thread of ``pid`` has run or was ready to run, by its id; empty if that is unknown.

    What a thread had to wait counts too: on a busy machine the threads of one case may wait for long, and it is not the
    case's fault.
    """
    busy: dict[int, int] = {}
    with contextlib.suppress(OSError):
        busy = {int(path.name): thread_nanoseconds(path) for path in (files.PROC / str(pid) / "task").iterdir()}
    return busy if any(busy.values()) else {}


def thread_nanoseconds(path: Path) -> int:
    """Return how long one thread has run or was ready to run; without that statistic how long it has run, in ticks."""
    counts = files.read_integers(path / "schedstat")
    if len(counts) >= 2 and any(counts):
        return counts[0] + counts[1]
    after_name = files.read_text(path / "stat").rpartition(")")[2].split()  # from the third field on
    ticks = [int(count) for count in after_name[11:13] if count.isdecimal()]  # utime and stime
    return sum(ticks) * 10**9 // os.sysconf("SC_CLK_TCK")
