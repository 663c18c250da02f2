"""What NVIDIA GPUs there are, and what one of them did during a round, as NVML tells it."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import pynvml

from bench.records import GpuLoad

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWDOWNS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "its power limit",
    pynvml.nvmlClocksEventReasonHwSlowdown: "a hardware slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "heat, by hardware",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "a power brake",
}
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
