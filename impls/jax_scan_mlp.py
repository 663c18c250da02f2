"""The network in jax, tuned: the whole round is one compiled loop, whose weights are donated and updated in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import numpy as np

from impls.interface import Batches, Params, Trainer
from impls.jax_mlp import PRECISIONS, find_device, log_probabilities, place

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload

CHUNK = 1024  # losses that one call of the loop has room for: the shape must not depend on the number of steps


@final
class JaxScanTrainer(Trainer):
    """What jax's experts write: no Python between two steps."""

    place = staticmethod(place)

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Put the data on ``device`` and define the loop; jit compiles it at the first run."""
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        self._device = find_device(device)
        self._images, self._labels = self.place(data, device)

        network = log_probabilities(workload)

        def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
            log_softmax = network(params, x)
            # A product, because the gradient of a look-up is a scatter, which XLA's CPU code does alone and one by one.
            return -jnp.sum(log_softmax * jax.nn.one_hot(y, log_softmax.shape[1])) / len(y)

        # The number of steps is an operand, not a constant, so that every run is served by the same compiled loop.
        @partial(jax.jit, donate_argnums=0)
        def loop(
            params: Params, first: int, steps: int, images: jax.Array, labels: jax.Array
        ) -> tuple[Params, jax.Array]:
            def step(i: jax.Array, carry: tuple[Params, jax.Array]) -> tuple[Params, jax.Array]:
                params, losses = carry
                k = (first + i) % len(data)
                x = jax.lax.dynamic_slice_in_dim(images, k * data.batch_size, data.batch_size)
                y = jax.lax.dynamic_slice_in_dim(labels, k * data.batch_size, data.batch_size)
                loss, gradients = jax.value_and_grad(cost)(params, x, y)
                params = jax.tree.map(lambda p, g: p - workload.learning_rate * g, params, gradients)
                return params, losses.at[i].set(loss)

            carried: tuple[Params, jax.Array] = jax.lax.fori_loop(
                0, steps, step, (params, jnp.zeros(CHUNK, jnp.float32))
            )
            return carried

        self._loop = loop

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        # may_alias: without it jax may keep the harness's own memory, which is not a copy.
        self._params = jax.device_put(params, self._device, may_alias=False)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device; the last loss does not depend on the last update."""
        losses = []
        end = first + steps
        for begin in range(first, end, CHUNK):
            self._params, chunk = self._loop(self._params, begin, min(CHUNK, end - begin), self._images, self._labels)
            losses.append(chunk)
        jax.block_until_ready(self._params)
        return np.concatenate(jax.device_get(losses))[:steps]

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value) for value in self._params)
