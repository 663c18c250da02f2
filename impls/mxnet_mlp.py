"""The network in MXNet: Gluon's blocks, autograd.record and a Trainer, as its tutorials teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: mx.ndarray.NDArray, leak: float | mx.ndarray.NDArray) -> mx.ndarray.NDArray:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * z.abs()) / 2


def maxout(z: mx.ndarray.NDArray, workload: Workload) -> mx.ndarray.NDArray:
    """Return the largest unit of each group; equal maxima share the gradient, where max would give each all of it."""
    units = z.reshape((0, -1, workload.n_pool))
    largest = mx.ndarray.broadcast_equal(units, units.max(axis=2, keepdims=True))
    share = mx.ndarray.broadcast_div(largest, largest.sum(axis=2, keepdims=True))
    return (units * mx.ndarray.BlockGrad(share)).sum(axis=2)


ACTIVATIONS: dict[str, Callable[..., mx.ndarray.NDArray]] = {
    "tanh": lambda z, workload: z.tanh(),
    "sigmoid": lambda z, workload: z.sigmoid(),
    "hard_sigmoid": lambda z, workload: (z + 0.5).clip(0, 1),
    "hard_tanh": lambda z, workload: z.clip(-1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": maxout,
}


@final
class Activation(nn.Block):  # type: ignore[misc]  # MXNet is not installed where mypy runs
    """An entry of ``ACTIVATIONS`` as a block, with the parameter that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the parameters that only this activation has."""
        super().__init__()
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        shapes = workload.shapes
        self._learned = [self.params.get("leak", shape=shapes["leak"])] if "leak" in shapes else []

    def forward(self, z: mx.ndarray.NDArray) -> mx.ndarray.NDArray:
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z, self._workload, *(learned.data() for learned in self._learned))


@final
class MxnetTrainer(Trainer):
    """What MXNet's users wrote: forward, backward, trainer.step()."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs), in numpy's memory, and labels (rows,), float32 as MXNet's loss takes them."""
        del device
        return Batches(mx.ndarray.from_numpy(data.images), mx.ndarray.array(data.labels), data.batch_size)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the blocks; ``device`` can only be the CPU."""
        del device
        self._data, self._batches = data, len(data)
        shapes = workload.shapes
        self._model = nn.Sequential()
        if workload.model == "mlp":
            inputs, units = shapes["w1"]
            self._model.add(nn.Dense(units, in_units=inputs), Activation(workload))
        inputs, units = shapes["w2"]
        self._model.add(nn.Dense(units, in_units=inputs))
        self._model.initialize()
        self._params = self._model.collect_params()
        self._trainer = gluon.Trainer(self._params, "sgd", {"learning_rate": workload.learning_rate})

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``; nn.Dense holds its matrix transposed."""
        for own, given in zip(self._params.values(), params, strict=True):
            own.set_data(mx.ndarray.array(given.T))

    def _step(self, k: int) -> mx.ndarray.NDArray:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        x, y = self._data.images[rows], self._data.labels[rows]
        with autograd.record():
            # Not Gluon's SoftmaxCrossEntropyLoss: it calls oneDNN's log_softmax, which is off by up to 4e-6, mostly to
            # one side, where float32's rounding is a tenth of that.
            loss = mx.ndarray.softmax_cross_entropy(self._model(x), y)
        loss.backward()
        self._trainer.step(self._data.batch_size)
        return loss / self._data.batch_size

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for MXNet's engine, which computes them in the background."""
        losses = [self._step(step % self._batches) for step in range(first, first + steps)]
        mx.ndarray.waitall()
        host: Float32 = mx.ndarray.concat(*losses, dim=0).asnumpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.ascontiguousarray(value.data().asnumpy().T) for value in self._params.values())
