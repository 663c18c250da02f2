"""The network in PyTensor, tuned: the same graph compiled by jax, which gets the minibatch as an input."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import jax
import numpy as np

from impls.interface import Batches, Params, Trainer
from impls.jax_mlp import PRECISIONS, count_devices, fetch, find_device
from impls.pytensor_mlp import pt, pytensor, step  # after its settings

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


@final
class PytensorJaxTrainer(Trainer):
    """What PyTensor's experts do where numba is slower: another backend for the same graph."""

    count = staticmethod(count_devices)

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return a list of the images of each minibatch and a list of their labels, on ``device``."""
        # jax's arrays, made once: a numpy array would be copied at each call.
        minibatches = tuple(np.split(array, len(data)) for array in (data.images, data.labels))
        images, labels = jax.block_until_ready(jax.device_put(minibatches, find_device(device)))
        return Batches(images, labels, data.batch_size)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the graph over shared variables and compile it for ``device``."""
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        jax.config.update("jax_default_device", find_device(device))
        self._images, self._labels = data.images, data.labels
        self._params = [pytensor.shared(np.zeros(shape, np.float32)) for shape in workload.shapes.values()]

        # Inputs, because the JAX backend does not support a slice whose ends are variables.
        x = pt.tensor("x", dtype="float32", shape=(data.batch_size, workload.inputs))
        y = pt.tensor("y", dtype="int32", shape=(data.batch_size,))
        cost, updates = step(self._params, x, y, workload)
        self._step = pytensor.function([x, y], cost, updates=updates, mode="JAX", trust_input=True)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.set_value(jax.numpy.array(given), borrow=True)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the last of them."""
        batches = len(self._images)
        losses = [
            self._step(self._images[step % batches], self._labels[step % batches])
            for step in range(first, first + steps)
        ]
        jax.block_until_ready([value.get_value(borrow=True) for value in self._params])
        return fetch(losses)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value.get_value(borrow=True)) for value in self._params)
