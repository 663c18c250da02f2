"""Collects the implementations: those of ``impls/*_lanes.py``, and those that other packages add as entry points."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import impls
from impls.devices import KINDS
from impls.lanes import Case, Device, Implementation
from impls.worker import reason as cause

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from importlib.metadata import EntryPoint
    from types import ModuleType

ENTRY_POINTS = "samenet.implementations"
SIDECAR = "_lanes"
CUDA = Device("cuda")
# The order of the cases in every run and report; a sidecar that is not named here comes last.
ORDER = (
    *("numpy", "cpp", "numba", "autograd", "scikit_learn", "cupy", "torch", "triton", "lightning"),
    *("jax", "flax", "equinox", "keras", "tensorflow", "paddle", "mlx", "onnxruntime", "tinygrad"),
    *("theano", "pytensor", "mxnet"),
)


@cache
def sidecars() -> tuple[ModuleType, ...]:
    """Return the modules ``impls/*_lanes.py``, which describe the lanes of one framework each."""
    modules = (module.name for module in pkgutil.iter_modules(impls.__path__))
    names = sorted(name.removesuffix(SIDECAR) for name in modules if name.endswith(SIDECAR))
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return tuple(import_module(f"impls.{name}{SIDECAR}") for name in names)


@cache
def own_implementations() -> tuple[Implementation, ...]:
    """Return the implementations of this repository."""
    return tuple(implementation for sidecar in sidecars() for implementation in sidecar.IMPLEMENTATIONS)


@cache
def frameworks() -> dict[str, str]:
    """Return the framework of each implementation, such as keras for keras-jax; other packages' are their own."""
    of_sidecars = {
        implementation.name: sidecar.__name__.rpartition(".")[2].removesuffix(SIDECAR).replace("_", "-")
        for sidecar in sidecars()
        for implementation in sidecar.IMPLEMENTATIONS
    }
    return {implementation.name: implementation.name for implementation in implementations()} | of_sidecars


@cache
def implementations() -> tuple[Implementation, ...]:
    """Return the implementations of this repository, then those of other packages."""
    known = {implementation.name: implementation for implementation in own_implementations()}
    for entry in entry_points(group=ENTRY_POINTS):
        implementation = load(entry, known)
        known[implementation.name] = implementation
    return tuple(known.values())


def load(entry: EntryPoint, taken: Container[str]) -> Implementation:
    """Return what ``entry`` names, or in its place an implementation whose case is skipped with what is wrong with it.

    Names have to differ from those that are ``taken``.
    """
    package = entry.dist.name if entry.dist else "another package"
    try:
        implementation: Implementation = entry.load()
        if implementation.name not in taken:
            return implementation
        reason = f"{package} has an implementation {implementation.name}, and so has another package; uninstall one"
    except Exception as error:  # noqa: BLE001  # another package's
        reason = f"its entry point in {package} cannot be loaded ({cause(error)})"
    name = f"{package}:{entry.name}"
    return Implementation(name=name, trainer="", environment=name, packages=(), unavailable={"cpu": reason})


@cache
def bounds() -> tuple[Implementation, ...]:
    """Return what is not an implementation: the matrix products of a step alone, in each BLAS.

    The fastest of them bounds every case.
    """
    return tuple(bound for sidecar in sidecars() for bound in getattr(sidecar, "BOUNDS", ()))


@cache
def peaks() -> tuple[Implementation, ...]:
    """Return what measures the highest rate of arithmetic of this machine's CPUs, which bounds the bounds."""
    return tuple(peak for sidecar in sidecars() for peak in getattr(sidecar, "PEAKS", ()))


def cases(accelerators: Sequence[Device] = (CUDA,)) -> tuple[Case, ...]:
    """Return every implementation on the CPU and on each of ``accelerators``, whether it can run here or not.

    On a kind of device that another package brings it always has a case.
    """
    return tuple(
        Case(implementation, device)
        for implementation in implementations()
        for kind in implementation.devices
        for device in [each for each in accelerators if each.kind == kind != "cpu"]
        or ([] if kind in KINDS else [Device(kind)])
    )
