"""The step's five matrix products in numpy, by rows: a thread has part of the minibatch and a single-threaded BLAS."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, final

import numpy as np

from impls.interface import Batches, Params, Trainer
from impls.numpy_tuned_mlp import limit_blas

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


class Share:
    """The rows of each minibatch that one thread has, and its buffers."""

    def __init__(self, rows: slice, workload: Workload, data: Batches) -> None:
        """Cut the data into views and make the buffers."""
        size, height = data.batch_size, rows.stop - rows.start
        self._images = [data.images[k * size : (k + 1) * size][rows] for k in range(len(data))]
        self._hidden = np.empty((height, workload.hidden), np.float32)
        self._logits = np.empty((height, workload.classes), np.float32)
        self._d_hidden = np.empty_like(self._hidden)
        self.d_w1, _, self.d_w2, _ = (np.empty(shape, np.float32) for shape in workload.shapes.values())

    def run(self, w1: Float32, w2: Float32, steps: range) -> None:
        """Do the products of ``steps``; there is nothing to wait for, since no weights change."""
        for step in steps:
            x = self._images[step % len(self._images)]
            np.matmul(x, w1, out=self._hidden)
            np.matmul(self._hidden, w2, out=self._logits)
            np.matmul(self._logits, w2.T, out=self._d_hidden)
            np.matmul(x.T, self._d_hidden, out=self.d_w1)
            np.matmul(self._hidden.T, self._logits, out=self.d_w2)


@final
class NumpyRowsMatmul(Trainer):
    """A training step without its elementwise work, and without the sum of the threads' gradients."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the threads and what each works on."""
        del device
        count, rows = min(len(os.sched_getaffinity(0)), data.batch_size), data.batch_size
        limit_blas(1)
        cuts = [slice(index * rows // count, (index + 1) * rows // count) for index in range(count)]
        self._shares = [Share(cut, workload, data) for cut in cuts]
        self._pool = ThreadPoolExecutor(count)

    def load(self, params: Params) -> None:
        """Keep the weights."""
        self._params = params

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do the products of ``steps`` steps; the losses are zero, since there are none."""
        w1, _, w2, _ = self._params
        list(self._pool.map(partial(Share.run, w1=w1, w2=w2, steps=range(first, first + steps)), self._shares))
        return np.zeros(steps, np.float32)

    def params(self) -> Params:
        """Return the last step's two products that have the shapes of weights; they depend on all five."""
        _, b1, _, b2 = self._params
        d_w1, d_w2 = sum(share.d_w1 for share in self._shares), sum(share.d_w2 for share in self._shares)
        return np.asarray(d_w1), b1, np.asarray(d_w2), b2
