"""Which CPUs a campaign is measured on: affinity and the cgroup's quota limit them."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from typing import TYPE_CHECKING

from samenet.errors import SettingsError
from samenet.machine import cgroups, files
from samenet.records import Disturbance, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def choose_cpus(threads: int | None) -> tuple[int, ...]:
    """Return the CPUs to measure on: one hardware thread of each core first, ``threads`` of them, or every core.

    A CPU quota limits both, rounded down: whatever runs beyond it is stopped until the quota's next period.

    Raises:
        SettingsError: this process may not use so many, or the system has no CPU affinity.
    """
    if sys.platform != "linux":
        raise SettingsError(f"{sys.platform} cannot confine a process to CPUs as Linux can; run samenet on Linux")
    allowed = affinity()
    first = one_of_each_core(allowed)
    quota = cgroups.cpu_quota(os.getpid())
    whole = math.inf if quota is None else math.floor(quota)
    if quota is not None and whole < 1:
        raise SettingsError(
            f"the cgroup allows {quota:g} CPUs, and a thread needs a whole one; raise its CPU quota to 1"
        )
    wanted = int(min(len(first), whole)) if threads is None else threads
    if wanted < 1:
        raise SettingsError(f"{wanted} threads cannot train; raise --threads to at least 1")
    if wanted > len(allowed):
        raise SettingsError(
            f"{wanted} threads need as many CPUs, and this process may use {len(allowed)}; lower --threads"
        )
    if wanted > whole:
        raise SettingsError(
            f"{wanted} threads need as many CPUs, and the cgroup allows {quota:g};"
            f" lower --threads to {whole}, or raise the cgroup's CPU quota"
        )
    return tuple((first + [cpu for cpu in allowed if cpu not in first])[:wanted])


def affinity() -> list[int]:
    """Return the CPUs that this process may use: online, and allowed by its affinity and its cpuset.

    Raises:
        SettingsError: the system does not say which.
    """
    try:
        return sorted(os.sched_getaffinity(0))
    except OSError as error:
        raise SettingsError(
            f"the system does not say which CPUs this process may use: {error.strerror};"
            " allow the system call sched_getaffinity"
        ) from error


def one_of_each_core(cpus: Sequence[int]) -> list[int]:
    """Return the first of ``cpus`` on each core; without a known topology every CPU is a core."""
    cores: dict[str, int] = {}
    for cpu in cpus:
        siblings = files.read_text(files.SYS / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings if is_listed(cpu, siblings) else str(cpu), cpu)
    return sorted(cores.values())


def is_listed(cpu: int, text: str) -> bool:
    """Return whether ``cpu`` is in a list of the kernel's, such as ``0-3,8``."""
    ranges = re.findall(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    return any(int(low) <= cpu <= int(high or low) for low, high in ranges)


def moved(pid: int, cpus: Collection[int]) -> Disturbance | None:
    """Say which CPUs process ``pid`` may use, if they are not ``cpus``: one went offline, or its affinity was changed.

    The CPUs of all threads together: a library may tie each of its threads to one of them.
    """
    found: set[int] = set()
    threads = (files.PROC / str(pid) / "task").glob("[0-9]*")
    for thread in {pid, *(int(path.name) for path in threads)}:
        with contextlib.suppress(OSError):  # the thread has ended since
            found |= os.sched_getaffinity(thread)
    if not found or found == set(cpus):
        return None
    given, has = (", ".join(map(str, sorted(numbers))) for numbers in (cpus, found))
    remedy = "leave its affinity, its cpuset and its CPUs as they are"
    return Disturbance(State.THROTTLED, f"it was given CPUs {given} and could use {has}; {remedy}")
