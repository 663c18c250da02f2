"""The network in MLX, tuned: OpenBLAS computes the products, and the step is one compiled function."""

from __future__ import annotations

import ctypes
import fcntl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import scipy_openblas32

from impls.compiled import load_library
from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

SOURCE = Path(__file__).with_suffix(".cpp")


def use_openblas() -> None:
    """Let MLX call OpenBLAS in place of the BLAS in its wheel: what is global when MLX is imported comes first."""
    shim = load_library(SOURCE, mode=ctypes.RTLD_GLOBAL)
    openblas = ctypes.CDLL(str(Path(scipy_openblas32.get_lib_dir(), scipy_openblas32.get_library(fullname=True))))
    address = ctypes.cast(openblas.scipy_cblas_sgemm, ctypes.c_void_p).value
    ctypes.c_void_p.in_dll(shim, "openblas_sgemm").value = address


use_openblas()

import mlx.core as mx  # noqa: E402  # after use_openblas
from mlx import nn  # noqa: E402

from impls.mlx_mlp import ACTIVATIONS  # noqa: E402


@mx.custom_function
def tanh(z: mx.array) -> mx.array:
    """Return the hyperbolic tangent."""
    return mx.tanh(z)


@tanh.vjp
def tanh_gradient(z: mx.array, d_hidden: mx.array, hidden: mx.array) -> mx.array:
    """Return the gradient by the tangent itself, where MLX computes a hyperbolic cosine, which takes far longer."""
    return d_hidden * (1 - mx.square(hidden))


TUNED = ACTIVATIONS | {"tanh": lambda z, workload: tanh(z)}


def cost_function(workload: Workload) -> Callable[..., mx.array]:
    """Return the mean cross-entropy as a function of the weights and of a minibatch, (batch, inputs) and (batch,)."""
    activate = TUNED[workload.activation]

    def layer(x: mx.array, w1: mx.array, b1: mx.array, *leak: mx.array) -> mx.array:
        return activate(mx.addmm(b1, x, w1), workload, *leak)

    hidden_layer = layer if workload.model == "mlp" else lambda x: x

    def cost(params: list[mx.array], x: mx.array, y: mx.array) -> mx.array:
        *first, w2, b2 = params
        hidden = hidden_layer(x, *first)
        logits = mx.addmm(b2, hidden, w2)
        return nn.losses.cross_entropy(logits, y, reduction="mean")

    return cost


@final
class MlxOpenblasTrainer(Trainer):
    """What MLX's experts write: a pure function of the weights, traced once, whose chains of operations are fused."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the step, by a step; ``device`` can only be the CPU."""
        del device
        mx.set_default_device(mx.cpu)
        self._data = data
        loss_and_grad = mx.value_and_grad(cost_function(workload))

        def step(params: list[mx.array], x: mx.array, y: mx.array) -> tuple[mx.array, list[mx.array]]:
            loss, gradients = loss_and_grad(params, x, y)
            return loss, [p - workload.learning_rate * g for p, g in zip(params, gradients, strict=True)]

        self._update = mx.compile(step)
        self.load(tuple(np.zeros(shape, np.float32) for shape in workload.shapes.values()))
        with Path(tempfile.gettempdir(), "mlx.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # otherwise MLX would load what another process has not yet written
            self._step(0)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = [mx.array(value) for value in params]

    def _step(self, k: int) -> float:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        # A copy of each minibatch: MLX cannot use numpy's memory, and with a copy of all it would be there twice.
        x, y = mx.array(self._data.images[rows]), mx.array(self._data.labels[rows])
        loss, self._params = self._update(self._params, x, y)
        mx.eval(loss, self._params)
        host: float = loss.item()
        return host

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; mx.eval waits for each of them."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value) for value in self._params)
