"""What NVIDIA GPUs there are, whether one can be used, and its clock and peak, as NVML reports it; None is unknown.

A GPU is known by its number, in CUDA's order (``CUDA_DEVICE_ORDER=PCI_BUS_ID``).
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

try:
    import pynvml
except ModuleNotFoundError:  # a machine without GPUs does not need it; missing() says so
    pynvml = None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from impls.workload import Workload

# What the matrix units do in a clock, over what float32's own do, by compute capability: NVIDIA's papers on the A100
# and H100 architectures have 19.5, 156 and 312 TFLOP/s for one, and 67, 495 and 989 for the other. Those of 8.6 and 8.9
# are the highest of their capability (A40, L40S), of which GeForce has half. One that is not here has no bound.
MATRIX_UNITS = {
    (8, 0): {"tf32": 8, "bfloat16": 16},
    (8, 6): {"tf32": 2, "bfloat16": 4},
    (8, 9): {"tf32": 2, "bfloat16": 4},
    (9, 0): {"tf32": 8, "bfloat16": 16},
}
LARGEST_CACHE_BYTES = 128 * 2**20  # of NVIDIA's GPUs so far: the L2 of a whole GB202
WARM_UP_SECONDS, MOST_WARM_UP_SECONDS = 0.5, 5.0  # of work before a block; an idle GPU takes a while to raise its clock
LOOK_SECONDS = 0.05  # of work between two looks at the clock
SAME_CLOCK = 0.01  # the relative difference of two looks that agree

# What to do about NVML's errors, by their codes; the text of the error itself comes first.
LIBRARY_NOT_FOUND = 12
REMEDIES = {
    4: "allow this user to open its /dev/nvidia device",
    9: "load NVIDIA's driver",
    LIBRARY_NOT_FOUND: "install NVIDIA's driver, or select another vendor's device, such as --gpu rocm",
    15: "reset it, or restart the machine",
    16: "reset it, or restart the machine",
    18: "restart the machine, whose driver was updated",
}
LOST = {15, 16, 28}  # GPU is lost, needs a reset, was not found any more
PROHIBITED, EXCLUSIVE = 2, {1, 3}  # the compute modes in which no process, or one at a time, can use a GPU


@cache
def unavailable() -> str:
    """Say why NVML cannot be asked, or return ""."""
    if pynvml is None:
        return "no NVIDIA GPU can be seen: nvidia-ml-py is not installed; run: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        here = "was found" if getattr(error, "value", None) == LIBRARY_NOT_FOUND else "can be used"
        return f"no NVIDIA GPU {here}: {because(error)}"
    return ""


def because(error: Exception) -> str:
    """Return the text of an error of NVML, and its remedy where there is one."""
    remedy = REMEDIES.get(getattr(error, "value", 0), "")
    text = str(error).rstrip(".")
    return f"{text}; {remedy}" if remedy else text


def ask(question: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401  # as NVML has it
    """Return NVML's answer, or None where it has none for this GPU."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def visible() -> list[Any]:
    """Return NVML's handle of each GPU that a worker would see, or in its place the error where it cannot be opened."""
    if unavailable():
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    everything = [_opened(index) for index in range(ask(pynvml.nvmlDeviceGetCount) or 0)]
    if chosen is None:
        return everything
    handles: list[Any] = []
    for name in filter(None, chosen.split(",")):
        handle = _chosen(name.strip(), everything)
        if handle is None:  # CUDA, too, stops at the first that is missing
            break
        handles.append(handle)
    return handles


def _opened(index: int) -> Any:  # noqa: ANN401  # as NVML has it
    try:
        return pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return error


def _chosen(name: str, everything: Sequence[Any]) -> Any:  # noqa: ANN401  # as NVML has it
    """Return what CUDA_VISIBLE_DEVICES calls ``name``, or None: a number, or the beginning of one UUID."""
    if name.startswith("MIG-"):
        return ask(pynvml.nvmlDeviceGetHandleByUUID, name)
    if name.startswith("GPU-"):
        opened = [each for each in everything if not isinstance(each, Exception)]
        found = [each for each in opened if str(ask(pynvml.nvmlDeviceGetUUID, each)).startswith(name)]
        return found[0] if len(found) == 1 else None
    return everything[int(name)] if name.isdecimal() and int(name) < len(everything) else None


def handle_of(number: int) -> Any:  # noqa: ANN401  # as NVML has it
    """Return NVML's handle of GPU ``number``, or None where there is none any more, or it cannot be opened."""
    handles = visible()
    handle = handles[number] if number < len(handles) else None
    return None if isinstance(handle, Exception) else handle


def ask_of(number: int, question: str, *arguments: Any) -> Any:  # noqa: ANN401  # as NVML has it
    """Return NVML's answer on GPU ``number`` to a question such as ``nvmlDeviceGetName``, or None without one."""
    handle = handle_of(number)
    return None if handle is None else ask(getattr(pynvml, question), handle, *arguments)


def models() -> list[str]:
    """Return the model of each GPU."""
    return [str(ask_of(number, "nvmlDeviceGetName") or "unknown") for number in range(len(visible()))]


