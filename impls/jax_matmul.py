"""The step's five matrix products and nothing else, in jax: a bound for every case, not an implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import numpy as np

from impls.jax_mlp import PRECISIONS, JaxBase, find_device

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


@final
class JaxMatmul(JaxBase):
    """A training step without its elementwise work: the products of a linear network, in one compiled loop."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Define the loop; jit compiles it at the first run."""
        del workload
        jax.config.update("jax_default_matmul_precision", PRECISIONS["float32"])
        self._device = find_device(device)
        self._images = data.images

        @jax.jit
        def products(steps: int, images: jax.Array, w1: jax.Array, w2: jax.Array) -> tuple[jax.Array, jax.Array]:
            def step(k: jax.Array, _: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                x = jax.lax.dynamic_slice_in_dim(images, k % len(data) * data.batch_size, data.batch_size)
                # With one minibatch every step is the same, and without the barrier XLA would do it once.
                x, _ = jax.lax.optimization_barrier((x, k))
                hidden = x @ w1
                logits = hidden @ w2
                d_hidden = logits @ w2.T
                return x.T @ d_hidden, hidden.T @ logits

            last: tuple[jax.Array, jax.Array] = jax.lax.fori_loop(
                0, steps, step, (jnp.zeros_like(w1), jnp.zeros_like(w2))
            )
            return last

        self._products = products

    def load(self, params: Params) -> None:
        """Put the weights on the device."""
        w1, b1, w2, b2 = params
        self._biases = b1, b2
        self._weights = self._last = jax.device_put((w1, w2), self._device)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do the products of ``steps`` steps, then wait for the device; the losses are zero, since there are none."""
        del first  # every minibatch takes the same time
        self._last = jax.block_until_ready(self._products(steps, self._images, *self._weights))
        return np.zeros(steps, np.float32)

    def params(self) -> Params:
        """Return the last step's two products that have the shapes of weights; they depend on all five."""
        d_w1, d_w2 = map(np.array, self._last)
        return d_w1, self._biases[0], d_w2, self._biases[1]
