"""The network in cupy: numpy's own code, on arrays that lie on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import cupy as cp

from impls.interface import Batches, Params, Trainer
from impls.numpy_mlp import hidden_layer, update

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload


def find_device(name: str) -> cp.cuda.Device:
    """Return cupy's own of that name, such as ``cuda:1``."""
    return cp.cuda.Device(int(name.partition(":")[2] or 0))


@final
class CupyTrainer(Trainer):
    """What numpy's users write when they have a GPU: cupy answers to numpy's functions."""

    @staticmethod
    def place(data: Batches, device: str) -> tuple[cp.ndarray, cp.ndarray]:
        """Return images (rows, inputs) and labels (rows,) on ``device``."""
        with find_device(device) as found:
            images, labels = cp.asarray(data.images), cp.asarray(data.labels)
            found.synchronize()
        return images, labels

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Put the data on ``device``; each kernel is compiled when it is first needed."""
        self._device = find_device(device)
        self._device.use()
        self._images, self._labels = (cp.split(each, len(data)) for each in self.place(data, device))
        self._each = cp.arange(data.batch_size)
        self._learning_rate = workload.learning_rate
        self._hidden_layer = hidden_layer(workload)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(map(cp.asarray, params))

    def _step(self, k: int) -> cp.ndarray:
        minibatch = self._images[k], self._labels[k], self._each
        return update(self._params, minibatch, self._hidden_layer, self._learning_rate)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        losses = cp.stack([self._step(step % len(self._images)) for step in range(first, first + steps)])
        self._device.synchronize()
        host: Float32 = cp.asnumpy(losses)
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(map(cp.asnumpy, self._params))
