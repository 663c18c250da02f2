"""What the measured CPUs did during a round, by the kernel's counters; one that is missing is None, unknown."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samenet.machine import cgroups, files
from samenet.records import Disturbance, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Shares of the CPUs' time. Quiet rounds wait for 0.1 to 0.7 %; a neighbour with 5 % of each CPU makes it 4 to 5 %.
WAITING_SHARE = 0.015
OTHERS_SHARE = 0.01
# A case whose threads sleep and wake often, as jax's do, shows 1 to 3 % of steal even where nothing else runs: its
# virtual CPUs have to be woken.
STEAL_SHARE = 0.05
QUOTA_SHARE = 0.01  # as many threads as the quota has CPUs are stopped for moments, where a period ends a little late
TICK_SECONDS = 0.01  # in which the kernel counts others and steal
MISSED_SHARE = 0.02  # of the CPUs' time; if more of the worker's own is not counted, the count is not of these CPUs
PROBE_SECONDS = 0.05  # of work that has to be counted: some ticks


@dataclass(frozen=True, kw_only=True)
class CpuLoad:
    """What the measured CPUs did over one round, for the worker and for others, in CPU seconds; None is unknown.

    ``worker_seconds``: the worker's own. ``waiting_seconds``: its threads were in a run queue, ready, while something
    else had their CPU. ``others_seconds``: work of other processes than the worker and the harness, to two of the
    kernel's ticks, and so below 0 too; unknown, as steal, where it is so far below that work of the worker's own is
    missing. ``steal_seconds``: taken by the hypervisor.
    ``throttled_seconds``: the quota of its cgroup, or of one above, kept it from CPUs that it could have used.
    ``throttles``: thermal throttling events. ``megahertz``: the CPUs' mean frequency at the end. ``joules``: the energy
    of the processor's packages (RAPL). ``readings``: how many of these loads it is the sum of.
    """

    wall_seconds: float
    cpus: int
    readings: int = 1
    worker_seconds: float | None = None
    waiting_seconds: float | None = None
    others_seconds: float | None = None
    steal_seconds: float | None = None
    throttled_seconds: float | None = None
    throttles: int | None = None
    megahertz: float | None = None
    joules: float | None = None

    @property
    def disturbance(self) -> Disturbance | None:
        """Why the round does not count, or None where it does; what is unknown cannot disturb it."""
        available = self.wall_seconds * self.cpus
        slack = 2 * TICK_SECONDS * math.sqrt(self.readings)  # the errors of several readings are independent
        if self.throttles:
            return Disturbance(State.THROTTLED, f"throttled {self.throttles} times")
        stopped = self.throttled_seconds or 0
        if stopped > QUOTA_SHARE * available:
            share = f"{min(100, 100 * stopped / available):.0f} %"  # on CPUs that are not the worker's too
            remedy = "raise the quota or lower --threads"
            return Disturbance(State.THROTTLED, f"the cgroup's CPU quota stopped it for {share} of the time; {remedy}")
        waiting, others, steal = self.waiting_seconds or 0, self.others_seconds or 0, self.steal_seconds or 0
        busy = others > OTHERS_SHARE * available + slack
        if waiting > WAITING_SHARE * available and busy:
            share = f"{100 * waiting / available:.0f} %"
            return Disturbance(State.CONTENDED, f"other processes held its CPUs for {share} of the time")
        if steal > STEAL_SHARE * available + slack:
            return Disturbance(State.CONTENDED, f"the hypervisor took {100 * steal / available:.0f} % of its CPUs")
        return None


@dataclass(frozen=True, kw_only=True)
class Counters:
    """The counters at one moment, in the kernel's units; None is unknown."""

    harness_nanoseconds: int
    running_nanoseconds: int | None
    waiting_nanoseconds: int | None
    busy_ticks: int | None
    steal_ticks: int | None
    throttled_nanoseconds: dict[Path, int]
    throttles: int | None
    microjoules: dict[str, int]


