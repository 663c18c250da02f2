"""The network in autograd: numpy's functions, of which autograd records each step and goes back along the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.scipy.special import expit, logsumexp

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: Any, leak: Any) -> Any:  # noqa: ANN401  # autograd has no types
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * abs(z)) / 2


def clip(z: Any, low: float, high: float) -> Any:  # noqa: ANN401
    """Return z within its limits; the slope at the limits is 1 as in other frameworks, where anp.clip has 0."""
    # A product, since the gradient of anp.where is float64.
    return z * ((z >= low) & (z <= high)) + np.float32(low) * (z < low) + np.float32(high) * (z > high)


def maxout(z: Any, workload: Workload) -> Any:  # noqa: ANN401
    """Return the largest unit of each group; equal maxima share the gradient, which that of anp.max does in float64."""
    units = anp.reshape(z, (len(z), -1, workload.n_pool))
    largest = units == anp.max(units, axis=2, keepdims=True)
    return anp.sum(units * (largest / largest.sum(axis=2, keepdims=True, dtype=np.float32)), axis=2)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": lambda z, workload: anp.tanh(z),
    "sigmoid": lambda z, workload: expit(z),
    "hard_sigmoid": lambda z, workload: clip(z + 0.5, 0, 1),
    "hard_tanh": lambda z, workload: clip(z, -1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": maxout,
}


def log_probabilities(workload: Workload) -> Callable[[Params, Float32], Any]:
    """Return the log probabilities (batch, classes) as a function of the weights and of a minibatch (batch, inputs)."""
    activate = ACTIVATIONS[workload.activation]

    def layer(x: Float32, w1: Any, b1: Any, *leak: Any) -> Any:  # noqa: ANN401
        return activate(anp.dot(x, w1) + b1, workload, *leak)

    hidden_layer = layer if workload.model == "mlp" else lambda x: x

    def network(params: Params, x: Float32) -> Any:  # noqa: ANN401
        *first, w2, b2 = params
        hidden = hidden_layer(x, *first)
        logits = anp.dot(hidden, w2) + b2
        return logits - logsumexp(logits, axis=1, keepdims=True)

    return network


@final
class AutogradTrainer(Trainer):
    """What autograd's users write: the loss as its example of a network has it, and an update in numpy."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the gradient's function and the one-hot labels; ``device`` can only be the CPU."""
        del device
        self._data, self._targets = data, np.eye(workload.classes, dtype=np.float32)[data.labels]
        self._learning_rate = workload.learning_rate
        network = log_probabilities(workload)

        def cost(params: Params, x: Float32, targets: Float32) -> Any:  # noqa: ANN401
            return -anp.sum(network(params, x) * targets) / len(x)

        self._value_and_grad = value_and_grad(cost)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def _step(self, k: int) -> np.float32:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        loss, gradients = self._value_and_grad(self._params, self._data.images[rows], self._targets[rows])
        self._params = tuple(p - self._learning_rate * g for p, g in zip(self._params, gradients, strict=True))
        return np.float32(loss)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numpy has finished each call when it returns."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
