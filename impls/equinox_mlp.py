"""The network in Equinox: an eqx.Module for one image, vmap, and filter_jit for each step, as its examples teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from impls import jax_mlp
from impls.jax_mlp import PRECISIONS, JaxBase, fetch, find_device, place_minibatches

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload

# jax's, of one image: z has one dimension.
ACTIVATIONS = jax_mlp.ACTIVATIONS | {"maxout": lambda z, workload: z.reshape(-1, workload.n_pool).max(axis=1)}


@final
class Network(eqx.Module):  # type: ignore[misc]  # Equinox is not installed where mypy runs
    """The hidden layer, which a linear model does not have, and the output layer."""

    workload: Workload = eqx.field(static=True)
    hidden: eqx.nn.Linear | None
    learned: list[jax.Array]
    output: eqx.nn.Linear

    def __init__(self, workload: Workload, key: jax.Array) -> None:
        """Make the layers, and the parameters that only prelu has."""
        shapes = workload.shapes
        self.workload = workload
        self.hidden = eqx.nn.Linear(*shapes["w1"], key=key) if "w1" in shapes else None
        self.learned = [jnp.zeros(shapes["leak"])] if "leak" in shapes else []
        self.output = eqx.nn.Linear(*shapes["w2"], key=key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits (classes,) of an image (inputs,)."""
        hidden = x
        if self.hidden is not None:
            hidden = ACTIVATIONS[self.workload.activation](self.hidden(x), self.workload, *self.learned)
        logits: jax.Array = self.output(hidden)
        return logits


def leaves(model: Network) -> list[jax.Array]:
    """Return the parameters in the order of ``workload.shapes``; eqx.nn.Linear holds its matrix transposed."""
    first = [] if model.hidden is None else [model.hidden.weight, model.hidden.bias]
    return [*first, *model.learned, model.output.weight, model.output.bias]


class EquinoxBase(JaxBase):
    """What Equinox's trainers share: the model holds jax's arrays."""

    def _build(self, workload: Workload, device: Device) -> None:
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        self._device = find_device(device)
        # Zeros, since ``load`` overwrites them: random weights would be compiled first.
        shapes = eqx.filter_eval_shape(Network, workload, jax.random.key(0))
        self._model = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        self._optimizer = optax.sgd(workload.learning_rate)
        self._optimizer_state = self._optimizer.init(eqx.filter(self._model, eqx.is_array))

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        # A copy as in ``JaxBase.load``, and for its reason.
        copies = jax.device_put([value.T for value in params], self._device, may_alias=False)
        self._model = eqx.tree_at(leaves, self._model, copies)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value).T.copy() for value in leaves(self._model))


@final
class EquinoxTrainer(EquinoxBase):
    """What Equinox's users write: one compiled update, called from a Python loop."""

    place = staticmethod(place_minibatches)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the model and define the update; filter_jit compiles it at the first step."""
        self._build(workload, device)
        self._images, self._labels = data.images, data.labels

        def cost(model: Network, x: jax.Array, y: jax.Array) -> jax.Array:
            logits = jax.vmap(model)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        @eqx.filter_jit
        def step(
            model: Network, state: optax.OptState, x: jax.Array, y: jax.Array
        ) -> tuple[jax.Array, Network, optax.OptState]:
            loss, gradients = eqx.filter_value_and_grad(cost)(model, x, y)
            updates, state = self._optimizer.update(gradients, state, eqx.filter(model, eqx.is_array))
            return loss, eqx.apply_updates(model, updates), state

        self._step = step

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device; the last loss does not depend on the last update."""
        losses = []
        for step in range(first, first + steps):
            k = step % len(self._images)
            loss, self._model, self._optimizer_state = self._step(
                self._model, self._optimizer_state, self._images[k], self._labels[k]
            )
            losses.append(loss)
        jax.block_until_ready(leaves(self._model))
        return fetch(losses)
