"""What a GPU did during a block, and which other processes were on it, as NVML reports it; None is unknown."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from samenet.machine import gpu
from samenet.records import GpuLoad

try:
    import pynvml
except ModuleNotFoundError:  # gpu.missing() says so
    pynvml = None

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from impls.lanes import Device

# Nanoseconds for which a clock was lowered, since the driver was loaded. By name: NVIDIA has changed the numbers of the
# last three (251 to 253, 269 to 271). To a driver with other numbers they are settings, which do not rise.
POWER_COUNTER, HEAT_COUNTER = "NVML_FI_DEV_PERF_POLICY_POWER", "NVML_FI_DEV_PERF_POLICY_THERMAL"
COUNTERS = {
    HEAT_COUNTER: "heat",
    "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN": "heat",
    "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN": "heat, by hardware",
    "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN": "a power brake",
}
# Where a driver has no such counters: the same as nvmlDeviceGetViolationStatus has it.
VIOLATIONS = {POWER_COUNTER: "NVML_PERF_POLICY_POWER", HEAT_COUNTER: "NVML_PERF_POLICY_THERMAL"}
# What lowers the clock at a moment, by the ends of NVML's names nvmlClocksEventReason...; a power limit is no
# disturbance: under load it is the usual state of a card whose limit is low.
REASONS = {
    "HwSlowdown": "a hardware slowdown",
    "SwThermalSlowdown": "heat",
    "HwThermalSlowdown": "heat, by hardware",
    "HwPowerBrakeSlowdown": "a power brake",
}
# A100 and H100 sample the energy counter in part of the time (arXiv 2312.02741), and power is the mean of a second.
ENERGY_SECONDS = 1.0
LOOK_SECONDS = 20.0  # for which it counts how busy the other processes were, unless more come
# NVML's utilisation is that of the last sample period, which takes a second at most (NVML's reference): the campaign's
# own work is not in it any more after two, and each look has a period of its own.
SAMPLE_SECONDS, SETTLE_SECONDS = 1.0, 2.0
# In how much of the time a GPU may be in use, in the least of the looks, and still count as idle. A desktop at rest
# redraws something now and then, in short peaks. Both numbers are a choice: no desktop has been measured.
IDLE_PERCENT, LOOKS = 2.0, 3


def read_counters(handle: Any) -> dict[str, int]:  # noqa: ANN401  # as NVML has it
    """Return the counters (ns) that the GPU has, by name."""
    numbers = {name: getattr(pynvml, name, None) for name in [POWER_COUNTER, *COUNTERS]}
    wanted = [number for number in numbers.values() if number is not None]
    answered = gpu.ask(pynvml.nvmlDeviceGetFieldValues, handle, wanted) or ()
    values = {each.fieldId: int(each.value.ullVal) for each in answered if each.nvmlReturn == 0}
    counters = {name: values[number] for name, number in numbers.items() if number in values}
    for name, policy in VIOLATIONS.items():
        if name not in counters:
            status = gpu.ask(pynvml.nvmlDeviceGetViolationStatus, handle, getattr(pynvml, policy))
            counters |= {} if status is None else {name: int(status.violationTime)}
    return counters


def shares(before: dict[str, int], after: dict[str, int], seconds: float) -> dict[str, float]:
    """Return in which share of ``seconds`` each counter has counted; one that has fallen was reset, and is unknown."""
    return {
        name: min(1.0, (after[name] - start) / 1e9 / seconds)
        for name, start in before.items()
        if name in after and after[name] >= start
    }


def slowdown(shares: dict[str, float], reasons: int) -> str:
    """Say what lowered the clock, by the counters' ``shares`` and by the ``reasons`` at the start and the end."""
    found: dict[str, float] = {}
    for name, words in COUNTERS.items():
        if shares.get(name):
            found[words] = max(shares[name], found.get(words, 0.0))
    for name, words in REASONS.items():
        if reasons & int(getattr(pynvml, f"nvmlClocksEventReason{name}")):
            found.setdefault(words, 0.0)
    return " and ".join(
        f"{words} for {100 * share:.3g} % of the time" if share else words for words, share in found.items()
    )


