"""The network in PyTensor, Theano's successor: one function with updates over shared variables, compiled by numba."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

# PyTensor reads its settings once, at import; the user's settings come last and win.
os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, ("floatX=float32", os.environ.get("PYTENSOR_FLAGS"))))

import pytensor  # after its settings
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

__all__ = ["PytensorTrainer", "pt", "pytensor", "step"]  # the tuned lane imports PyTensor from here, after its settings


def leaky(z: Any, leak: Any) -> Any:  # noqa: ANN401  # PyTensor has no types
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    one = np.float32(1)  # an int would make it float64
    return ((one + leak) * z + (one - leak) * abs(z)) / 2


def maxout(z: Any, workload: Workload) -> Any:  # noqa: ANN401
    """Return the largest unit of each group; equal maxima share the gradient, where max would give each all of it."""
    units = z.reshape((workload.batch_size, workload.hidden, workload.n_pool))
    largest = pt.eq(units, units.max(axis=2, keepdims=True)).astype("float32")
    return (units * disconnected_grad(largest / largest.sum(axis=2, keepdims=True))).sum(axis=2)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": lambda z, workload: pt.tanh(z),
    "sigmoid": lambda z, workload: pt.sigmoid(z),
    "hard_sigmoid": lambda z, workload: pt.clip(z + np.float32(0.5), np.float32(0), np.float32(1)),
    "hard_tanh": lambda z, workload: pt.clip(z, np.float32(-1), np.float32(1)),
    "relu": lambda z, workload: leaky(z, np.float32(0)),
    "leaky_relu": lambda z, workload: leaky(z, np.float32(workload.leak)),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": maxout,
}


def hidden_layer(workload: Workload, x: Any, *first: Any) -> Any:  # noqa: ANN401
    """Return the graph of the hidden layer's output; a linear model has no such layer."""
    if workload.model == "linear":
        return x
    w1, b1, *leak = first
    return ACTIVATIONS[workload.activation](pt.dot(x, w1) + b1, workload, *leak)


def step(params: list[Any], x: Any, y: Any, workload: Workload) -> tuple[Any, list[tuple[Any, Any]]]:  # noqa: ANN401
    """Return the graphs of the loss of the minibatch ``x`` (batch, inputs), ``y`` (batch,), and of each update."""
    *first, w2, b2 = params
    hidden = hidden_layer(workload, x, *first)
    logits = pt.dot(hidden, w2) + b2
    cost = -pt.mean(pt.special.log_softmax(logits, axis=1)[pt.arange(workload.batch_size), y])
    rate = np.float32(workload.learning_rate)  # a Python float would make the update float64
    return cost, [(p, p - rate * g) for p, g in zip(params, pytensor.grad(cost, params), strict=True)]


@final
class PytensorTrainer(Trainer):
    """What the book's readers would write today."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the graph over shared variables and compile it; ``device`` can only be the CPU."""
        del device
        self._batches = len(data)
        images = pytensor.shared(data.images, borrow=True)
        labels = pytensor.shared(data.labels, borrow=True)
        # With a fixed shape: otherwise PyTensor would broadcast along a dimension of width 1.
        self._params = [pytensor.shared(np.zeros(shape, np.float32)) for shape in workload.shapes.values()]
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
        return tuple(np.array(value.get_value()) for value in self._params)
