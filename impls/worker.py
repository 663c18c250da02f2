"""Serves one trainer to the harness, from inside the framework's own interpreter; the only clock."""

from __future__ import annotations

import gc
import importlib
import platform
import sys
import time
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from impls.interface import Batches, Params, Trainer
from impls.workload import Workload

if TYPE_CHECKING:
    Packed = tuple[str, tuple[int, ...], bytes]


class Channel(Protocol):
    """The two ends of a worker's connection, as execnet gives them."""

    def send(self, item: object) -> None:
        """Send builtin types: numbers, strings, bytes and containers of them."""

    def receive(self) -> Any:  # noqa: ANN401  # whatever the other side sent
        """Wait for what the other side sent."""


def pack(array: np.ndarray[Any, Any]) -> Packed:
    """Return ``array`` as builtin types, which mean the same to every numpy."""
    return array.dtype.str, array.shape, array.tobytes()


def unpack(packed: Packed) -> np.ndarray[Any, Any]:
    """Return the array that ``pack`` was given; it is read-only."""
    dtype, shape, data = packed
    return np.frombuffer(data, dtype).reshape(shape)


class Service:
    """The requests of the harness, one method each; every reply is made of builtin types."""

    def __init__(self) -> None:
        """Start without a trainer; ``build`` makes one."""
        self._trainer: Trainer | None = None
        self._initial: Params | None = None

    def _live(self) -> tuple[Trainer, Params]:
        if self._trainer is None or self._initial is None:
            raise RuntimeError("nothing to run; send build first")
        return self._trainer, self._initial

    def load_framework(self, trainer: str) -> dict[str, float]:
        """Import ``trainer`` (``module:class``) and with it the framework."""
        start = time.perf_counter()
        module, _, name = trainer.partition(":")
        self._class: type[Trainer] = getattr(importlib.import_module(module), name)
        return {"import_seconds": time.perf_counter() - start}

    def build(
        self, workload: dict[str, Any], images: Packed, labels: Packed, initial: list[Packed], device: str
    ) -> dict[str, float | None]:
        """Make a trainer; ``images`` are uint8 (rows, inputs), scaled here by 1/256, which float32 holds exactly."""
        self._trainer = None  # a second build must not need memory for two
        gc.unfreeze()
        described = Workload(**workload)
        raw = unpack(images)
        # XLA takes memory that is aligned to 64 bytes as it is, and has a copy of any other.
        room = np.empty(4 * raw.size + 64, np.uint8)
        first = -room.ctypes.data % 64
        scaled = room[first : first + 4 * raw.size].view(np.float32).reshape(raw.shape)
        np.multiply(raw, np.float32(1 / 256), out=scaled)
        data = Batches(scaled, unpack(labels).astype(np.int32), described.batch_size)
        self._initial = tuple(map(unpack, initial))
        start = time.perf_counter()
        self._trainer = self._class(described, data, device)
        build_seconds = time.perf_counter() - start
        transfer_seconds = None
        if device != "cpu":  # once more, now that the device is awake
            start = time.perf_counter()
            placed = self._class.place(data, device)
            transfer_seconds = None if placed is None else time.perf_counter() - start
            del placed
        gc.collect()
        gc.freeze()  # to look through all of torch before each round would take longer than a short round does
        return {"build_seconds": build_seconds, "transfer_seconds": transfer_seconds}

    def reset(self, weights: list[Packed] | None = None) -> None:
        """Put ``weights`` or the initial ones in, and the garbage away: neither belongs to the next run's time."""
        trainer, initial = self._live()
        trainer.load(initial if weights is None else tuple(map(unpack, weights)))
        trainer.params()  # a device has them only when it can give them back
        gc.collect()

    def run(self, steps: int, first: int = 0) -> dict[str, Any]:
        """Time ``steps`` updates from minibatch ``first`` on: only ``Trainer.run`` is between the two readings."""
        trainer, _ = self._live()
        gc.disable()  # as timeit does: a collection would land on whichever round it happens in
        try:
            cpu_start, start = time.process_time(), time.perf_counter()
            losses = trainer.run(steps, first)
            end, cpu_end = time.perf_counter(), time.process_time()
        finally:
            gc.enable()
        return {"wall_seconds": end - start, "cpu_seconds": cpu_end - cpu_start, "losses": pack(losses)}

    def params(self) -> list[Packed]:
        """Return the weights after the last ``run``."""
        return [pack(value) for value in self._live()[0].params()]

    def versions(self, distributions: list[str]) -> dict[str, str]:
        """Return the versions of Python, numpy and ``distributions``."""
        return {"python": platform.python_version()} | {name: version(name) for name in ["numpy", *distributions]}

    def thread_pools(self, text: str) -> list[dict[str, Any]]:
        """Run the source of threadpoolctl, which this environment need not have, and return what it finds."""
        module = sys.modules["threadpoolctl"] = ModuleType("threadpoolctl")
        exec(compile(text, "threadpoolctl", "exec"), module.__dict__)  # noqa: S102  # sent by our own harness
        pools: list[dict[str, Any]] = module.__dict__["threadpool_info"]()
        return pools


def serve(channel: Channel) -> None:
    """Answer requests ``(method, arguments)`` until the harness hangs up; execnet brings tracebacks back."""
    service = Service()
    while True:
        method, arguments = channel.receive()
        channel.send(getattr(service, method)(**arguments))
