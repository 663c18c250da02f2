"""The network in cupy: numpy's code, on arrays in the memory of a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import cupy as cp
import numpy as np

from impls.interface import Batches, Params, Trainer
from impls.numpy_mlp import hidden_layer, update

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


@final
class CupyTrainer(Trainer):
    """What numpy's users write when they have a GPU: cupy has numpy's functions."""

    @staticmethod
    def count(kind: str) -> int:
        """Return how many devices of ``kind`` cupy can use; it is built either for CUDA or for HIP.

        It counts devices without the compiler and the libraries that it needs; a product raises what is missing.
        """
        if kind != ("rocm" if cp.cuda.runtime.is_hip else "cuda"):
            return 0
        count = int(cp.cuda.runtime.getDeviceCount())
        if count:
            ones = cp.ones((2, 2), np.float32)
            cp.asnumpy(ones @ ones)
        return count

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,) on ``device``."""
        with cp.cuda.Device(device.index) as gpu:
            placed = Batches(cp.asarray(data.images), cp.asarray(data.labels), data.batch_size)
            gpu.synchronize()
        return placed

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Cut the data to minibatches; each kernel is compiled when it is first needed."""
        self._device = cp.cuda.Device(device.index)
        self._device.use()
        self._images, self._labels = (cp.split(array, len(data)) for array in (data.images, data.labels))
        self._rows = cp.arange(data.batch_size)
        self._learning_rate = workload.learning_rate
        self._hidden_layer = hidden_layer(workload)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(map(cp.asarray, params))

    def _step(self, k: int) -> cp.ndarray:
        minibatch = self._images[k], self._labels[k], self._rows
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
