"""Serves one trainer to the harness, from inside the framework's own interpreter; the only clock.

A request is ``(name, arguments)``, and its reply and its arguments are builtin types. An array travels as (dtype,
shape, bytes), see ``pack``. The requests, in the order in which the harness sends them:

    load_framework(trainer)                              -> {import_seconds}
    versions(distributions)                              -> {distribution: version}
    devices(kind)                                        -> {count, problem}
    build(workload, images, labels, initial, device)     -> {build_seconds, transfer_seconds}
    reset(weights=None)                                  -> None
    run(steps, first=0, lead_in=0)                       -> {wall_seconds, cpu_seconds, losses}
    params()                                             -> [array]
    thread_pools(text)                                   -> [{...}]

A request that fails ends the worker with a RequestError, whose text is what the harness shows.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from impls.compiled import NOEXEC, temporary_folder_is_noexec
from impls.interface import Batches, Params, Trainer
from impls.lanes import Device
from impls.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32

    Packed = tuple[str, tuple[int, ...], bytes]


CPU = Device("cpu")
TRACEBACK = "Traceback (most recent call last):"
LONGEST_REASON = 400  # characters; Theano's errors have whole graphs in one line


class RequestError(Exception):
    """A request has failed; the text is the one line that the harness shows as the reason."""


class Channel(Protocol):
    """The worker's end of its connection to the harness, as execnet provides it."""

    def send(self, item: object) -> None:
        """Send builtin types: numbers, strings, bytes and containers of them."""

    def receive(self) -> Any:  # noqa: ANN401  # whatever the other side sent
        """Wait for what the other side sent."""


def pack(array: np.ndarray[Any, Any]) -> Packed:
    """Return ``array`` as builtin types, which every version of numpy reads alike."""
    return array.dtype.str, array.shape, array.tobytes()


def unpack(packed: Packed) -> np.ndarray[Any, Any]:
    """Return the array that was packed; it is read-only."""
    dtype, shape, data = packed
    return np.frombuffer(data, dtype).reshape(shape)


def scale(images: np.ndarray[Any, Any]) -> Float32:
    """Return ``images`` (uint8) times 1/256, which float32 represents exactly.

    The result is aligned to 64 bytes: XLA uses such memory in place, and copies any other.
    """
    buffer = np.empty(4 * images.size + 64, np.uint8)
    first = -buffer.ctypes.data % 64
    scaled: Float32 = buffer[first : first + 4 * images.size].view(np.float32).reshape(images.shape)
    np.multiply(images, np.float32(1 / 256), out=scaled)
    return scaled


def installed(distribution: str) -> tuple[str, str]:
    """Return the name and the version of ``distribution``, or of another one that provides the same module.

    Packages for several versions of CUDA have the module's name and an ending: ``cupy-cuda13x``, ``cupy-cuda12x``, and
    ``cupy`` where it was built from source or by conda.
    """
    with contextlib.suppress(PackageNotFoundError):
        return distribution, version(distribution)
    module = distribution.partition("-")[0]
    for name in packages_distributions().get(module, ()):
        return name, version(name)
    return distribution, str(getattr(sys.modules.get(module), "__version__", "unknown"))