def read_reasons(handle: Any) -> int:  # noqa: ANN401  # as NVML has it
    """Return what lowers the clock now, a bit for each reason; none if they are unknown."""
    reasons = gpu.ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # drivers before 535 know them by their former name only
        reasons = gpu.ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return int(reasons or 0)


def processes(number: int) -> set[int] | None:
    """Return the ids of the processes on the GPU, those that draw included; None if they are unknown."""
    if gpu.is_divided(number):  # the list is the whole board's, and may need privileges
        return None
    computing = gpu.ask_of(number, "nvmlDeviceGetComputeRunningProcesses")
    drawing = gpu.ask_of(number, "nvmlDeviceGetGraphicsRunningProcesses")
    return None if computing is None else {each.pid for each in [*computing, *(drawing or ())]}


def name_of(pid: int) -> str:
    """Return the name of a process, without its folder and arguments; its number if it has none here."""
    name = gpu.ask(pynvml.nvmlSystemGetProcessName, pid)
    return str(name).split(" ")[0].rpartition("/")[2] if name else f"process {pid}"


class Others(NamedTuple):
    """The other processes on a GPU: how many may be busy; their names; the names of those that idle; and how busy."""

    how_many: int | None
    names: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    percent: float | None = None


def newcomers(listed: set[int], first: set[int], ours: set[int]) -> tuple[set[int], int]:
    """Return which processes came after ``first``, and how many of them are not ``ours``.

    In a container NVML may list ours by the host's ids: then they are subtracted by number.
    """
    new = listed - first - ours
    return new, len(new) if listed & ours else max(0, len(new) - len(ours))


class Neighbours:
    """The processes on a GPU that are not the campaign's; made before any of the campaign's is there."""

    def __init__(self, number: int, sleep: Callable[[float], object] = time.sleep) -> None:
        """Look at GPU ``number``; ``sleep`` waits until its utilisation is no longer that of the campaign."""
        self.number, self._sleep = number, sleep
        self._first = processes(number) or set()
        self._looked = float("-inf")
        self._seen, self._seen_count = set[int](), 0  # the newcomers at the last look
        self.percent: float | None = None

    def look(self, ours: Collection[int]) -> None:
        """Look how busy the others keep the GPU, if there are any; all of ``ours`` have to be stopped."""
        listed = processes(self.number) or set()
        new, count = newcomers(listed, self._first, set(ours))
        is_recent = time.monotonic() - self._looked < LOOK_SECONDS
        if not (count or (listed & self._first) - set(ours)) or (is_recent and not self._unseen(new, count)):
            return
        self._sleep(SETTLE_SECONDS)
        self.percent = least_percent(self.number, self._sleep)
        self._seen, self._seen_count, self._looked = new, count, time.monotonic()

    def _unseen(self, new: set[int], count: int) -> int:
        """Return how many newcomers the last look did not see; by their number alone where some may be ours."""
        return len(new - self._seen) if len(new) == count else max(0, count - self._seen_count)

    def others(self, ours: Collection[int]) -> Others:
        """Return the others; they count if they may be busy, as do those that came after the last look."""
        listed = processes(self.number)
        if listed is None:
            return Others(None)
        old = sorted((listed & self._first) - set(ours))
        new, count = newcomers(listed, self._first, set(ours))
        named = sorted(new) if len(new) == count else []  # otherwise some of them are ours
        if self.percent is None or self.percent > IDLE_PERCENT:
            return Others(len(old) + count, tuple(map(name_of, [*old, *named])), percent=self.percent)
        unseen = self._unseen(new, count)
        idle = tuple(map(name_of, [*old, *(pid for pid in named if pid in self._seen)]))
        idle += ("another process",) * (0 if named else count - unseen)
        names = tuple(name_of(pid) for pid in named if pid not in self._seen)
        return Others(unseen, names, idle, None if unseen else self.percent)


