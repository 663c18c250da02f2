"""What NVIDIA GPUs there are, and what one of them did during a round, as NVML reports it; None is unknown.

A GPU is known by its number, in CUDA's order (``CUDA_DEVICE_ORDER=PCI_BUS_ID``).
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from samenet.records import GpuLoad

try:
    import pynvml
except ModuleNotFoundError:  # a machine without GPUs does not need it; missing() says so
    pynvml = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from impls.workload import Workload

# By the ends of NVML's names, nvmlClocksEventReason...
SLOWDOWNS = {
    "SwPowerCap": "its power limit",
    "HwSlowdown": "a hardware slowdown",
    "SwThermalSlowdown": "heat",
    "HwThermalSlowdown": "heat, by hardware",
    "HwPowerBrakeSlowdown": "a power brake",
}
# What the matrix units do in a clock, over what float32's own do, by compute capability: NVIDIA's papers on the A100
# and H100 architectures have 19.5, 156 and 312 TFLOP/s for one, and 67, 495 and 989 for the other.
MATRIX_UNITS = {(8, 0): {"tf32": 8, "bfloat16": 16}, (9, 0): {"tf32": 8, "bfloat16": 16}}
WARM_UPS, STEADY = 20, 1.01  # how often a clock is looked at before a round, and the rise that is none


@cache
def unavailable() -> str:
    """Say why NVML cannot be asked, or return ""."""
    if pynvml is None:
        return "no NVIDIA GPU can be seen: nvidia-ml-py is not installed; run: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return "no NVIDIA GPU was found"
    return ""


def ask(question: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401  # as NVML has it
    """Return NVML's answer, or None where it has none for this GPU."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def visible() -> list[Any]:
    """Return NVML's handle of each GPU that a worker would see."""
    if unavailable():
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = ask(pynvml.nvmlDeviceGetCount) or 0
    names: Iterable[str] = map(str, range(count)) if chosen is None else filter(None, chosen.split(","))
    handles = []
    with contextlib.suppress(pynvml.NVMLError, ValueError):  # CUDA, too, stops at the first that is missing
        for name in names:
            by_uuid = name.startswith(("GPU-", "MIG-"))
            find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex
            handles.append(find(name if by_uuid else int(name)))
    return handles


def models() -> list[str]:
    """Return the model of each GPU."""
    return [str(ask(pynvml.nvmlDeviceGetName, handle) or "unknown") for handle in visible()]


def driver() -> str | None:
    """Return the driver's version, or None without one."""
    version = None if unavailable() else ask(pynvml.nvmlSystemGetDriverVersion)
    return None if version is None else str(version)


def missing(number: int) -> str:
    """Say why nothing can run on GPU ``number``, or return ""."""
    count = len(visible())
    if number < count:
        return ""
    if count:
        return f"GPU {number} was not found; the driver reports {count}"
    return unavailable() or "no NVIDIA GPU was found"


def megahertz(number: int) -> float | None:
    """Return the clock of the GPU's multiprocessors, now."""
    clock = ask(pynvml.nvmlDeviceGetClockInfo, visible()[number], pynvml.NVML_CLOCK_SM)
    return None if clock is None else float(clock)


def warm_up(number: int, work: Callable[[], object]) -> None:
    """Do ``work`` on the GPU until its clock no longer rises: after idling it needs some time to reach its clock."""
    clock = megahertz(number)
    for _ in range(WARM_UPS):
        work()
        before, clock = clock, megahertz(number)
        if before is None or clock is None or clock <= STEADY * before:
            break


class Peak(NamedTuple):
    """What a GPU could do at its highest clocks."""

    flop_per_second: float
    bytes_per_second: float

    def step_seconds(self, workload: Workload) -> float:
        """Return the least time of a step: its products at the full rate, or reading its minibatch from memory.

        The weights are left out, since caches may hold them: it stays the least.
        """
        images = 4 * workload.batch_size * workload.inputs
        return max(workload.step_flops / self.flop_per_second, images / self.bytes_per_second)


def peak(number: int, precision: str) -> Peak | None:
    """Return the peak of the GPU in products of ``precision``, or None where it is unknown."""
    handle = visible()[number]
    capability = tuple(ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle) or ())
    return peak_of(
        cores=ask(pynvml.nvmlDeviceGetNumGpuCores, handle),
        core_megahertz=ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_bits=ask(pynvml.nvmlDeviceGetMemoryBusWidth, handle),
        memory_megahertz=ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        units=1 if precision == "float32" else MATRIX_UNITS.get(capability, {}).get(precision),
    )


def peak_of(
    *,
    cores: int | None,
    core_megahertz: int | None,
    memory_bits: int | None,
    memory_megahertz: int | None,
    units: int | None,
) -> Peak | None:
    """Return the peak: two flops a clock from each core, times ``units``, and two transfers a clock."""
    if not (cores and core_megahertz and memory_bits and memory_megahertz and units):
        return None
    return Peak(2e6 * cores * core_megahertz * units, 2e6 * memory_megahertz * memory_bits / 8)


class GpuWatch:
    """Reads a GPU's counters at the start of a round; ``stop`` gives the difference, and its state at the end."""

    def __init__(self, number: int, workers: int) -> None:
        """Start watching GPU ``number``, on which ``workers`` processes are the campaign's."""
        self._number, self._workers = number, workers
        self._handle = visible()[number]
        self._slowdowns = self._read_slowdowns()
        self._millijoules = self._read_millijoules()

    def _read_slowdowns(self) -> int:
        return int(ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle) or 0)

    def _read_millijoules(self) -> int | None:
        counter: int | None = ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return counter

    def stop(self) -> GpuLoad:
        """Return what has happened since the start."""
        start, end = self._millijoules, self._read_millijoules()
        reasons = self._slowdowns | self._read_slowdowns()
        bits = {name: getattr(pynvml, f"nvmlClocksEventReason{name}") for name in SLOWDOWNS}
        celsius = ask(pynvml.nvmlDeviceGetTemperature, self._handle, pynvml.NVML_TEMPERATURE_GPU)
        milliwatts = ask(pynvml.nvmlDeviceGetPowerUsage, self._handle)
        processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle) or []
        return GpuLoad(
            megahertz=megahertz(self._number),
            celsius=None if celsius is None else float(celsius),
            watts=None if milliwatts is None else milliwatts / 1000,
            # A counter that has fallen was reset, with the driver.
            joules=None if start is None or end is None or end < start else (end - start) / 1000,
            slowdown=" and ".join(words for name, words in SLOWDOWNS.items() if reasons & bits[name]),
            # By number and not by process id: in a container NVML may count in the host's ids.
            others=max(0, len(processes) - self._workers),
        )
