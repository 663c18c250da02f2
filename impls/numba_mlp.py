"""The network in numba: numpy's code in functions that numba compiles, with loops where it lacks a function of numpy's.

A constant is float32: an int or a Python float would make every array that it meets float64. The activation is called
from Python, because numba does not cache a function that another one is an argument of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
from numba import njit

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32, Int32
    from impls.lanes import Device
    from impls.workload import Workload

    # An activation returns the hidden layer's output (batch, hidden) and its slopes (batch, units).
    Activation = Callable[[Float32, Float32, int], tuple[Float32, Float32]]

ZERO, HALF, ONE = map(np.float32, (0, 0.5, 1))


@njit(cache=True)
def tanh(z: Float32, leak: Float32, n_pool: int) -> tuple[Float32, Float32]:
    """Return the hyperbolic tangent and its slope."""
    hidden = np.tanh(z)
    return hidden, ONE - hidden * hidden


@njit(cache=True)
def sigmoid(z: Float32, leak: Float32, n_pool: int) -> tuple[Float32, Float32]:
    """Return 1 / (1 + exp(-z)) and its slope."""
    hidden = ONE / (ONE + np.exp(-z))
    return hidden, hidden * (ONE - hidden)


@njit(cache=True)
def clip(z: Float32, low: np.float32, high: np.float32) -> tuple[Float32, Float32]:
    """Return z within its limits, and the slope, which is 1 at them."""
    return np.minimum(np.maximum(z, low), high), ((z >= low) & (z <= high)).astype(np.float32)


@njit(cache=True)
def leaky(z: Float32, leak: Float32, n_pool: int) -> tuple[Float32, Float32]:
    """Return z, or ``leak`` z where it is negative, and the slope, which is the mean of both at 0."""
    return HALF * ((ONE + leak) * z + (ONE - leak) * np.abs(z)), HALF * ((ONE + leak) + (ONE - leak) * np.sign(z))


@njit(cache=True)
def maxout(z: Float32, leak: Float32, n_pool: int) -> tuple[Float32, Float32]:
    """Return the largest unit of each group, and the slopes, which equal maxima share."""
    units = z.reshape(len(z), -1, n_pool)
    hidden, slope = np.empty(units.shape[:2], np.float32), np.empty_like(units)
    for i in range(units.shape[0]):
        for j in range(units.shape[1]):
            hidden[i, j] = units[i, j].max()
            largest = (units[i, j] == hidden[i, j]).astype(np.float32)
            slope[i, j] = largest / largest.sum()
    return hidden, slope.reshape(z.shape)


@njit(cache=True)
def spread(d_hidden: Float32, n_pool: int) -> Float32:
    """Return the gradient of each maxout unit for every one of its linear units (batch, units)."""
    return (d_hidden.reshape(len(d_hidden), -1, 1) * np.ones(n_pool, np.float32)).reshape(len(d_hidden), -1)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": njit(cache=True)(lambda z, leak, n_pool: clip(z + HALF, ZERO, ONE)),
    "hard_tanh": njit(cache=True)(lambda z, leak, n_pool: clip(z, -ONE, ONE)),
    "relu": njit(cache=True)(lambda z, leak, n_pool: leaky(z, np.zeros_like(leak), n_pool)),
    "leaky_relu": leaky,
    "prelu": leaky,
    "maxout": maxout,
}


@njit(cache=True)
def output_layer(hidden: Float32, y: Int32, w2: Float32, b2: Float32) -> tuple[float, Float32]:
    """Return the loss of a minibatch and the gradient of its logits (batch, classes)."""
    d_logits = hidden @ w2 + b2
    loss = 0.0
    for i in range(len(y)):
        logits = d_logits[i] - d_logits[i].max()  # exp cannot overflow, and softmax does not change
        exp = np.exp(logits)
        total = exp.sum()
        loss += np.log(total) - logits[y[i]]
        d_logits[i] = exp / total
        d_logits[i, y[i]] -= ONE
    return loss / len(y), d_logits / np.float32(len(y))


@njit(cache=True)
def linear(x: Float32, w: Float32, b: Float32) -> Float32:
    """Return the linear part of a layer, (batch, units)."""
    return x @ w + b


@njit(cache=True)
def update_linear(minibatch: tuple[Float32, Int32], params: Params, rate: np.float32) -> float:
    """Update the weights of a linear model with a minibatch, and return its loss before the update."""
    (x, y), (w2, b2) = minibatch, params
    loss, d_logits = output_layer(x, y, w2, b2)
    w2 -= rate * (x.T @ d_logits)
    b2 -= rate * d_logits.sum(axis=0)
    return float(loss)


@njit(cache=True)
def update(
    minibatch: tuple[Float32, Int32], layer: Params, params: Params, rate: np.float32, leak_rate: np.float32
) -> float:
    """Update the weights with a minibatch, and return its loss before the update.

    ``layer`` is the hidden layer's linear part, its output and its slopes; ``leak_rate`` is 0 unless leaks are learned.
    """
    (x, y), (z, hidden, slope), (w1, b1, leak, w2, b2) = minibatch, layer, params
    loss, d_logits = output_layer(hidden, y, w2, b2)
    d_hidden = d_logits @ w2.T
    n_pool = z.shape[1] // hidden.shape[1]
    d_z = d_hidden * slope if n_pool == 1 else spread(d_hidden, n_pool) * slope
    w1 -= rate * (x.T @ d_z)
    b1 -= rate * d_z.sum(axis=0)
    if leak_rate:
        leak -= leak_rate * (d_hidden * np.minimum(z, ZERO)).sum(axis=0)
    w2 -= rate * (hidden.T @ d_logits)
    b2 -= rate * d_logits.sum(axis=0)
    return float(loss)


@final
class NumbaTrainer(Trainer):
    """What numba's users write: functions of arrays, called from a Python loop."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Keep the data; numba compiles at the first step, and ``device`` can only be the CPU."""
        del device
        self._data, self._workload, self._rate = data, workload, np.float32(workload.learning_rate)
        self._leak = np.full(workload.hidden, workload.leak, np.float32)  # of activations that do not learn it

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def _step(self, k: int) -> float:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        x, y = self._data.images[rows], self._data.labels[rows]
        if self._workload.model == "linear":
            return float(update_linear((x, y), self._params, self._rate))
        w1, b1, *learned, w2, b2 = self._params
        leak = learned[0] if learned else self._leak
        z = linear(x, w1, b1)
        layer = z, *ACTIVATIONS[self._workload.activation](z, leak, self._workload.n_pool)
        return float(update((x, y), layer, (w1, b1, leak, w2, b2), self._rate, self._rate if learned else ZERO))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numba's code has finished each call when it returns."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
