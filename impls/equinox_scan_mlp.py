"""The network in Equinox, tuned: the whole round is one compiled loop, whose weights are donated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import optax

from impls.equinox_mlp import EquinoxBase, Network
from impls.jax_scan_mlp import compile_loops, loop_over_steps, run_loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Batches, Float32
    from impls.lanes import Device
    from impls.workload import Workload

    State = tuple[Network, optax.OptState]  # the arrays of the model, and what the optimizer remembers


def training_loop(static: Network, optimizer: optax.GradientTransformation, data: Batches) -> Callable[..., Any]:
    """Return the loop as a function of its length, the state, the first minibatch, images and labels.

    ``static`` is what the model has besides arrays.
    """

    def cost(arrays: Network, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = jax.vmap(eqx.combine(arrays, static))(x)
        # A product, because the gradient of a look-up is a scatter, which XLA's CPU code does not fuse and does one
        # element at a time.
        return optax.softmax_cross_entropy(logits, jax.nn.one_hot(y, logits.shape[1])).mean()

    def update(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        arrays, remembered = state
        loss, gradients = jax.value_and_grad(cost)(arrays, x, y)
        updates, remembered = optimizer.update(gradients, remembered, arrays)
        return (eqx.apply_updates(arrays, updates), remembered), loss

    return loop_over_steps(update, data)


@final
class EquinoxScanTrainer(EquinoxBase):
    """What Equinox's experts write: no Python between two steps, nor filter_jit around them."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop, so that no later run has to."""
        self._build(workload, device)
        self._images, self._labels = data.images, data.labels
        arrays, self._static = eqx.partition(self._model, eqx.is_array)
        loop = training_loop(self._static, self._optimizer, data)
        state = arrays, self._optimizer_state
        self._loops = compile_loops(loop, state, self._images, self._labels)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        state, data = (eqx.filter(self._model, eqx.is_array), self._optimizer_state), (self._images, self._labels)
        (arrays, self._optimizer_state), losses = run_loops(self._loops, state, data, steps, first)
        self._model = eqx.combine(arrays, self._static)
        return losses
