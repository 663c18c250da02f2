"""The network in Flax, tuned: its functional training loop, compiled as a whole, whose state is donated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import jax
import optax
from flax import nnx

from impls.flax_mlp import FlaxBase, Network
from impls.jax_scan_mlp import compile_loops, loop_over_steps, run_loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


def training_loop(graph: nnx.GraphDef, data: Batches) -> Callable[..., Any]:
    """Return the loop as a function of its length, the state, the first minibatch, images and labels.

    The state is that of the model and the optimizer that ``graph`` describes.
    """

    def cost(model: Network, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = model(x)
        # A product, because the gradient of a look-up is a scatter, which XLA's CPU code does not fuse and does one
        # element at a time.
        return optax.softmax_cross_entropy(logits, jax.nn.one_hot(y, logits.shape[1])).mean()

    def update(state: nnx.State, x: jax.Array, y: jax.Array) -> tuple[nnx.State, jax.Array]:
        model, optimizer = nnx.merge(graph, state)
        loss, gradients = nnx.value_and_grad(cost)(model, x, y)
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer)), loss

    return loop_over_steps(update, data)


@final
class FlaxScanTrainer(FlaxBase):
    """What Flax's experts write: the model is taken apart before the loop and put together after it."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop, so that no later run has to."""
        self._build(workload, device)
        self._images, self._labels = data.images, data.labels
        self._objects = self._model, self._optimizer
        graph, self._state = nnx.split(self._objects)
        loop = training_loop(graph, data)
        self._loops = compile_loops(loop, self._state, self._images, self._labels)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        nnx.update(self._objects, self._state)  # what they hold has been donated
        super().load(params)
        self._state = nnx.state(self._objects)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        self._state, losses = run_loops(self._loops, self._state, (self._images, self._labels), steps, first)
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights."""
        nnx.update(self._objects, self._state)
        return super().params()
