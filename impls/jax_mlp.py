"""The network in jax: value_and_grad of a pure function, jit for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import numpy as np

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload


def log_probabilities(params: Params, x: jax.Array) -> jax.Array:
    """Return the log probabilities (batch, classes) of the minibatch ``x`` (batch, inputs)."""
    w1, b1, w2, b2 = params
    hidden = jnp.tanh(x @ w1 + b1)
    logits = hidden @ w2 + b2
    return jax.nn.log_softmax(logits)


def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of the minibatch ``x`` (batch, inputs) with labels ``y`` (batch,)."""
    return -jnp.mean(jnp.take_along_axis(log_probabilities(params, x), y[:, None], axis=1))


@final
class JaxTrainer(Trainer):
    """What jax's users write: one compiled update, called from a Python loop."""

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Put the data on ``device`` and define the update; jit compiles it at the first step."""
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32: precision is part of the workload
        platform, _, index = device.partition(":")
        self._device = jax.devices(platform)[int(index or 0)]
        self._images = jax.device_put(data.images, self._device)
        self._labels = jax.device_put(data.labels, self._device)
        self._batches = len(data)

        @jax.jit
        def step(params: Params, k: int, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Params]:
            x = jax.lax.dynamic_slice_in_dim(images, k * data.batch_size, data.batch_size)
            y = jax.lax.dynamic_slice_in_dim(labels, k * data.batch_size, data.batch_size)
            loss, gradients = jax.value_and_grad(cost)(params, x, y)
            return loss, jax.tree.map(lambda p, g: p - workload.learning_rate * g, params, gradients)

        self._step = step

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        # may_alias: without it jax may keep the harness's own memory, which is not a copy.
        self._params = jax.device_put(params, self._device, may_alias=False)

    def run(self, steps: int) -> Float32:
        """Do ``steps`` updates, then wait for the device; the last loss does not depend on the last update."""
        losses = []
        for step in range(steps):
            loss, self._params = self._step(self._params, step % self._batches, self._images, self._labels)
            losses.append(loss)
        jax.block_until_ready(self._params)
        return np.array(jax.device_get(losses), np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return Params(*(np.array(value) for value in self._params))
