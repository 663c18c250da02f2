"""The network in numba, tuned: the whole run is one compiled loop, in which each thread does the step on its rows."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import TYPE_CHECKING, final

import numba
import numpy as np
import scipy
from numba import njit, prange

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32, Int32
    from impls.lanes import Device
    from impls.workload import Workload

BLOCK = 32_768  # elements of the hidden layer: with less per thread, waiting for another one costs more than it saves
ZERO, ONE = map(np.float32, (0, 1))  # an int would make float64 of what it meets

# tanh(z) is z P(z²) / Q(z²), off by 2.6e-7 at most, up to |z| = LIMIT, and constant beyond. The coefficients, highest
# power first, are those of Eigen (``MathFunctionsImpl.h``), which XLA has too.
P = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
)
Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
LIMIT = np.float32(7.90531110763549805)

# The default error model looks for divisions by zero, and LLVM does not vectorize a loop that does.
OPTIONS = {"fastmath": True, "error_model": "numpy", "cache": True}


def limit_blas(threads: int) -> None:
    """Let the OpenBLAS of scipy's wheel, which numba calls, use ``threads`` threads; scipy has no function for it."""
    for path in (Path(scipy.__file__).parent.parent / "scipy.libs").glob("*openblas*"):
        ctypes.CDLL(str(path)).scipy_openblas_set_num_threads(threads)


@njit(**OPTIONS)
def polynomial(coefficients: tuple[float, ...], z: np.float32) -> np.float32:
    """Return its value at ``z``; the highest power comes first."""
    value = ZERO
    for coefficient in coefficients:
        value = value * z + np.float32(coefficient)
    return value


@njit(**OPTIONS)
def tanh(z: np.float32) -> np.float32:
    """Return the hyperbolic tangent, which LLVM vectorizes; it would call the C library's once for each number."""
    z = max(min(z, LIMIT), -LIMIT)
    value: np.float32 = z * polynomial(P, z * z) / polynomial(Q, z * z)
    return value


@njit(**OPTIONS)
def views(flat: Float32, params: Params) -> Params:
    """Return the parts of ``flat`` that have the shapes of ``params`` and lie one after the other."""
    w1, b1, w2, _ = params
    at_b1, at_w2, at_b2 = w1.size, w1.size + b1.size, w1.size + b1.size + w2.size
    return flat[:at_b1].reshape(w1.shape), flat[at_b1:at_w2], flat[at_w2:at_b2].reshape(w2.shape), flat[at_b2:]


@njit(**OPTIONS)
def softmax(logits: Float32, y: Int32, b2: Float32, rate: np.float32) -> np.float32:
    """Replace the logits by their gradient times ``rate``, which scales all four updates; return the sum of losses."""
    loss = ZERO
    for i in range(len(y)):
        z = logits[i]
        z += b2
        z -= z.max()  # exp cannot overflow, and softmax does not change
        loss -= z[y[i]]
        for j in range(len(z)):
            z[j] = np.exp(z[j])
        total = z.sum()
        loss += np.log(total)
        z *= rate / total
        z[y[i]] -= rate
    return loss


@njit(**OPTIONS)
def gradients(  # noqa: PLR0917  # numba's functions take what they need as single arguments
    x: Float32, y: Int32, params: Params, rate: np.float32, hidden: Float32, d_hidden: Float32, sums: Params
) -> np.float32:
    """Compute the gradients of some rows of a minibatch, times ``rate``, into ``sums``; return the sum of losses."""
    (w1, b1, w2, b2), (d_w1, d_b1, d_w2, d_b2) = params, sums
    np.dot(x, w1, hidden)
    for i in range(len(y)):
        for j in range(len(b1)):
            hidden[i, j] = tanh(hidden[i, j] + b1[j])
    logits = np.dot(hidden, w2)
    loss: np.float32 = softmax(logits, y, b2, rate)

    np.dot(logits, w2.T, d_hidden)
    np.dot(hidden.T, logits, d_w2)
    d_b1[:], d_b2[:] = ZERO, ZERO
    for i in range(len(y)):
        for j in range(len(b1)):
            d_hidden[i, j] *= ONE - hidden[i, j] * hidden[i, j]
            d_b1[j] += d_hidden[i, j]
        d_b2 += logits[i]
    np.dot(x.T, d_hidden, d_w1)
    return loss


@njit(**OPTIONS)
def subtract(weights: Float32, sums: Float32, begin: int, end: int) -> None:
    """Update the weights from number ``begin`` to ``end`` with what every thread has computed."""
    for part in range(len(sums)):
        for i in range(begin, end):
            weights[i] -= sums[part, i]


@njit(parallel=True, **OPTIONS)
def train(  # noqa: PLR0917
    data: tuple[Float32, Int32],
    weights: Float32,
    params: Params,
    buffers: tuple[Float32, Float32, Float32],
    rate: np.float32,
    steps: int,
    first: int,
) -> Float32:
    """Do ``steps`` updates of ``weights``, which ``params`` are parts of; return the losses of each thread's rows.

    The buffers are each thread's gradients (threads, weights), and hidden and d_hidden (batch, hidden).
    """
    (images, labels), (sums, hidden, d_hidden) = data, buffers
    threads, rows = len(sums), len(hidden)
    losses = np.empty((threads, steps), np.float32)
    for step in range(steps):
        k = (first + step) % (len(labels) // rows)
        for part in prange(threads):
            own = slice(part * rows // threads, (part + 1) * rows // threads)
            x, y = images[k * rows : (k + 1) * rows][own], labels[k * rows : (k + 1) * rows][own]
            own_sums = views(sums[part], params)
            losses[part, step] = gradients(x, y, params, rate, hidden[own], d_hidden[own], own_sums)
        for part in prange(threads):
            subtract(weights, sums, part * len(weights) // threads, (part + 1) * len(weights) // threads)
    return losses


@final
class NumbaTunedTrainer(Trainer):
    """What numba's experts write: prange over the threads, each with its rows and a single-threaded BLAS.

    OpenBLAS's own threads would look for work while numba's compute, and the other way round, on the same CPUs.
    """

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the buffers; numba compiles at the first step, and ``device`` can only be the CPU."""
        del device
        rows, threads = data.batch_size, numba.config.NUMBA_NUM_THREADS
        count = min(threads, rows, max(1, rows * workload.hidden // BLOCK))
        numba.set_num_threads(count)
        limit_blas(1 if count > 1 else threads)
        size = sum(math.prod(shape) for shape in workload.shapes.values())
        self._data, self._batches, self._rate = (data.images, data.labels), len(data), workload.learning_rate / rows
        hidden, d_hidden = np.empty((2, rows, workload.hidden), np.float32)
        self._buffers = np.empty((count, size), np.float32), hidden, d_hidden

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``, in one array, whose parts threads update."""
        self._weights = np.concatenate([value.ravel() for value in params])
        self._params = views.py_func(self._weights, params)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; every thread has finished when numba's code returns."""
        rate, start = np.float32(self._rate), first % self._batches
        losses: Float32 = train(self._data, self._weights, self._params, self._buffers, rate, steps, start).sum(axis=0)
        losses /= np.float32(len(self._buffers[1]))
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