def least_percent(number: int, sleep: Callable[[float], object]) -> float | None:
    """Return in which share of the time (%) GPU ``number`` is in use, the least of several looks; None is unknown."""
    found: list[float] = []
    while len(found) < LOOKS and min(found, default=math.inf) > IDLE_PERCENT:
        if found:
            sleep(SAMPLE_SECONDS)
        rates = gpu.ask_of(number, "nvmlDeviceGetUtilizationRates")
        if rates is None:
            return None
        found.append(float(rates.gpu))
    return min(found)


def neighbours_on(devices: Collection[Device]) -> dict[Device, Neighbours]:
    """Return the neighbours on each of these devices that NVML watches."""
    return {device: Neighbours(device.index) for device in devices if device.has_nvml}


class GpuWatch:
    """Reads a GPU's counters at the start of a block; ``stop`` gives the difference, and its state at the end."""

    def __init__(self, neighbours: Neighbours, ours: Collection[int]) -> None:
        """Start watching the GPU of ``neighbours``, on which the processes ``ours`` are the campaign's."""
        self._number, self._neighbours, self._ours = neighbours.number, neighbours, ours
        self._counters, self._reasons, self._millijoules = self._read()
        self._begin = time.perf_counter()

    def _read(self) -> tuple[dict[str, int], int, int | None]:
        handle = gpu.handle_of(self._number)
        if handle is None:
            return {}, 0, None
        return read_counters(handle), read_reasons(handle), gpu.ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)

    def stop(self) -> GpuLoad:
        """Return what has happened since the start."""
        seconds = time.perf_counter() - self._begin
        counters, reasons, millijoules = self._read()
        changed, others = shares(self._counters, counters, seconds), self._neighbours.others(self._ours)
        celsius = gpu.ask_of(self._number, "nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU)
        is_measurable = seconds >= ENERGY_SECONDS and not gpu.is_divided(self._number)
        milliwatts = gpu.ask_of(self._number, "nvmlDeviceGetPowerUsage") if is_measurable else None
        return GpuLoad(
            megahertz=gpu.megahertz(self._number),
            celsius=None if celsius is None else float(celsius),
            watts=None if milliwatts is None else milliwatts / 1000,
            joules=joules(self._millijoules, millijoules) if is_measurable else None,
            power_capped=changed.get(POWER_COUNTER),
            slowdown=slowdown(changed, self._reasons | reasons),
            others=others.how_many,
            other_names=others.names,
            others_percent=others.percent if others.names or others.idle else None,
            idle_names=others.idle,
        )


def joules(start: int | None, end: int | None) -> float | None:
    """Return the energy (J) between two readings (mJ); None if one is unknown, or the driver was loaded in between."""
    return None if start is None or end is None or end < start else (end - start) / 1000


def caveats(numbers: Iterable[int]) -> list[str]:
    """Say of each GPU what it does not report, so that disturbances may go unnoticed."""
    lines = []
    for number in numbers:
        handle = gpu.handle_of(number)
        if gpu.is_exclusive(number):
            lines.append(
                f"GPU {number} is in exclusive-process mode: a worker is started for each of its turns, which takes"
                " time; to avoid it, run: nvidia-smi -c DEFAULT"
            )
        if gpu.is_divided(number):
            lines.append(
                f"GPU {number} is divided (MIG): its bound, other processes, power and energy are unknown,"
                " and its clock and temperature are those of the whole GPU"
            )
        elif handle is not None:
            known = {
                "its clock": gpu.megahertz(number),
                "its power limit and heat": read_counters(handle) or None,
                "other processes": processes(number),
            }
            if unknown := [name for name, value in known.items() if value is None]:
                lines.append(f"GPU {number} does not report {', '.join(unknown)}; what only these show goes unnoticed")
    return lines
