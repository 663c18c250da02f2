"""What can run on a device of this machine, as NVML reports it; of other devices only their frameworks know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impls.devices import LEAST_CAPABILITY
from samenet.machine import gpu

if TYPE_CHECKING:
    from impls.lanes import Device


def is_absent(device: Device) -> str:
    """Say why nothing can run on ``device`` here, or return ""."""
    return gpu.missing(device.index) if device.has_nvml else ""


def lacks_precision(device: Device, precision: str) -> str:
    """Say why ``device`` cannot compute in ``precision``, or return ""; one whose capability is unknown cannot."""
    needed = LEAST_CAPABILITY.get(precision)
    if not device.has_nvml or not needed:
        return ""
    found = gpu.capability(device.index)
    if found and found >= needed:
        return ""
    least, what = ".".join(map(str, needed)), ".".join(map(str, found)) if found else "unknown"
    return f"unsupported: {precision} needs a GPU of compute capability {least} or more; that of {device} is {what}"


def may_be_shared(device: Device) -> bool:
    """Return whether several processes can use ``device`` at the same time."""
    is_exclusive = device.has_nvml and gpu.is_exclusive(device.index)
    return device.about.may_be_shared and not is_exclusive