class Watch:
    """Reads a worker's and the machine's counters at the start of a round; ``stop`` gives the difference."""

    def __init__(self, pid: int, cpus: Sequence[int]) -> None:
        """Start watching process ``pid`` on ``cpus``."""
        self._pid, self._cpus = pid, cpus
        self._begin, self._start = time.perf_counter(), read_counters(pid, cpus)

    def stop(self) -> CpuLoad:
        """Return what has happened since the start."""
        start = self._start
        end = read_counters(self._pid, self._cpus, start.throttled_nanoseconds)
        ran = scaled(since(start.running_nanoseconds, end.running_nanoseconds), 1e-9)
        tick = 1 / os.sysconf("SC_CLK_TCK")
        busy = scaled(since(start.busy_ticks, end.busy_ticks), tick)
        steal = scaled(since(start.steal_ticks, end.steal_ticks), tick)
        harness = (end.harness_nanoseconds - start.harness_nanoseconds) * 1e-9
        wall = time.perf_counter() - self._begin
        others = None if busy is None or ran is None else busy - ran - harness
        if others is not None and misses_work(others + (steal or 0), wall, len(self._cpus)):
            others = steal = None
        return CpuLoad(
            megahertz=mean_megahertz(self._cpus),
            wall_seconds=wall,
            cpus=len(self._cpus),
            worker_seconds=ran,
            waiting_seconds=scaled(since(start.waiting_nanoseconds, end.waiting_nanoseconds), 1e-9),
            others_seconds=others,
            steal_seconds=steal,
            throttled_seconds=throttled_between(start.throttled_nanoseconds, end.throttled_nanoseconds),
            throttles=since(start.throttles, end.throttles),
            joules=joules_between(start.microjoules, end.microjoules),
        )


def unknown_readings(cpus: Sequence[int], *, has_quota: bool) -> list[str]:
    """Return which readings that can show a disturbed round cannot be taken here, on ``cpus``."""
    load = Watch(os.getpid(), cpus).stop()
    is_counted = counts_work(cpus[0])
    readings = {
        "waiting_seconds": load.waiting_seconds,
        "others_seconds": load.others_seconds if is_counted else None,
        "steal_seconds": load.steal_seconds if is_counted else None,
    }
    if has_quota:
        readings["throttled_seconds"] = load.throttled_seconds
    return [name for name, value in readings.items() if value is None]


def misses_work(rest_seconds: float, wall_seconds: float, cpus: int) -> bool:
    """Return whether /proc/stat lacks work of the worker's own: it is frozen, or shows other CPUs than it runs on.

    ``rest_seconds``: busy and stolen time less the worker's, which may include what was stolen from it. The kernel
    counts in ticks, of which each CPU may lack one, and the worker in nanoseconds.
    """
    return rest_seconds < -((1 + cpus) * TICK_SECONDS + MISSED_SHARE * wall_seconds * cpus)


def counts_work(cpu: int) -> bool:
    """Return whether /proc/stat counts what this thread does on ``cpu`` for a moment; True if that is not known."""
    ticks = cpu_ticks([cpu])
    if ticks[0] is None:
        return True
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # it has gone offline
        os.sched_setaffinity(0, [cpu])
        begin, ran = time.perf_counter(), time.thread_time()
        while time.thread_time() - ran < PROBE_SECONDS:
            pass
        ran, wall = time.thread_time() - ran, time.perf_counter() - begin
        rises = [
            scaled(since(*pair), 1 / os.sysconf("SC_CLK_TCK")) for pair in zip(ticks, cpu_ticks([cpu]), strict=True)
        ]
        os.sched_setaffinity(0, allowed)
        return not misses_work(sum(rise or 0 for rise in rises) - ran, wall, 1)
    return True


def since(start: int | None, end: int | None) -> int | None:
    """Return by how much a counter rose, or None where it is unknown or has started again from 0."""
    return None if start is None or end is None or end < start else end - start


def scaled(count: int | None, unit: float) -> float | None:
    """Return ``count`` in ``unit``, or None where it is unknown."""
    return None if count is None else count * unit


def joules_between(start: dict[str, int], end: dict[str, int]) -> float | None:
    """Return the energy of all packages together, or None where that of one is unknown.

    Package by package: each counter starts again from 0 after some minutes or hours, and the others' rise could hide
    that in their sum.
    """
    rises = [since(start.get(package), end.get(package)) for package in start.keys() | end.keys()]
    known = [rise for rise in rises if rise is not None]
    return sum(known) / 1e6 if known and len(known) == len(rises) else None


