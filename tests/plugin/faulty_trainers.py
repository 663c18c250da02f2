"""Trainers that go wrong in one way each; apart from that they are the numpy implementation."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from impls.interface import Params, Trainer
from impls.numpy_mlp import NumpyTrainer

if TYPE_CHECKING:
    from impls.interface import Batches, Float32
    from impls.workload import Workload


class _Sound(Trainer):
    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        self._inner = NumpyTrainer(workload, data, device)
        self._runs = 0

    def load(self, params: Params) -> None:
        self._inner.load(params)

    def run(self, steps: int) -> Float32:
        self._runs += 1
        return self._inner.run(steps)

    def params(self) -> Params:
        return self._inner.params()


class Crashing(_Sound):
    """Dies as a segfault would, in its second timed round."""

    def run(self, steps: int) -> Float32:
        """Train, or die."""
        losses = super().run(steps)
        if self._runs == 4:  # the first step, the parity run and one round came before
            os.kill(os.getpid(), signal.SIGSEGV)
        return losses


class Hanging(_Sound):
    """Never returns from its first timed round."""

    def run(self, steps: int) -> Float32:
        """Train, or hang."""
        while self._runs == 2:
            time.sleep(1)
        return super().run(steps)


class Talkative(_Sound):
    """Prints to standard output, which must not reach the harness's channel."""

    def run(self, steps: int) -> Float32:
        """Train and talk."""
        print("hello", flush=True)  # noqa: T201
        os.write(1, b"from C as well\n")
        return super().run(steps)


class Diverging(_Sound):
    """Returns a loss that is not a number."""

    def run(self, steps: int) -> Float32:
        """Train and spoil the last loss."""
        losses = super().run(steps)
        losses[-1] = np.nan
        return losses


class Forgetful(_Sound):
    """Is faster, because it does not update the hidden layer's bias."""

    def load(self, params: Params) -> None:
        """Keep the bias."""
        super().load(params)
        self._bias = params.b1.copy()

    def params(self) -> Params:
        """Return the weights, the bias as it was."""
        return super().params()._replace(b1=self._bias)


def __getattr__(name: str) -> None:
    """Fail for ``Unimportable`` as a missing shared library would."""
    sys.stderr.write("libmissing.so: cannot open shared object file\n")
    raise ImportError("libmissing.so: cannot open shared object file")
