"""The network in numpy, tuned: every array is made once, and elementwise work goes block by block through the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload

BLOCK = 32_768  # elements of a block: 128 KiB, so that a block and its operands stay in a core's second-level cache


def blocks(rows: int, columns: int) -> list[slice]:
    """Return the rows of a (rows, columns) array in slices of about ``BLOCK`` elements."""
    height = max(1, BLOCK // columns)
    return [slice(row, row + height) for row in range(0, rows, height)]


@final
class NumpyTunedTrainer(Trainer):
    """What numpy's experts write: ``out=`` everywhere, no allocation in the loop.

    A second thread for the elementwise work was not seen to be faster in short runs; why was not profiled.
    """

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Cut the data into views and make the buffers; ``device`` can only be the CPU."""
        del device
        rows, batches, classes = data.batch_size, len(data), workload.classes
        self._images = [data.images[k * rows : (k + 1) * rows] for k in range(batches)]
        # Where each label's logit lies in the flat logits: one index instead of two.
        flat = np.arange(rows * batches) % rows * classes + data.labels
        self._labels = [flat[k * rows : (k + 1) * rows] for k in range(batches)]
        self._rate = np.float32(workload.learning_rate / rows)

        def empty(*shape: int) -> Float32:
            return np.empty(shape, np.float32)

        self._hidden, self._d_hidden = empty(rows, workload.hidden), empty(rows, workload.hidden)
        self._logits, self._exp = empty(rows, classes), empty(rows, classes)
        self._peak, self._total, self._true = empty(rows, 1), empty(rows, 1), empty(rows)
        self._gradients = tuple(empty(*shape) for shape in workload.shapes.values())
        self._blocks = [(self._hidden[block], self._d_hidden[block]) for block in blocks(rows, workload.hidden)]

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def _step(self, k: int) -> np.float32:
        w1, b1, w2, b2 = self._params
        d_w1, d_b1, d_w2, d_b2 = self._gradients
        x, y = self._images[k], self._labels[k]
        hidden, d_hidden, logits, exp = self._hidden, self._d_hidden, self._logits, self._exp
        peak, total, true = self._peak, self._total, self._true

        np.matmul(x, w1, out=hidden)
        for block, _ in self._blocks:
            np.add(block, b1, out=block)
            np.tanh(block, out=block)
        np.matmul(hidden, w2, out=logits)
        np.add(logits, b2, out=logits)
        np.max(logits, axis=1, keepdims=True, out=peak)
        np.subtract(logits, peak, out=logits)  # exp cannot overflow, and softmax does not change
        np.exp(logits, out=exp)
        np.sum(exp, axis=1, keepdims=True, out=total)
        np.take(logits, y, out=true, mode="clip")  # the default mode would buffer its output
        loss = (np.log(total, out=peak).sum() - true.sum()) / len(true)

        d_logits = np.divide(exp, total, out=exp)
        d_logits.reshape(-1)[y] -= 1
        np.multiply(d_logits, self._rate, out=d_logits)  # every gradient is linear in it: this scales all four updates
        np.matmul(d_logits, w2.T, out=d_hidden)
        np.matmul(hidden.T, d_logits, out=d_w2)  # before the next lines, which need hidden's memory
        for block, d_block in self._blocks:
            np.multiply(block, block, out=block)
            np.subtract(1, block, out=block)
            np.multiply(d_block, block, out=d_block)

        np.subtract(w1, np.matmul(x.T, d_hidden, out=d_w1), out=w1)
        np.subtract(b1, d_hidden.sum(axis=0, out=d_b1), out=b1)
        np.subtract(w2, d_w2, out=w2)
        np.subtract(b2, d_logits.sum(axis=0, out=d_b2), out=b2)
        return np.float32(loss)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numpy has finished each call when it returns."""
        return np.array([self._step(step % len(self._images)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
