"""The network in pytensor, Theano's successor: one function with updates over shared variables, compiled by numba."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload

# PyTensor reads its settings once, at import; what the user has set comes last and wins.
os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, ("floatX=float32", os.environ.get("PYTENSOR_FLAGS"))))

import pytensor  # after its settings
import pytensor.tensor as pt

__all__ = ["PytensorTrainer", "pt", "pytensor", "step"]  # the tuned lane takes pytensor from here, with its settings


def step(params: list[Any], x: Any, y: Any, workload: Workload) -> tuple[Any, list[tuple[Any, Any]]]:  # noqa: ANN401
    """Return the graphs of the loss of the minibatch ``x`` (batch, inputs), ``y`` (batch,), and of each update."""
    w1, b1, w2, b2 = params
    hidden = pt.tanh(pt.dot(x, w1) + b1)
    logits = pt.dot(hidden, w2) + b2
    cost = -pt.mean(pt.special.log_softmax(logits, axis=1)[pt.arange(workload.batch_size), y])
    rate = np.float32(workload.learning_rate)  # a Python float would make the update float64
    return cost, [(p, p - rate * g) for p, g in zip(params, pytensor.grad(cost, params), strict=True)]


@final
class PytensorTrainer(Trainer):
    """What the book's readers would write today."""

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Build the graph over shared variables and compile it; ``device`` can only be the CPU."""
        del device
        self._batches = len(data)
        images = pytensor.shared(data.images, borrow=True)
        labels = pytensor.shared(data.labels, borrow=True)
        # Of a fixed shape and no other: a width of 1 must not be taken for a dimension to broadcast.
        self._params = [pytensor.shared(np.zeros(shape, np.float32)) for shape in workload.shapes]
        k = pt.lscalar("k")
        rows = slice(k * data.batch_size, (k + 1) * data.batch_size)
        cost, updates = step(self._params, images[rows], labels[rows], workload)
        self._step = pytensor.function([k], cost, updates=updates, mode="NUMBA")

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.set_value(given)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numba's code has finished each call when it returns."""
        return np.array([self._step(step % self._batches) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return Params(*(np.array(value.get_value()) for value in self._params))
