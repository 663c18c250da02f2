"""The network in MLX on the CPU: nn modules, nn.value_and_grad and optimizers.SGD, as its example of MNIST teaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import mlx.core as mx
import numpy as np
from mlx import nn, optimizers

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: mx.array, leak: float | mx.array) -> mx.array:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * mx.abs(z)) / 2


def clip(z: mx.array, low: float, high: float) -> mx.array:
    """Return z within its limits; the slope at the limits is 1 as in other frameworks, where mx.clip has 0."""
    return mx.where(z < low, low, mx.where(z > high, high, z))


ACTIVATIONS: dict[str, Callable[..., mx.array]] = {
    "tanh": lambda z, workload: mx.tanh(z),
    "sigmoid": lambda z, workload: mx.sigmoid(z),
    "hard_sigmoid": lambda z, workload: clip(z + 0.5, 0, 1),
    "hard_tanh": lambda z, workload: clip(z, -1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": lambda z, workload: z.reshape(len(z), -1, workload.n_pool).max(2),  # equal maxima share the gradient
}


@final
class Activation(nn.Module):  # type: ignore[misc]  # MLX is not installed where mypy runs
    """An entry of ``ACTIVATIONS`` as a module, with the parameter that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the parameter that only this activation has."""
        super().__init__()
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        if "leak" in workload.shapes:
            self.leak = mx.zeros(workload.shapes["leak"])

    def __call__(self, z: mx.array) -> mx.array:
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z, self._workload, *self.parameters().values())


def network(workload: Workload) -> nn.Sequential:
    """Return the modules."""
    shapes = workload.shapes
    hidden = [nn.Linear(*shapes["w1"]), Activation(workload)] if workload.model == "mlp" else []
    return nn.Sequential(*hidden, nn.Linear(*shapes["w2"]))


def cost(model: nn.Module, x: mx.array, y: mx.array) -> mx.array:
    """Return the mean cross-entropy of a minibatch, (batch, inputs) and (batch,)."""
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


@final
class MlxTrainer(Trainer):
    """What MLX's users write: the loss and the gradients, the optimizer's update, and mx.eval, which computes them."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the modules; ``device`` can only be the CPU."""
        del device
        mx.set_default_device(mx.cpu)
        self._data, self._model = data, network(workload)
        self._optimizer = optimizers.SGD(workload.learning_rate)
        self._loss_and_grad = nn.value_and_grad(self._model, cost)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``; nn.Linear holds its matrix transposed."""
        names = [(layer, name) for layer in self._model.layers for name in layer.parameters()]
        for (layer, name), given in zip(names, params, strict=True):
            layer[name] = mx.array(given.T)

    def _step(self, k: int) -> float:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        # A copy of each minibatch: MLX cannot use numpy's memory, and with a copy of all it would be there twice.
        x, y = mx.array(self._data.images[rows]), mx.array(self._data.labels[rows])
        loss, gradients = self._loss_and_grad(self._model, x, y)
        self._optimizer.update(self._model, gradients)
        mx.eval(loss, self._model.parameters(), self._optimizer.state)
        host: float = loss.item()
        return host

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; mx.eval waits for each of them."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value).T.copy() for layer in self._model.layers for value in layer.parameters().values())
