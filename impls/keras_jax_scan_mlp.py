"""The network in Keras on jax, tuned: its stateless functions in one compiled loop, whose weights are donated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import jax
import keras
import numpy as np

from impls.jax_mlp import JaxBase, find_device
from impls.jax_scan_mlp import compile_loops, loop_over_steps, run_loops
from impls.keras_mlp import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload

    State = tuple[Params, list[jax.Array]]


def training_loop(workload: Workload, data: Batches, optimizer: keras.Optimizer) -> Callable[..., Any]:
    """Return the loop, a function of its length, ``state``, the first minibatch, images and labels.

    ``state`` is the weights and the variables of the optimizer, which are the number of steps and the learning rate.
    """
    model = keras.Sequential(layers(workload))
    optimizer.build(model.trainable_variables)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        logits, _ = model.stateless_call(params, [], x, training=True)
        return cross_entropy(y, logits)

    def update(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        params, variables = state
        loss, gradients = jax.value_and_grad(cost)(params, x, y)
        new, variables = optimizer.stateless_apply(variables, list(gradients), params)
        return (tuple(new), variables), loss

    return loop_over_steps(update, data)


@final
class KerasJaxScanTrainer(JaxBase):
    """What Keras's experts write: its layers, loss and optimizer, and no Python between two steps."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop, so that no later run has to."""
        self._device = find_device(device)
        self._images, self._labels = data.images, data.labels
        optimizer = keras.optimizers.SGD(workload.learning_rate)
        loop = training_loop(workload, data, optimizer)
        shapes = tuple(jax.ShapeDtypeStruct(shape, np.float32) for shape in workload.shapes.values())
        self._variables = [variable.value for variable in optimizer.variables]
        self._loops = compile_loops(loop, (shapes, self._variables), self._images, self._labels)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        state, data = (self._params, self._variables), (self._images, self._labels)
        (self._params, self._variables), losses = run_loops(self._loops, state, data, steps, first)
        return losses
