"""The network in numpy: the five matrix products go to BLAS, the gradients are written out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32, Floats, Int32
    from impls.lanes import Device
    from impls.workload import Workload

    # An activation returns the hidden layer's output, its slope, and the slopes by the parameters that it learns.
    Activation = Callable[..., tuple[Floats, ...]]


def tanh(z: Floats, workload: Workload) -> tuple[Floats, Floats]:
    """Return the hyperbolic tangent and its slope."""
    hidden = np.tanh(z)
    return hidden, 1 - hidden * hidden


def sigmoid(z: Floats, workload: Workload) -> tuple[Floats, Floats]:
    """Return 1 / (1 + exp(-z)) and its slope."""
    hidden: Floats = 1 / (1 + np.exp(-z))
    return hidden, hidden * (1 - hidden)


def leaky(z: Floats, leak: float | Floats) -> tuple[Floats, Floats]:
    """Return z, or ``leak`` z where it is negative, and the slope, which is the mean of both at 0."""
    hidden: Floats = ((1 + leak) * z + (1 - leak) * np.abs(z)) / 2
    slope: Floats = ((1 + leak) + (1 - leak) * np.sign(z)) / 2
    return hidden, slope


def clip(z: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Return z within its limits, and the slope, which is 1 at them."""
    return np.clip(z, low, high), ((z >= low) & (z <= high)).astype(np.float32)


def maxout(z: Floats, workload: Workload) -> tuple[Floats, Floats]:
    """Return the largest unit of each group, and the slopes (batch, groups, units), which equal maxima share."""
    units = z.reshape(len(z), -1, workload.n_pool)
    hidden = units.max(axis=2)
    largest = units == hidden[:, :, None]
    return hidden, largest / largest.sum(axis=2, keepdims=True, dtype=np.float32)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z, workload: clip(z + 0.5, 0, 1),
    "hard_tanh": lambda z, workload: clip(z, -1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: (*leaky(z, leak), np.minimum(z, 0)),
    "maxout": maxout,
}


def hidden_layer(workload: Workload) -> Callable[..., tuple[Floats, Callable[..., tuple[Floats, ...]]]]:
    """Return the hidden layer: a function of x and its parameters that returns its output and its backward pass."""
    if workload.model == "linear":
        return lambda x: (x, lambda *_: ())
    activate = ACTIVATIONS[workload.activation]

    def forward(x: Floats, w1: Floats, b1: Floats, *leak: Floats) -> tuple[Floats, Callable[..., Any]]:
        hidden, slope, *slopes = activate(x @ w1 + b1, workload, *leak)

        def backward(d_logits: Floats, w2: Floats) -> tuple[Floats, ...]:
            d_hidden = d_logits @ w2.T
            # A maxout unit has one slope per linear unit; any other unit has one.
            d_z = (d_hidden[:, :, None] * slope.reshape(*hidden.shape, -1)).reshape(len(x), -1)
            return x.T @ d_z, d_z.sum(axis=0), *((d_hidden * learned).sum(axis=0) for learned in slopes)

        return hidden, backward

    return forward


def update(
    params: Params,
    minibatch: tuple[Floats, Int32, Int32],
    hidden_layer: Callable[..., tuple[Floats, Callable[..., tuple[Floats, ...]]]],
    learning_rate: float,
) -> Any:  # noqa: ANN401  # a number of numpy's, or an array of a framework with numpy's functions
    """Update ``params`` in place with a minibatch, and return its loss before the update.

    ``minibatch`` is the images (batch, inputs), the labels (batch,) and the row numbers 0, 1, ... (batch,).
    """
    x, y, rows = minibatch
    *first, w2, b2 = params
    hidden, backward = hidden_layer(x, *first)
    logits = hidden @ w2 + b2
    logits -= logits.max(axis=1, keepdims=True)  # exp cannot overflow, and softmax does not change
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - logits[rows, y])

    d_logits = exp / total
    d_logits[rows, y] -= 1
    d_logits /= len(x)
    gradients = (*backward(d_logits, w2), hidden.T @ d_logits, d_logits.sum(axis=0))

    for weights, gradient in zip(params, gradients, strict=True):
        np.subtract(weights, learning_rate * gradient, out=weights)
    return loss


@final
class NumpyTrainer(Trainer):
    """What numpy's users write: one expression a line, a new array for each."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Keep the data; there is nothing to build, and ``device`` can only be the CPU."""
        del device
        self._data, self._rows = data, np.arange(data.batch_size, dtype=np.int32)
        self._learning_rate = workload.learning_rate
        self._hidden_layer = hidden_layer(workload)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def _step(self, k: int) -> np.float32:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        x, y = self._data.images[rows], self._data.labels[rows]
        return np.float32(update(self._params, (x, y, self._rows), self._hidden_layer, self._learning_rate))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numpy has finished each call when it returns."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
