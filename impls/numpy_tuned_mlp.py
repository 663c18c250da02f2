"""The network in numpy, tuned: each thread does the whole step on its rows, and every array is allocated once."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

BLOCK = 32_768  # elements of a block: 128 KiB, so that a block and its operands fit into a core's second-level cache


def limit_blas(threads: int) -> None:
    """Let the OpenBLAS of numpy's wheel use ``threads`` threads; numpy has no function for it."""
    for path in (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        name = "openblas_set_num_threads64_"  # in numpy's wheels before 2.0
        getattr(library, f"scipy_{name}" if hasattr(library, f"scipy_{name}") else name)(threads)


class Share:
    """What one of ``count`` threads works on: its rows of each minibatch, its rows of w1, and its own buffers."""

    def __init__(self, index: int, count: int, workload: Workload, data: Batches, d_hidden: Float32) -> None:
        """Cut the data into views and make the buffers; all threads share ``d_hidden`` (batch, hidden)."""
        rows, batches, classes = data.batch_size, len(data), workload.classes
        own = slice(index * rows // count, (index + 1) * rows // count)
        height = own.stop - own.start

        def empty(*shape: int) -> Float32:
            return np.empty(shape, np.float32)

        self.images = [data.images[k * rows : (k + 1) * rows][own] for k in range(batches)]
        # The position of each label's logit in the flattened logits: one index instead of two.
        labels = [data.labels[k * rows : (k + 1) * rows][own] for k in range(batches)]
        self.labels = [np.arange(height) * classes + y for y in labels]
        self.hidden, self.d_hidden = empty(height, workload.hidden), d_hidden[own]
        self.logits, self.exp = empty(height, classes), empty(height, classes)
        self.peak, self.total, self.true = empty(height, 1), empty(height, 1), empty(height)
        step = max(1, BLOCK // workload.hidden)
        self.blocks = [(self.hidden[k : k + step], self.d_hidden[k : k + step]) for k in range(0, height, step)]

        self.inputs = slice(index * workload.inputs // count, (index + 1) * workload.inputs // count)
        self.columns = [data.images[k * rows : (k + 1) * rows, self.inputs].T for k in range(batches)]
        self.d_w1 = empty(self.inputs.stop - self.inputs.start, workload.hidden)
        self.d_b1, self.d_w2, self.d_b2 = (empty(*shape) for shape in list(workload.shapes.values())[1:])


@final
class NumpyTunedTrainer(Trainer):
    """What numpy's experts write: ``out=`` everywhere, no allocation in the loop, numpy releases the GIL.

    Each thread computes the products of its part with a single-threaded BLAS, instead of one BLAS that splits each
    product: so the elementwise work is split too, and the threads wait for each other only twice a step.
    """

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the threads and what each works on; ``device`` can only be the CPU."""
        del device
        cpus = len(os.sched_getaffinity(0))
        # With less than a block per thread, waiting for another thread costs more than it saves.
        count = min(cpus, max(1, data.batch_size * workload.hidden // BLOCK))
        limit_blas(1 if count > 1 else cpus)
        self._batches, self._rate = len(data), np.float32(workload.learning_rate / data.batch_size)
        self._d_hidden = np.empty((data.batch_size, workload.hidden), np.float32)
        self._shares = [Share(index, count, workload, data, self._d_hidden) for index in range(count)]
        self._barrier, self._pool = Barrier(count), ThreadPoolExecutor(count)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def _step(self, share: Share, k: int) -> np.float32:
        w1, b1, w2, b2 = self._params
        x, y = share.images[k], share.labels[k]
        hidden, d_hidden, logits, exp = share.hidden, share.d_hidden, share.logits, share.exp
        peak, total, true = share.peak, share.total, share.true
        np.matmul(x, w1, out=hidden)
        for block, _ in share.blocks:
            np.add(block, b1, out=block)
            np.tanh(block, out=block)
        np.matmul(hidden, w2, out=logits)
        np.add(logits, b2, out=logits)
        np.max(logits, axis=1, keepdims=True, out=peak)
        np.subtract(logits, peak, out=logits)  # exp cannot overflow, and softmax does not change
        np.exp(logits, out=exp)
        np.sum(exp, axis=1, keepdims=True, out=total)
        np.take(logits, y, out=true, mode="clip")  # the default mode would buffer its output
        loss: np.float32 = np.log(total, out=peak).sum() - true.sum()

        d_logits = np.divide(exp, total, out=exp)
        d_logits.reshape(-1)[y] -= 1
        np.multiply(d_logits, self._rate, out=d_logits)  # every gradient is linear in it: this scales all four updates
        np.matmul(d_logits, w2.T, out=d_hidden)
        np.matmul(hidden.T, d_logits, out=share.d_w2)  # before the next lines, which need hidden's memory
        for block, d_block in share.blocks:
            np.multiply(block, block, out=block)
            np.subtract(1, block, out=block)
            np.multiply(d_block, block, out=d_block)
        np.sum(d_hidden, axis=0, out=share.d_b1)
        np.sum(d_logits, axis=0, out=share.d_b2)

        self._barrier.wait()  # until every row of d_hidden is computed, and no thread needs the old weights any more
        own = w1[share.inputs]
        np.subtract(own, np.matmul(share.columns[k], self._d_hidden, out=share.d_w1), out=own)
        if share is self._shares[0]:
            for part in self._shares:
                np.subtract(b1, part.d_b1, out=b1)
                np.subtract(w2, part.d_w2, out=w2)
                np.subtract(b2, part.d_b2, out=b2)
        self._barrier.wait()  # until the new weights are complete
        return loss

    def _train(self, steps: int, first: int, share: Share) -> Float32:
        try:
            return np.array(
                [self._step(share, step % self._batches) for step in range(first, first + steps)], np.float32
            )
        except BaseException:
            self._barrier.abort()  # otherwise the others would wait for this thread forever
            raise

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; returns when every thread has finished."""
        losses: Float32 = np.sum(list(self._pool.map(partial(self._train, steps, first), self._shares)), axis=0)
        losses /= np.float32(len(self._d_hidden))
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