class Service:
    """The requests of the harness, one public method each."""

    def __init__(self) -> None:
        """Start without a trainer; ``build`` makes one."""
        self._trainer: Trainer | None = None
        self._initial: Params | None = None
        self._devices_seconds = 0.0

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

    def devices(self, kind: str) -> dict[str, int | str | None]:
        """Return how many devices of ``kind`` the framework can use, None if it does not know, and what is wrong.

        This initialises the framework's devices, whose time is a part of ``build_seconds``.
        """
        start, count, problem = time.perf_counter(), None, ""
        try:
            count = self._class.count(kind)
        except (AttributeError, NameError, TypeError):  # a mistake in our own code
            raise
        except Exception as error:  # noqa: BLE001  # the framework's, whatever it is
            count, problem = 0, reason(error)
        self._devices_seconds += time.perf_counter() - start
        return {"count": count, "problem": problem}

    def build(
        self, workload: dict[str, Any], images: Packed, labels: Packed, initial: list[Packed], device: str
    ) -> dict[str, float | None]:
        """Make a trainer; ``images`` are uint8 (rows, inputs), ``device`` is text such as ``cuda:1``.

        ``build_seconds`` includes the transfer of the data. ``transfer_seconds`` is the transfer alone, to a device
        that has been used before, and None on the CPU, where the data are already.
        """
        self._trainer = None  # a second build must not need memory for two
        gc.unfreeze()
        gc.collect()  # some trainers refer to themselves
        described, target = Workload(**workload), Device.parse(device)
        data = Batches(scale(unpack(images)), unpack(labels).astype(np.int32), described.batch_size)
        self._initial = tuple(map(unpack, initial))
        start = time.perf_counter()
        if target != CPU:  # the first transfer also initialises the device, which takes much longer
            rows = data.batch_size
            self._class.place(Batches(data.images[:rows], data.labels[:rows], rows), target)
        begin = time.perf_counter()
        placed = self._class.place(data, target)
        transfer_seconds = None if target == CPU else time.perf_counter() - begin
        self._trainer = self._class(described, placed, target)
        build_seconds = time.perf_counter() - start + self._devices_seconds
        self._devices_seconds = 0.0
        del data, placed  # the trainer keeps what it needs
        gc.collect()
        gc.freeze()  # otherwise the collection before a round would visit all of torch, and take longer than the round
        return {"build_seconds": build_seconds, "transfer_seconds": transfer_seconds}

    def reset(self, weights: list[Packed] | None = None) -> None:
        """Load ``weights`` or the initial ones and collect garbage, so that the next run is not timed with either."""
        trainer, initial = self._live()
        trainer.load(initial if weights is None else tuple(map(unpack, weights)))
        trainer.params()  # waits for the device: the weights can be read only when they have arrived
        gc.collect()

    def run(self, steps: int, first: int = 0, lead_in: int = 0) -> dict[str, Any]:
        """Do ``lead_in`` updates from minibatch ``first`` on, then time ``steps`` more, and return the losses of all.

        Nothing but ``Trainer.run`` is timed.
        """
        trainer, _ = self._live()
        gc.disable()  # as timeit does: otherwise some rounds would include a collection
        try:
            losses = [trainer.run(lead_in, first)] if lead_in else []
            cpu_start, start = time.process_time(), time.perf_counter()
            losses.append(trainer.run(steps, first + lead_in))
            end, cpu_end = time.perf_counter(), time.process_time()
        finally:
            gc.enable()
        return {
            "wall_seconds": end - start,
            "cpu_seconds": cpu_end - cpu_start,
            "losses": pack(np.concatenate(losses)),
        }

    def params(self) -> list[Packed]:
        """Return the weights after the last ``run``."""
        return [pack(value) for value in self._live()[0].params()]

    def versions(self, distributions: list[str]) -> dict[str, str]:
        """Return the versions of Python, numpy and ``distributions``, by the names of those that are installed."""
        return {"python": platform.python_version()} | dict(map(installed, ["numpy", *distributions]))

    def thread_pools(self, text: str) -> list[dict[str, Any]]:
        """Return threadpoolctl's list of thread pools; ``text`` is its source, since it may not be installed here."""
        module = sys.modules["threadpoolctl"] = ModuleType("threadpoolctl")
        exec(compile(text, "threadpoolctl", "exec"), module.__dict__)  # noqa: S102  # the harness sent it
        pools: list[dict[str, Any]] = module.__dict__["threadpool_info"]()
        return pools


def reason(error: BaseException) -> str:
    """Return the type of ``error`` and the first line of its message, since what follows is often advice.

    Of compiled code that cannot be loaded, what to do about it.
    """
    if NOEXEC in "".join(traceback.format_exception(error)):
        where = "the temporary folder" + (f" {tempfile.gettempdir()}" if temporary_folder_is_noexec() else "")
        return f"cannot load what it compiled ({NOEXEC}): {where} is mounted noexec; set TMPDIR to another one"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # a foreign exception
        message = ""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    lines = [line for line in message.splitlines() if line.strip()]
    first = lines[0].strip() if lines else ""
    if first.endswith(":") and lines[1:]:  # it announces another error, perhaps with the frames of its traceback
        named = next((line for line in lines[1:] if not line.startswith(" ")), lines[1])
        first = f"{first.removesuffix(TRACEBACK).rstrip()} {named.strip()}"
    text = f"{name}: {first}" if first else name
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def serve(channel: Channel) -> None:
    """Answer requests until the harness closes the connection.

    Raises:
        RequestError: a request has failed; execnet sends this back.
        ValueError: there is no such request.
    """
    service = Service()
    methods: tuple[Callable[..., object], ...] = (
        service.load_framework,
        service.versions,
        service.devices,
        service.build,
        service.reset,
        service.run,
        service.params,
        service.thread_pools,
    )
    requests = {method.__name__: method for method in methods}
    while True:
        name, arguments = channel.receive()
        if name not in requests:
            raise ValueError(f"no request {name!r}; choose one of: {', '.join(requests)}")
        try:
            reply = requests[name](**arguments)
        except BaseException as error:  # a framework may exit, too
            raise RequestError(reason(error)) from error
        channel.send(reply)
