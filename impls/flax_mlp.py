"""The network in Flax: an nnx.Module and an nnx.Optimizer, nnx.jit for each step, as its tutorial teaches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from impls.jax_mlp import ACTIVATIONS, PRECISIONS, JaxBase, fetch, find_device, place_minibatches

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


@final
class Network(nnx.Module):  # type: ignore[misc]  # Flax is not installed where mypy runs
    """The hidden layer, which a linear model does not have, and the output layer."""

    def __init__(self, workload: Workload, rngs: nnx.Rngs) -> None:
        """Make the layers, and the parameters that only prelu has."""
        shapes = workload.shapes
        self.workload, self.activate = workload, ACTIVATIONS[workload.activation]
        linear = partial(nnx.Linear, kernel_init=nnx.initializers.zeros, rngs=rngs)  # ``load`` overwrites them
        self.hidden = linear(*shapes["w1"]) if "w1" in shapes else None
        self.learned = nnx.List([nnx.Param(jnp.zeros(shapes["leak"]))] if "leak" in shapes else [])
        self.output = linear(*shapes["w2"])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits (batch, classes) of a minibatch (batch, inputs)."""
        hidden = x
        if self.hidden is not None:
            hidden = self.activate(self.hidden(x), self.workload, *(leak[...] for leak in self.learned))
        logits: jax.Array = self.output(hidden)
        return logits

    @property
    def variables(self) -> list[nnx.Param]:
        """The parameters in the order of ``workload.shapes``."""
        first = [] if self.hidden is None else [self.hidden.kernel, self.hidden.bias]
        return [*first, *self.learned, self.output.kernel, self.output.bias]


class FlaxBase(JaxBase):
    """What Flax's trainers share: the model and its optimizer, which hold jax's arrays."""

    def _build(self, workload: Workload, device: Device) -> None:
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        self._device = find_device(device)
        self._model = Network(workload, nnx.Rngs(0))
        self._optimizer = nnx.Optimizer(self._model, optax.sgd(workload.learning_rate), wrt=nnx.Param)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        # A copy as in ``JaxBase.load``, and for its reason.
        copies = jax.device_put(params, self._device, may_alias=False)
        for own, given in zip(self._model.variables, copies, strict=True):
            own.set_value(given)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value[...]) for value in self._model.variables)


@final
class FlaxTrainer(FlaxBase):
    """What Flax's users write: one compiled update of the model and its optimizer, called from a Python loop."""

    place = staticmethod(place_minibatches)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the model and define the update; nnx.jit compiles it at the first step."""
        self._build(workload, device)
        self._images, self._labels = data.images, data.labels

        def cost(model: Network, x: jax.Array, y: jax.Array) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        @nnx.jit
        def step(model: Network, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
            loss, gradients = nnx.value_and_grad(cost)(model, x, y)
            optimizer.update(model, gradients)
            return loss

        self._step = step

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device; the last loss does not depend on the last update."""
        losses = []
        for step in range(first, first + steps):
            k = step % len(self._images)
            losses.append(self._step(self._model, self._optimizer, self._images[k], self._labels[k]))
        jax.block_until_ready(nnx.state(self._model))
        return fetch(losses)
