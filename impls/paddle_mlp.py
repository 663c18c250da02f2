"""The network in PaddlePaddle, eager: layers of nn, autograd and optimizer.SGD, as its guide teaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import paddle
from paddle import nn

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: paddle.Tensor, leak: float | paddle.Tensor) -> paddle.Tensor:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * z.abs()) / 2


ACTIVATIONS: dict[str, Callable[..., paddle.Tensor]] = {
    "tanh": lambda z, workload: paddle.tanh(z),
    "sigmoid": lambda z, workload: nn.functional.sigmoid(z),
    "hard_sigmoid": lambda z, workload: (z + 0.5).clip(0, 1),
    "hard_tanh": lambda z, workload: z.clip(-1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": lambda z, workload: z.reshape([len(z), -1, workload.n_pool]).amax(2),  # equal maxima share the gradient
}


@final
class Activation(nn.Layer):  # type: ignore[misc]  # paddle is not installed where mypy runs
    """An entry of ``ACTIVATIONS`` as a layer, with the parameter that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the parameters that only this activation has."""
        super().__init__()
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        learned = [workload.shapes["leak"]] if "leak" in workload.shapes else []
        self._learned = nn.ParameterList([self.create_parameter(shape) for shape in learned])

    def forward(self, z: paddle.Tensor) -> paddle.Tensor:
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z, self._workload, *self._learned)


@final
class PaddleTrainer(Trainer):
    """What paddle's users write: forward, backward, optimizer.step()."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,) as paddle's tensors, which use the memory of the arrays."""
        del device
        images, labels = (paddle.utils.dlpack.from_dlpack(array) for array in (data.images, data.labels))
        return Batches(images, labels, data.batch_size)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the layers; ``device`` can only be the CPU."""
        del device
        rows = [slice(k * data.batch_size, (k + 1) * data.batch_size) for k in range(len(data))]
        self._images, self._labels = ([array[each] for each in rows] for array in (data.images, data.labels))
        shapes = workload.shapes
        hidden = [nn.Linear(*shapes["w1"]), Activation(workload)] if workload.model == "mlp" else []
        self._model = nn.Sequential(*hidden, nn.Linear(*shapes["w2"]))
        self._cost = nn.CrossEntropyLoss()
        self._optimizer = paddle.optimizer.SGD(workload.learning_rate, self._model.parameters())

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._model.parameters(), params, strict=True):
            own.set_value(given)

    def _step(self, k: int) -> float:
        loss = self._cost(self._model(self._images[k]), self._labels[k])
        loss.backward()
        self._optimizer.step()
        self._optimizer.clear_grad()
        host: float = loss.item()
        return host

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; paddle has finished each call on a CPU when it returns."""
        return np.array([self._step(step % len(self._images)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.numpy().copy() for value in self._model.parameters())
