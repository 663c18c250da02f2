"""The network in Keras on jax, tuned: its stateless functions in one compiled loop, whose weights are donated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import keras
import numpy as np

from impls.jax_lanes import LENGTHS
from impls.jax_mlp import JaxBase, find_device
from impls.jax_scan_mlp import run_loops
from impls.keras_mlp import layers

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload

    State = tuple[Params, list[jax.Array]]


def training_loop(workload: Workload, data: Batches, optimizer: keras.Optimizer) -> jax.stages.Wrapped:
    """Return the compiled loop, a function of its length, ``state``, the first minibatch, images and labels.

    ``state`` is the weights and the variables of the optimizer, which are the number of steps and the learning rate.
    """
    model = keras.Sequential(layers(workload))
    optimizer.build(model.trainable_variables)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        logits, _ = model.stateless_call(params, [], x, training=True)
        return cross_entropy(y, logits)

    # ``length`` is a constant of the compiled loop, as in jax's own lane.
    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def loop(length: int, state: State, first: int, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        def step(i: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            (params, variables), losses = carry
            k = (first + i) % len(data)
            x = jax.lax.dynamic_slice_in_dim(images, k * data.batch_size, data.batch_size)
            y = jax.lax.dynamic_slice_in_dim(labels, k * data.batch_size, data.batch_size)
            loss, gradients = jax.value_and_grad(cost)(params, x, y)
            new, variables = optimizer.stateless_apply(variables, list(gradients), params)
            return (tuple(new), variables), losses.at[i].set(loss)

        losses = jnp.zeros(length, jnp.float32)
        carried: tuple[State, jax.Array] = jax.lax.fori_loop(0, length, step, (state, losses))
        return carried

    return loop


@final
class KerasJaxScanTrainer(JaxBase):
    """What Keras's experts write: its layers, loss and optimizer, and no Python between two steps."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop for each of its lengths, so that no later run has to."""
        self._device = find_device(device)
        self._images, self._labels = data.images, data.labels
        optimizer = keras.optimizers.SGD(workload.learning_rate)
        loop = training_loop(workload, data, optimizer)
        shapes = tuple(jax.ShapeDtypeStruct(shape, np.float32) for shape in workload.shapes.values())
        self._variables = [variable.value for variable in optimizer.variables]
        given = (shapes, self._variables), 0, self._images, self._labels
        self._loops = {length: loop.lower(length, *given).compile() for length in LENGTHS}

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        state, data = (self._params, self._variables), (self._images, self._labels)
        (self._params, self._variables), losses = run_loops(self._loops, state, data, steps, first)
        return losses
