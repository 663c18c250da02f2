"""The kinds of device besides the CPU, and what each framework, and the environment of a process, calls them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Monitor(StrEnum):
    """Which library reports what a device does while it is measured."""

    NVML = "NVML"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of device, whose names differ between frameworks.

    Attributes:
        name: the kind in the ids of cases, such as ``cuda``.
        torch: the type of ``torch.device``; empty where torch has none.
        jax: the platform of ``jax.devices``; empty where jax has none.
        selector: the environment variable that lists the devices that a process may use.
        selection: the value of ``selector`` with which a process sees the device ``{}`` alone.
        hidden: the value with which a process sees no such device; None where none is known to do that.
        blas: the library of matrix products, where it is not the one that a lane's manifest names for GPUs.
        alongside: what else has to be set where one of several is selected.
        may_be_shared: whether several processes can use one device at the same time.
        monitor: which library is asked what a device does during a block.
    """

    name: str
    torch: str = ""
    jax: str = ""
    selector: str = ""
    selection: str = "{}"
    hidden: str | None = None
    blas: str = ""
    alongside: Mapping[str, str] = field(default_factory=dict, hash=False)
    may_be_shared: bool = True
    monitor: Monitor = Monitor.NONE

    def selected(self, device: str) -> dict[str, str]:
        """Return the variables with which a process sees ``device`` alone; it is a number or what else names one."""
        return {self.selector: self.selection.format(device), **self.alongside} if self.selector else {}


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="cuda", torch="cuda", jax="cuda", selector="CUDA_VISIBLE_DEVICES", hidden="", monitor=Monitor.NVML),
        # torch's build for HIP calls it cuda. HIP takes an empty variable for one that is not set.
        Kind(name="rocm", torch="cuda", jax="rocm", selector="HIP_VISIBLE_DEVICES", hidden="-1", blas="hipBLAS"),
        Kind(
            name="xpu",
            torch="xpu",
            selector="ONEAPI_DEVICE_SELECTOR",
            selection="level_zero:{}",
            hidden="*:cpu",
            blas="oneDNN",
        ),
        Kind(
            name="tpu",
            jax="tpu",
            selector="TPU_VISIBLE_CHIPS",
            alongside={"TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"},
            blas="none, XLA's own kernels",
            may_be_shared=False,
        ),
    )
}
CPU = Kind(name="cpu", torch="cpu", jax="cpu")
NEEDS_PORT = {"mps": "mps is a device of macOS, and samenet needs Linux; docs/gpu.md says what a port would take"}

# The least compute capability of an NVIDIA GPU that has units for a precision. Older ones compute in float32 under the
# same settings, or emulate it: NVIDIA's paper on the A100 architecture has the table.
LEAST_CAPABILITY = {"tf32": (8, 0), "bfloat16": (8, 0)}


def kind_of(name: str) -> Kind:
    """Return the kind of this name; one that another package brings has the same name everywhere."""
    return CPU if name == CPU.name else KINDS.get(name) or Kind(name=name, torch=name, jax=name)
