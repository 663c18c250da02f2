"""What NVIDIA GPUs there are, and what one of them did during a round, as NVML tells it."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pynvml

from bench.records import GpuLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.workload import Workload

SLOWDOWNS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "its power limit",
    pynvml.nvmlClocksEventReasonHwSlowdown: "a hardware slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "heat, by hardware",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "a power brake",
}
# What the matrix units do in a clock, over what float32's own do, by compute capability: NVIDIA's papers on the A100
# and H100 architectures have 19.5, 156 and 312 TFLOP/s for one, and 67, 495 and 989 for the other.
MATRIX_UNITS = {(8, 0): {"tf32": 8, "bfloat16": 16}, (9, 0): {"tf32": 8, "bfloat16": 16}}
WARM_UPS, STEADY = 20, 1.01  # how often a clock is looked at before a round, and the rise that is none


@cache
def ready() -> bool:
    """Tell whether there is a driver to ask."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


def visible() -> list[Any]:
    """Return NVML's handle of each GPU that a worker would see, in CUDA's order (``CUDA_DEVICE_ORDER=PCI_BUS_ID``)."""
    if not ready():
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    handles = []
    with contextlib.suppress(pynvml.NVMLError, ValueError):  # CUDA, too, stops at the first that there is not
        for name in filter(None, chosen.split(",")):
            by_uuid = name.startswith(("GPU-", "MIG-"))
            find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex
            handles.append(find(name if by_uuid else int(name)))
    return handles


def models() -> list[str]:
    """Return the model of each GPU."""
    return [str(pynvml.nvmlDeviceGetName(handle)) for handle in visible()]


def driver() -> str:
    """Return the driver's version, or ``none``."""
    return str(pynvml.nvmlSystemGetDriverVersion()) if ready() else "none"


def index(device: str) -> int | None:
    """Return the number of the GPU that ``device`` names, such as ``cuda:1``, or None for a CPU."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else None


def missing(device: str) -> str:
    """Say why nothing can run on ``device``, or return ""."""
    number, count = index(device), len(visible())
    if number is None or number < count:
        return ""
    return f"no NVIDIA GPU {number} is here: the driver shows {count}" if count else "no NVIDIA GPU is here"


def told(ask: Callable[..., Any], *arguments: Any, default: Any = 0) -> Any:  # noqa: ANN401  # as NVML has it
    """Return what NVML says, or ``default`` where this GPU does not tell."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return default


def megahertz(device: str) -> float:
    """Return the clock of the multiprocessors of ``device``, now."""
    return float(told(pynvml.nvmlDeviceGetClockInfo, visible()[index(device) or 0], pynvml.NVML_CLOCK_SM))


def warm_up(device: str, work: Callable[[], object]) -> None:
    """Do ``work`` on ``device`` until its clock no longer rises: after idling it needs a while for the one it keeps."""
    clock = megahertz(device)
    for _ in range(WARM_UPS):
        work()
        before, clock = clock, megahertz(device)
        if clock <= STEADY * before:
            break


class Peak(NamedTuple):
    """What a GPU could do at its highest clocks."""

    flop_per_second: float
    bytes_per_second: float

    def step_seconds(self, workload: Workload) -> float:
        """Return the least time of a step: its products at the full rate, or its minibatch's way from memory.

        The weights are left out, since caches may hold them: it stays the least.
        """
        images = 4 * workload.batch_size * workload.inputs
        return max(workload.step_flops / self.flop_per_second, images / self.bytes_per_second)


def peak(device: str, precision: str) -> Peak | None:
    """Return the peak of ``device`` in products of ``precision``, or None for a CPU and where NVML does not tell."""
    number = index(device)
    if number is None:
        return None
    handle = visible()[number]
    capability = tuple(told(pynvml.nvmlDeviceGetCudaComputeCapability, handle, default=()))
    return peak_of(
        cores=told(pynvml.nvmlDeviceGetNumGpuCores, handle),
        core_megahertz=told(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_bits=told(pynvml.nvmlDeviceGetMemoryBusWidth, handle),
        memory_megahertz=told(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        units=1 if precision == "float32" else MATRIX_UNITS.get(capability, {}).get(precision, 0),
    )


def peak_of(cores: int, core_megahertz: int, memory_bits: int, memory_megahertz: int, units: int) -> Peak | None:
    """Return the peak: two flops a clock from each core, times ``units``, and two transfers a clock; 0 is not known."""
    found = Peak(2e6 * cores * core_megahertz * units, 2e6 * memory_megahertz * memory_bits / 8)
    return found if all(found) else None


class GpuWatch:
    """Reads a GPU's counters at the start of a round; ``stop`` gives the difference, and its state at the end."""

    def __init__(self, device: str, workers: int) -> None:
        """Start watching ``device``, on which ``workers`` processes are ours."""
        self._device, self._workers = device, workers
        self._handle = visible()[index(device) or 0]
        self._slowdowns = self._read_slowdowns()
        self._millijoules = told(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)

    def _read_slowdowns(self) -> int:
        return int(told(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle))

    def stop(self) -> GpuLoad:
        """Return what has happened since the start."""
        millijoules = told(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        reasons = self._slowdowns | self._read_slowdowns()
        processes = told(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle, default=[])
        return GpuLoad(
            megahertz=megahertz(self._device),
            celsius=float(told(pynvml.nvmlDeviceGetTemperature, self._handle, pynvml.NVML_TEMPERATURE_GPU)),
            watts=told(pynvml.nvmlDeviceGetPowerUsage, self._handle) / 1000,
            joules=(millijoules - self._millijoules) / 1000,
            slowdown=" and ".join(words for bit, words in SLOWDOWNS.items() if reasons & bit),
            # By number and not by process id: in a container NVML may count in the host's ids.
            others=max(0, len(processes) - self._workers),
        )
