"""The step's five matrix products and nothing else, in numpy: a bound for every case, not an implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


@final
class NumpyMatmul(Trainer):
    """A training step without its elementwise work: the products of a linear network, into buffers that are kept."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the buffers."""
        del device
        self._data = data
        self._hidden = np.empty((data.batch_size, workload.hidden), np.float32)
        self._logits = np.empty((data.batch_size, workload.classes), np.float32)
        self._d_hidden = np.empty_like(self._hidden)

    def load(self, params: Params) -> None:
        """Keep the weights, and make buffers of the shapes of their gradients."""
        self._params = params
        self._d_w1, self._d_w2 = np.empty_like(params[0]), np.empty_like(params[2])

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do the products of ``steps`` steps; the losses are zero, since there are none."""
        w1, _, w2, _ = self._params
        hidden, logits, d_hidden, d_w1, d_w2 = self._hidden, self._logits, self._d_hidden, self._d_w1, self._d_w2
        batch_size = self._data.batch_size
        for step in range(first, first + steps):
            row = step % len(self._data) * batch_size
            x = self._data.images[row : row + batch_size]
            np.matmul(x, w1, out=hidden)
            np.matmul(hidden, w2, out=logits)
            np.matmul(logits, w2.T, out=d_hidden)
            np.matmul(x.T, d_hidden, out=d_w1)
            np.matmul(hidden.T, logits, out=d_w2)
        return np.zeros(steps, np.float32)

    def params(self) -> Params:
        """Return the last step's two products that have the shapes of weights; they depend on all five."""
        _, b1, _, b2 = self._params
        return self._d_w1.copy(), b1, self._d_w2.copy(), b2