def uuid(number: int) -> str | None:
    """Return what CUDA knows GPU ``number`` by in every process, or None where NVML does not say."""
    answer = ask_of(number, "nvmlDeviceGetUUID")
    return None if answer is None else str(answer)


def driver() -> str | None:
    """Return the driver's version, or None without one."""
    version = None if unavailable() else ask(pynvml.nvmlSystemGetDriverVersion)
    return None if version is None else str(version)


def cuda_version() -> int | None:
    """Return the newest CUDA that the driver supports, such as 13, or None where it is unknown."""
    version = None if unavailable() else ask(pynvml.nvmlSystemGetCudaDriverVersion)
    return None if version is None else int(version) // 1000


def missing(number: int) -> str:
    """Say why nothing can run on GPU ``number``, or return ""."""
    handles = visible()
    if number >= len(handles):
        return unavailable() or _not_found(number, len(handles))
    if isinstance(handles[number], Exception):
        return f"GPU {number} cannot be used: {because(handles[number])}"
    if ask_of(number, "nvmlDeviceGetComputeMode") == PROHIBITED:
        return f"GPU {number} is in prohibited mode, in which no process can use it; run: nvidia-smi -c DEFAULT"
    return ""


def _not_found(number: int, count: int) -> str:
    """Say why GPU ``number`` is not one of the ``count`` that a worker would see, although NVML answers."""
    known = ask(pynvml.nvmlDeviceGetCount) or 0
    missing = f"GPU {number} was not found" if count else "no NVIDIA GPU was found"
    if known > count:
        return f"{missing}; CUDA_VISIBLE_DEVICES shows {count or 'none'} of the {known} that the driver reports"
    return f"{missing}; the driver reports {count}" if count else missing


def is_exclusive(number: int) -> bool:
    """Return whether only one process at a time can use the GPU."""
    return ask_of(number, "nvmlDeviceGetComputeMode") in EXCLUSIVE


def lost(number: int) -> str:
    """Say that GPU ``number`` no longer works, or return ""."""
    handles = visible()
    if number >= len(handles):
        return f"GPU {number} was lost"
    error = handles[number]
    if not isinstance(error, Exception):
        try:
            pynvml.nvmlDeviceGetClockInfo(handles[number], pynvml.NVML_CLOCK_SM)
        except pynvml.NVMLError as refusal:
            error = refusal
    return f"GPU {number} was lost: {because(error)}" if getattr(error, "value", 0) in LOST else ""


def is_divided(number: int) -> bool:
    """Return whether the GPU is an instance of a divided one (MIG), or its first instance."""
    mode = ask_of(number, "nvmlDeviceGetMigMode")
    return bool(mode and mode[0]) or bool(ask_of(number, "nvmlDeviceIsMigDeviceHandle"))


def megahertz(number: int) -> float | None:
    """Return the clock of the GPU's multiprocessors, now."""
    clock = ask_of(number, "nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM) if pynvml else None
    return None if clock is None else float(clock)


def warm_up(number: int | None, work: Callable[[int], float]) -> None:
    """Let the GPU work for 0.5 s at least and until two looks at its clock agree: idle, it has a lower clock.

    Without a number, NVML does not know the device, and there is nothing to look at. ``work`` does so many steps and
    returns the seconds that they took.
    """
    steps, worked, clock = 1, 0.0, None
    while worked < MOST_WARM_UP_SECONDS:
        seconds = work(steps)
        steps, worked = steps * 2 if seconds < LOOK_SECONDS else steps, worked + seconds
        if worked < WARM_UP_SECONDS:
            continue
        before, clock = clock, None if number is None else megahertz(number)
        if clock is None or (before is not None and abs(clock - before) <= SAME_CLOCK * before):
            break


def capability(number: int) -> tuple[int, int] | None:
    """Return the compute capability of the GPU, which its architecture has, or None where it is unknown."""
    answer = ask_of(number, "nvmlDeviceGetCudaComputeCapability")
    return tuple(answer) if answer else None


class Peak(NamedTuple):
    """What a GPU could do at its highest clocks."""

    flop_per_second: float
    bytes_per_second: float

    def step_seconds(self, workload: Workload, rows: int) -> float:
        """Return the least time of a step on ``rows`` images: its products at the full rate, or reading its minibatch.

        Of the images only those count that no GPU's cache holds until the next pass, and no weights.
        """
        row = 4 * workload.inputs  # bytes
        uncached = max(0.0, 1 - LARGEST_CACHE_BYTES / (row * rows))
        images = row * workload.batch_size * uncached
        return max(workload.step_flops / self.flop_per_second, images / self.bytes_per_second)


def peak(number: int, precision: str) -> Peak | None:
    """Return the peak of the GPU in products of ``precision``, or None where it is unknown."""
    if is_divided(number):  # what NVML reports is the whole board's
        return None
    return peak_of(
        cores=ask_of(number, "nvmlDeviceGetNumGpuCores"),
        core_megahertz=ask_of(number, "nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_SM),
        memory_bits=ask_of(number, "nvmlDeviceGetMemoryBusWidth"),
        memory_megahertz=ask_of(number, "nvmlDeviceGetMaxClockInfo", pynvml.NVML_CLOCK_MEM),
        units=1 if precision == "float32" else MATRIX_UNITS.get(capability(number) or (0, 0), {}).get(precision),
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