def throttled_between(start: dict[Path, int], end: dict[Path, int]) -> float | None:
    """Return how long the cgroup was stopped that was stopped longest (CPU s), or None where no cgroup says.

    One that the process was moved into meanwhile counts with all that it was ever stopped: a quota is never missed.
    """
    rises = [since(start.get(folder, 0), count) for folder, count in end.items()]
    return scaled(max((rise for rise in rises if rise is not None), default=None), 1e-9)


def read_counters(pid: int, cpus: Sequence[int], cgroup_folders: Iterable[Path] = ()) -> Counters:
    """Return the counters of process ``pid``, of ``cpus``, and of ``cgroup_folders`` besides its own, now."""
    running, waiting = thread_nanoseconds(pid)
    busy, steal = cpu_ticks(cpus)
    return Counters(
        harness_nanoseconds=0 if pid == os.getpid() else time.process_time_ns(),
        running_nanoseconds=running,
        waiting_nanoseconds=waiting,
        busy_ticks=busy,
        steal_ticks=steal,
        throttled_nanoseconds=cgroups.throttled_nanoseconds(pid, cgroup_folders),
        throttles=thermal_throttles(cpus),
        microjoules=package_microjoules(),
    )


def thread_nanoseconds(pid: int) -> tuple[int, int] | tuple[None, None]:
    """Return how long the threads of ``pid`` have run, and how long they were ready and waited for a CPU."""
    try:
        threads = list((files.PROC / str(pid) / "task").iterdir())
    except OSError:
        return None, None
    running = waiting = 0
    for thread in threads:
        counts = files.read_integers(thread / "schedstat")
        if len(counts) >= 2:  # or else the thread has ended since
            running, waiting = running + counts[0], waiting + counts[1]
    # A kernel without these statistics has no such file, or one with zeros; a process that answers has run.
    return (running, waiting) if running else (None, None)


def cpu_ticks(cpus: Sequence[int]) -> tuple[int, int] | tuple[None, None]:
    """Return how long ``cpus`` have worked, and how long the hypervisor had taken them.

    In a container /proc/stat may list other CPUs than the process runs on, as with lxcfs.
    """
    lines = [line.split() for line in files.read_text(files.PROC / "stat").splitlines() if line.startswith("cpu")]
    ticks = {
        name: [number for count in counts if (number := files.whole_number(count)) is not None]
        for name, *counts in lines
    }
    busy = steal = 0
    for cpu in cpus:
        counts = ticks.get(f"cpu{cpu}", [])
        if len(counts) < 8 or not any(counts):  # a sandbox such as gVisor lists zeros
            return None, None
        user, nice, system, _idle, _iowait, irq, softirq, stolen, *_ = counts
        busy, steal = busy + user + nice + system + irq + softirq, steal + stolen
    return busy, steal


def thermal_throttles(cpus: Sequence[int]) -> int | None:
    """Return how often heat has lowered the clock of ``cpus``."""
    folders = [files.SYS / f"devices/system/cpu/cpu{cpu}/thermal_throttle" for cpu in cpus]
    counts = [count for folder in folders for count in files.read_integers(folder / "core_throttle_count")]
    return sum(counts) if counts else None


def mean_megahertz(cpus: Sequence[int]) -> float | None:
    """Return the mean frequency of ``cpus``, now."""
    folders = [files.SYS / f"devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    kilohertz = [count for folder in folders for count in files.read_integers(folder / "scaling_cur_freq")]
    return sum(kilohertz) / len(kilohertz) / 1000 if kilohertz else None


def package_microjoules() -> dict[str, int]:
    """Return the energy counter of each processor package (RAPL), or none where one of them may not be read."""
    zones = (files.SYS / "class/powercap").glob("intel-rapl:[0-9]*/energy_uj")
    counts = {path.parent.name: files.read_integers(path) for path in zones if path.parent.name.count(":") == 1}
    return {package: count[0] for package, count in counts.items()} if all(counts.values()) else {}
