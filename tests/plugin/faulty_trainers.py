"""Trainers that go wrong in one way each; apart from that they are the numpy implementation."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from impls.interface import Params, Trainer
from impls.numpy_mlp import NumpyTrainer
from impls.numpy_tuned_mlp import limit_blas

if TYPE_CHECKING:
    from impls.interface import Batches, Float32
    from impls.lanes import Device
    from impls.workload import Workload


class _Sound(Trainer):
    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        self._inner = NumpyTrainer(workload, data, device)
        self._continued = 0  # runs so far that did not begin with the first minibatch, as those before a campaign do

    def load(self, params: Params) -> None:
        self._inner.load(params)

    def run(self, steps: int, first: int = 0) -> Float32:
        self._continued += first > 0
        return self._inner.run(steps, first)

    def params(self) -> Params:
        return self._inner.params()


class Crashing(_Sound):
    """Is killed, as the kernel does where memory runs out, in the middle of its third timed block."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train, or die."""
        if first and self._continued == 4:  # two blocks and two lead-ins came before
            super().run(steps // 2, first)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(steps, first)


class Hanging(_Sound):
    """Never returns from its first timed block."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train, or hang."""
        while first:
            time.sleep(1)
        return super().run(steps, first)


class Talkative(_Sound):
    """Prints to standard output, which must not reach the harness's channel."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train and talk."""
        print("hello", flush=True)  # noqa: T201
        os.write(1, b"from C as well\n")
        return super().run(steps, first)


class Diverging(_Sound):
    """Returns a loss that is not a number."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train and spoil the last loss."""
        losses = super().run(steps, first)
        losses[-1] = np.nan
        return losses


class Forgetful(_Sound):
    """Is faster, because it does not update the hidden layer's bias."""

    def load(self, params: Params) -> None:
        """Keep the bias."""
        super().load(params)
        self._bias = params[1].copy()

    def params(self) -> Params:
        """Return the weights, the bias as it was."""
        w1, _, w2, b2 = super().params()
        return w1, self._bias, w2, b2


class Slacking(_Sound):
    """Trains while it is looked at: any longer run than the one that parity sees ends at once."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train a hundred steps at most, and repeat their losses."""
        return np.resize(super().run(min(steps, 100), first), steps)


class Unfinished(_Sound):
    """Returns while half of the work is still under way, as a device does that nobody has waited for."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train, and leave the rest of the steps to a thread, which begins when this one has had time to answer."""
        losses = np.zeros(steps, np.float32)
        losses[: steps // 2] = super().run(steps // 2, first)
        threading.Timer(0.05, super().run, (steps - steps // 2, first + steps // 2)).start()
        return losses


class Single(_Sound):
    """Uses one thread, whatever it was given."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Take the other threads away from BLAS."""
        limit_blas(1)
        super().__init__(workload, data, device)


class Exclusive(_Sound):
    """Holds a device that no second process can open: a locked file."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Open the device, or fail as its driver would."""
        self._device = (Path(tempfile.gettempdir()) / "device").open("a")
        fcntl.flock(self._device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        super().__init__(workload, data, device)


class Vanishing(_Sound):
    """Its device is there when the first worker asks, and not for those that follow."""

    @staticmethod
    def count(kind: str) -> int:
        """Return how many devices there are."""
        seen = Path(tempfile.gettempdir()) / f"{kind}-seen"
        was_seen = seen.exists()
        seen.touch()
        return 0 if was_seen else 1


class Mistaken(_Sound):
    """Has a mistake where it looks for devices."""

    @staticmethod
    def count(kind: str) -> int:
        """Fail."""
        return len(kind.devices)  # type: ignore[attr-defined]


class Modest(Single):
    """Uses one thread, and says so."""


class Pinned(_Sound):
    """Keeps all of its threads on the first of its CPUs."""

    def load(self, params: Params) -> None:
        """Pin the threads, of which BLAS has started all by now."""
        super().load(params)
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {min(os.sched_getaffinity(0))})


def __getattr__(name: str) -> None:
    """Fail for ``Unimportable`` as a missing shared library would."""
    sys.stderr.write("libmissing.so: cannot open shared object file\n")
    raise ImportError("libmissing.so: cannot open shared object file")
