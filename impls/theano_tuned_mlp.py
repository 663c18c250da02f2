"""The network in Theano, tuned: BLAS adds the biases and updates the weights, tanh is glibc's vector version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, final

# gcc replaces tanhf by the vector version of glibc 2.35 or later only with -ffast-math. Theano reads its settings when
# it is first imported, by the plain file; the user's settings come last and win.
os.environ["THEANO_FLAGS"] = ",".join(
    filter(None, ("gcc__cxxflags=-O3 -march=native -ffast-math,allow_gc=False", os.environ.get("THEANO_FLAGS")))
)

import numpy as np  # after the settings

from impls.interface import Batches, Params, Trainer
from impls.theano_lanes import CHUNK
from impls.theano_mlp import T, compiled, theano  # after its settings

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


@final
class TheanoTunedTrainer(Trainer):
    """What Theano's experts write: its virtual machine goes from step to step in C."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the graph over shared variables and compile it; ``device`` can only be the CPU."""
        del device
        rows = data.batch_size
        images, labels = theano.shared(data.images, borrow=True), theano.shared(data.labels, borrow=True)
        self._params = [theano.shared(np.zeros(shape, np.float32)) for shape in workload.shapes.values()]
        self._count = theano.shared(np.int64(0))
        self._losses = theano.shared(np.zeros(CHUNK, np.float32))
        w1, b1, w2, b2 = self._params

        k = self._count % len(data)
        x, y = images[k * rows : (k + 1) * rows], labels[k * rows : (k + 1) * rows]
        gemm, one = T.blas.gemm_no_inplace, np.float32(1)
        activity = gemm(T.alloc(b1, rows, workload.hidden), one, x, w1, one)
        hidden = T.tanh(activity)
        logits = gemm(T.alloc(b2, rows, workload.classes), one, hidden, w2, one)
        # By default Theano would sum in float64.
        cost = T.mean(T.nnet.crossentropy_softmax_1hot(logits, y)[0], dtype="float32", acc_dtype="float32")

        d_logits = T.grad(cost, logits)
        d_hidden = T.dot(d_logits, w2.T) * (one - T.sqr(hidden))
        ones, rate = T.ones(rows, "float32"), np.float32(-workload.learning_rate)
        updates = [
            (w1, gemm(w1, rate, x.T, d_hidden, one)),
            (b1, b1 + rate * T.dot(ones, d_hidden)),
            (w2, gemm(w2, rate, hidden.T, d_logits, one)),
            (b2, b2 + rate * T.dot(ones, d_logits)),
            (self._losses, T.set_subtensor(self._losses[self._count % CHUNK], cost)),
            (self._count, self._count + 1),
        ]
        self._step = compiled([], [], updates=updates)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.set_value(given)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; Theano's C code has finished each call when it returns."""
        losses = []
        for done in range(0, steps, CHUNK):
            self._count.set_value(np.int64(first + done))
            count = min(CHUNK, steps - done)
            self._step.fn(n_calls=count)
            losses.append(np.roll(self._losses.get_value(), -(first + done))[:count])
        return np.concatenate(losses)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.get_value() for value in self._params)
