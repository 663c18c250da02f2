"""The network in jax, tuned: the whole round is one compiled loop, whose weights are donated and updated in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import numpy as np

from impls.jax_lanes import LENGTHS
from impls.jax_mlp import PRECISIONS, JaxBase, find_device, is_on_cpu, log_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


def transpose_first(params: Sequence[Any]) -> tuple[Any, ...]:
    """Return the weights with the first matrix transposed, as the loop has it, or back: XLA is faster so on a CPU."""
    first, *others = params
    return (first.T, *others)


def training_loop(workload: Workload, data: Batches) -> Callable[..., Any]:
    """Return the loop as a function of its length, the weights, the first minibatch, images and labels.

    The first matrix of the weights is transposed.
    """
    network = log_probabilities(workload)

    def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        log_softmax = network(transpose_first(params), x)
        # A product, because the gradient of a look-up is a scatter, which XLA's CPU code does not fuse and does one
        # element at a time.
        return -jnp.sum(log_softmax * jax.nn.one_hot(y, log_softmax.shape[1])) / len(y)

    def update(params: Params, x: jax.Array, y: jax.Array) -> tuple[Params, jax.Array]:
        loss, gradients = jax.value_and_grad(cost)(params, x, y)
        return jax.tree.map(lambda p, g: p - workload.learning_rate * g, params, gradients), loss

    return loop_over_steps(update, data)


def loop_over_steps(
    update: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]], data: Batches
) -> Callable[..., Any]:
    """Return the loop as a function of its length, the state, the first minibatch, images and labels.

    ``update`` returns the state after a minibatch, and its loss before the update. The loop returns the last state, and
    the losses with zeros after them.
    """

    def loop(length: int, state: Any, first: int, images: jax.Array, labels: jax.Array) -> tuple[Any, jax.Array]:  # noqa: ANN401
        def step(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            state, losses = carry
            k = (first + i) % len(data)
            x = jax.lax.dynamic_slice_in_dim(images, k * data.batch_size, data.batch_size)
            y = jax.lax.dynamic_slice_in_dim(labels, k * data.batch_size, data.batch_size)
            state, loss = update(state, x, y)
            return state, losses.at[i].set(loss)

        losses = jnp.zeros(LENGTHS[0], jnp.float32)
        carried: tuple[Any, jax.Array] = jax.lax.fori_loop(0, length, step, (state, losses))
        return carried

    return loop


def of_fixed_length(loop: Callable[..., Any]) -> jax.stages.Wrapped:
    """Return ``loop`` for a GPU: where its length is an operand, XLA waits for the host before each step."""
    return jax.jit(loop, static_argnums=0, donate_argnums=1)


def compile_loops(loop: Callable[..., Any], state: Any, images: jax.Array, labels: jax.Array) -> dict[int, Any]:  # noqa: ANN401
    """Return ``loop`` for each length that it may have, the largest first, compiled for a state of these shapes.

    On the CPU one loop has every length.
    """
    longest, *_ = LENGTHS
    if is_on_cpu(images):
        compiled = jax.jit(loop, donate_argnums=1).lower(longest, state, 0, images, labels).compile()
        return {length: partial(compiled, length) for length in range(longest, 0, -1)}
    fixed = of_fixed_length(loop)
    return {length: fixed.lower(length, state, 0, images, labels).compile() for length in LENGTHS}


def run_loops(
    loops: Mapping[int, Any],
    state: Any,  # noqa: ANN401  # weights, and what else a library carries
    data: tuple[jax.Array, jax.Array],
    steps: int,
    first: int,
) -> tuple[Any, Float32]:
    """Do ``steps`` updates of ``state`` by compiled loops of these lengths; return it when it is there, and the losses.

    The last loss does not depend on the last update.
    """
    losses, lengths, begin, end = [], [], first, first + steps
    for length, loop in loops.items():
        while end - begin >= length:
            state, chunk = loop(state, begin, *data)
            losses.append(chunk)
            lengths.append(length)
            begin += length
    jax.block_until_ready(state)
    made = zip(map(np.asarray, losses) if is_on_cpu(losses[0]) else jax.device_get(losses), lengths, strict=True)
    return state, np.concatenate([chunk[:length] for chunk, length in made])


@final
class JaxScanTrainer(JaxBase):
    """What jax's experts write: no Python between two steps."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop, so that no later run has to."""
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        self._device = find_device(device)
        self._images, self._labels = data.images, data.labels
        first, *others = workload.shapes.values()
        shapes = tuple(jax.ShapeDtypeStruct(shape, np.float32) for shape in (first[::-1], *others))
        self._loops = compile_loops(training_loop(workload, data), shapes, self._images, self._labels)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        super().load(transpose_first(params))

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return transpose_first(super().params())

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        self._params, losses = run_loops(self._loops, self._params, (self._images, self._labels), steps, first)
        return losses
