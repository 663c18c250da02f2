"""What machine this is, which of its CPUs are used, and what else they were doing during a round."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench import gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLES = ("OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "XLA_", "JAX_", "TORCH", "THEANO_", "NVIDIA_", "CUDA_")


class BusyError(Exception):
    """Another campaign is running on this machine."""


def choose_cpus(threads: int | None) -> tuple[int, ...]:
    """Return the CPUs to measure on: one hardware thread of each core first, ``threads`` of them, or every core.

    Raises:
        ValueError: this process may not use so many, or the system has no CPU affinity.
    """
    if sys.platform != "linux":
        raise ValueError(f"{sys.platform} cannot confine a process to CPUs as Linux can; run samenet on Linux")
    allowed = sorted(os.sched_getaffinity(0))
    cores: dict[str, int] = {}
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text(encoding="ascii").strip() if siblings.exists() else str(cpu), cpu)
    first = sorted(cores.values())
    ordered = first + [cpu for cpu in allowed if cpu not in first]
    wanted = len(first) if threads is None else threads
    if wanted > len(allowed):
        raise ValueError(
            f"{wanted} threads need as many CPUs, and this process may use {len(allowed)}; lower --threads"
        )
    return tuple(ordered[:wanted])


@contextmanager
def only_campaign(path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock: two campaigns side by side would measure each other.

    Raises:
        BusyError: another process holds it.
    """
    path = path or Path(tempfile.gettempdir()) / "samenet.lock"
    with path.open("r" if path.exists() else "w") as lock:  # another user's file can be locked, but not written
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another campaign is measuring on this machine; wait for its end") from None
        yield


@dataclass(frozen=True)
class Load:
    """What the measured CPUs did over one round, for the worker and for others, in CPU seconds.

    ``worker_seconds``: the worker's own. ``waiting_seconds``: its threads stood in a run queue, ready, while something
    else had their CPU. ``others_seconds``: work of other processes. ``steal_seconds``: taken by the hypervisor.
    ``throttles``: thermal throttling events, where the machine counts them. ``megahertz``: the CPUs' mean frequency at
    the end. ``joules``: the energy of the processor's packages (RAPL). Both are 0 where the machine does not tell.
    """

    wall_seconds: float
    worker_seconds: float
    waiting_seconds: float
    others_seconds: float
    steal_seconds: float
    throttles: int
    megahertz: float
    joules: float
    cpus: int

    # Shares of the CPUs' time. Quiet rounds wait for 0.1 to 0.7 %; a neighbour with 5 % of each CPU makes it 4 to 5 %.
    WAITING_SHARE = 0.015
    OTHERS_SHARE = 0.01
    # A case whose threads sleep and wake often, as jax's do, shows 1 to 3 % of steal even where nobody takes anything:
    # its virtual CPUs have to be woken.
    STEAL_SHARE = 0.05
    TICK_SECONDS = 0.01  # in which the kernel counts others and steal

    @property
    def disturbance(self) -> str:
        """Why the round does not count, or "" where it does."""
        available = self.wall_seconds * self.cpus
        if self.throttles:
            return f"throttled {self.throttles} times"
        busy = self.others_seconds > self.OTHERS_SHARE * available + 2 * self.TICK_SECONDS
        if self.waiting_seconds > self.WAITING_SHARE * available and busy:
            return f"other processes held its CPUs for {100 * self.waiting_seconds / available:.0f} % of the time"
        if self.steal_seconds > self.STEAL_SHARE * available + 2 * self.TICK_SECONDS:
            return f"the hypervisor took {100 * self.steal_seconds / available:.0f} % of its CPUs"
        return ""


class Watch:
    """Reads a worker's and the machine's counters at the start of a round; ``stop`` gives the difference."""

    def __init__(self, pid: int, cpus: Sequence[int]) -> None:
        """Start watching process ``pid`` on ``cpus``."""
        self._pid, self._cpus = pid, cpus
        self._begin, self._start = time.perf_counter(), self._read()

    def _read(self) -> tuple[float, ...]:
        running = waiting = 0
        for path in Path(f"/proc/{self._pid}/task").glob("*/schedstat"):
            try:
                ran, waited, _ = path.read_text(encoding="ascii").split()
            except OSError:  # the thread has ended since
                continue
            running, waiting = running + int(ran), waiting + int(waited)
        lines = (line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines())
        ticks = {name: [int(count) for count in counts] for name, *counts in lines if name.startswith("cpu")}
        busy = steal = 0
        for cpu in self._cpus:
            user, nice, system, _idle, _iowait, irq, softirq, stolen, *_ = ticks[f"cpu{cpu}"]
            busy, steal = busy + user + nice + system + irq + softirq, steal + stolen
        counts = (Path(f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count") for cpu in self._cpus)
        throttles = sum(int(path.read_text(encoding="ascii")) for path in counts if path.exists())
        hertz = os.sysconf("SC_CLK_TCK")
        return running / 1e9, waiting / 1e9, busy / hertz, steal / hertz, throttles, package_joules()

    def stop(self) -> Load:
        """Return what has happened since the start."""
        ran, waited, busy, steal, throttles, joules = (
            end - start for end, start in zip(self._read(), self._start, strict=True)
        )
        folders = (Path(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in self._cpus)
        kilohertz = [int(path.read_text(encoding="ascii")) for path in folders if path.exists()]
        return Load(
            wall_seconds=time.perf_counter() - self._begin,
            worker_seconds=ran,
            waiting_seconds=waited,
            others_seconds=max(0.0, busy - ran),
            steal_seconds=steal,
            throttles=int(throttles),
            megahertz=sum(kilohertz) / len(kilohertz) / 1000 if kilohertz else 0.0,
            joules=max(0.0, joules),  # the counters start again from 0 after some hours
            cpus=len(self._cpus),
        )


def package_joules() -> float:
    """Return the energy counters of all processor packages (RAPL), or 0 where they may not be read."""
    try:
        counters = Path("/sys/class/powercap").glob("intel-rapl:[0-9]*/energy_uj")
        return sum(int(path.read_text(encoding="ascii")) for path in counters if path.parent.name.count(":") == 1) / 1e6
    except OSError:
        return 0.0


def record(cpus: Sequence[int]) -> dict[str, Any]:
    """Return what a reader must know of this machine, with a fingerprint of its hardware.

    The fingerprint covers CPU model, CPUs used, memory, GPUs and architecture: what has to be equal before two runs may
    be compared.
    """
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    cpuinfo = {name.strip(): value.strip() for name, value in fields.items()}
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    hardware = {
        "cpu": cpuinfo.get("model name", platform.processor()),
        "architecture": platform.machine(),
        "cpus_present": psutil.cpu_count() or 0,
        "cpus_used": len(cpus),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpus": gpu.models(),
    }
    text = json.dumps(hardware, sort_keys=True)
    return {
        "hardware": hardware,
        "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:12],
        "cpus": list(cpus),
        "virtualised": "hypervisor" in cpuinfo.get("flags", "").split(),
        "governor": governor.read_text(encoding="ascii").strip() if governor.exists() else "not told",
        "gpu_driver": gpu.driver(),
        "system": platform.platform(),
        "load_average": psutil.getloadavg()[0],
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }
