"""The network in numpy: the five matrix products go to BLAS, the gradients are written out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload


@final
class NumpyTrainer(Trainer):
    """What numpy's users write: one expression a line, a new array for each."""

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Keep the data; there is nothing to build, and ``device`` can only be the CPU."""
        del device
        self._data = data
        self._learning_rate = workload.learning_rate

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = Params(*(value.copy() for value in params))

    def _step(self, k: int) -> np.float32:
        w1, b1, w2, b2 = self._params
        batch_size = self._data.batch_size
        rows = slice(k * batch_size, (k + 1) * batch_size)
        x, y = self._data.images[rows], self._data.labels[rows]
        each = np.arange(batch_size)

        hidden = np.tanh(x @ w1 + b1)
        logits = hidden @ w2 + b2
        logits -= logits.max(axis=1, keepdims=True)  # exp cannot overflow, and softmax does not change
        exp = np.exp(logits)
        total = exp.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - logits[each, y])

        d_logits = exp / total
        d_logits[each, y] -= 1
        d_logits /= batch_size
        d_hidden = (d_logits @ w2.T) * (1 - hidden * hidden)

        w1 -= self._learning_rate * (x.T @ d_hidden)
        b1 -= self._learning_rate * d_hidden.sum(axis=0)
        w2 -= self._learning_rate * (hidden.T @ d_logits)
        b2 -= self._learning_rate * d_logits.sum(axis=0)
        return np.float32(loss)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numpy has finished each call when it returns."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return Params(*(value.copy() for value in self._params))
