"""Which CPUs a campaign is measured on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from samenet.errors import SettingsError
from samenet.machine import files

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose_cpus(threads: int | None) -> tuple[int, ...]:
    """Return the CPUs to measure on: one hardware thread of each core first, ``threads`` of them, or every core.

    Raises:
        SettingsError: this process may not use so many, or the system has no CPU affinity.
    """
    if sys.platform != "linux":
        raise SettingsError(f"{sys.platform} cannot confine a process to CPUs as Linux can; run samenet on Linux")
    allowed = sorted(os.sched_getaffinity(0))
    first = one_of_each_core(allowed)
    wanted = len(first) if threads is None else threads
    if wanted < 1:
        raise SettingsError(f"{wanted} threads cannot train; raise --threads to at least 1")
    if wanted > len(allowed):
        raise SettingsError(
            f"{wanted} threads need as many CPUs, and this process may use {len(allowed)}; lower --threads"
        )
    return tuple((first + [cpu for cpu in allowed if cpu not in first])[:wanted])


def one_of_each_core(cpus: Sequence[int]) -> list[int]:
    """Return the first of ``cpus`` on each core; without a known topology every CPU is a core."""
    cores: dict[str, int] = {}
    for cpu in cpus:
        siblings = files.read_text(files.SYS / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), cpu)
    return sorted(cores.values())
