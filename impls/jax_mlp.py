"""The network in jax: value_and_grad of a pure function, jit for each step."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, final

import jax
import jax.numpy as jnp
import numpy as np

from impls.devices import kind_of
from impls.interface import Batches, Params, Trainer
from impls.jax_lanes import STACKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: jax.Array, leak: float | jax.Array) -> jax.Array:
    """Return z, or ``leak`` z where it is negative; the slopes at 0 are 1/2, where jax's slope of abs(z) would be 1."""
    return jnp.maximum(z, 0) + leak * jnp.minimum(z, 0)


def clip(z: jax.Array, low: float, high: float) -> jax.Array:
    """Return z within its limits; the slope at the limits is 1 as in other frameworks, where jnp.clip has 1/2."""
    return jnp.where(z < low, low, jnp.where(z > high, high, z))


ACTIVATIONS: dict[str, Callable[..., jax.Array]] = {
    "tanh": lambda z, workload: jnp.tanh(z),
    "sigmoid": lambda z, workload: jax.nn.sigmoid(z),
    "hard_sigmoid": lambda z, workload: clip(z + 0.5, 0, 1),
    "hard_tanh": lambda z, workload: clip(z, -1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": lambda z, workload: z.reshape(len(z), -1, workload.n_pool).max(axis=2),  # equal maxima share the gradient
}


# TF32 only where the workload asks for it; on a GPU it is jax's default.
PRECISIONS = {"float32": "highest", "tf32": "TF32_TF32_F32", "bfloat16": "BF16_BF16_F32"}


# What jax says of a platform without a plug-in, what is said instead, and its advice, which would change the device.
UNKNOWN, NO_PLUG_IN = "is not in the list of known backends", "jax has no plug-in for {}"
ADVICE = re.compile(r" \([^()]*JAX_PLATFORMS=[^()]*\)")


def log_probabilities(workload: Workload) -> Callable[[Params, jax.Array], jax.Array]:
    """Return the log probabilities (batch, classes) as a function of the weights and of a minibatch (batch, inputs)."""
    activate = ACTIVATIONS[workload.activation]

    def layer(x: jax.Array, w1: jax.Array, b1: jax.Array, *leak: jax.Array) -> jax.Array:
        return activate(x @ w1 + b1, workload, *leak)

    hidden_layer = layer if workload.model == "mlp" else lambda x: x

    def network(params: Params, x: jax.Array) -> jax.Array:
        *first, w2, b2 = params
        hidden = hidden_layer(x, *first)
        logits = hidden @ w2 + b2
        return jax.nn.log_softmax(logits)

    return network


def find_device(device: Device) -> jax.Device:
    """Return jax's object for ``device``."""
    return jax.devices(device.about.jax)[device.index]


def plug_ins() -> list[str]:
    """Return the names of jax's plug-ins, such as xla_cuda13, where jax itself looks for them."""
    package = find_spec("jax_plugins")
    folders = package.submodule_search_locations if package else None
    modules = [module.name for module in iter_modules(folders or [])]
    return modules + [entry.value for entry in entry_points(group="jax_plugins")]


def count_devices(kind: str) -> int:
    """Return how many devices of ``kind`` jax can use.

    Raises:
        RuntimeError: none, and why.
    """
    platform = kind_of(kind).jax
    try:
        return len(jax.devices(platform))
    except AssertionError as error:  # has no text: jax has asked no plug-in, as the machine has no device of NVIDIA's
        has_plug_in, reason = any(platform in name for name in plug_ins()), f"jax sees no {platform} device"
        raise RuntimeError(reason if has_plug_in else NO_PLUG_IN.format(platform)) from error
    except RuntimeError as error:
        reason = ADVICE.sub("", str(error))
        raise RuntimeError(NO_PLUG_IN.format(platform) if UNKNOWN in reason else reason) from error


def place_minibatches(data: Batches, device: Device) -> Batches:
    """Return a list of the images of each minibatch and a list of their labels, on ``device``."""
    # jax's arrays, made once: a numpy array would be copied at each call.
    minibatches = tuple(np.split(array, len(data)) for array in (data.images, data.labels))
    images, labels = jax.block_until_ready(jax.device_put(minibatches, find_device(device)))
    return Batches(images, labels, data.batch_size)


def is_on_cpu(array: jax.Array) -> bool:
    """Return whether the host can read ``array`` where it is; from a GPU it has to be copied."""
    return bool(array.devices().pop().platform == "cpu")


stack = jax.jit(jnp.stack)


def fetch(losses: list[jax.Array]) -> Float32:
    """Return ``losses`` in host memory; from a GPU in stacks, since copying one takes as long as copying many."""
    if is_on_cpu(losses[0]):
        return np.array([np.asarray(loss) for loss in losses])
    # The last loss fills the last stack: for each other length jit would compile once more.
    filled = losses + losses[-1:] * (-len(losses) % STACKED)
    stacks = [stack(filled[begin : begin + STACKED]) for begin in range(0, len(filled), STACKED)]
    return np.concatenate(jax.device_get(stacks))[: len(losses)]


class JaxBase(Trainer):
    """What jax's trainers share: data and weights are jax's arrays on one device."""

    count = staticmethod(count_devices)

    _device: jax.Device
    _params: Params

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,) on ``device``."""
        images, labels = jax.block_until_ready(jax.device_put((data.images, data.labels), find_device(device)))
        return Batches(images, labels, data.batch_size)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        # Without may_alias=False, which is there since 0.4.35, jax may use the memory of ``params`` itself instead of a
        # copy. Copies by jnp.array led to wrong losses with jax 0.7.2, in one launch of many.
        self._params = jax.device_put(params, self._device, may_alias=False)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(np.array(value) for value in self._params)


@final
class JaxTrainer(JaxBase):
    """What jax's users write: one compiled update, called from a Python loop."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Define the update; jit compiles it at the first step."""
        jax.config.update("jax_default_matmul_precision", PRECISIONS[workload.precision])
        self._device = find_device(device)
        self._images, self._labels, self._batches = data.images, data.labels, len(data)
        network = log_probabilities(workload)

        def cost(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
            return -jnp.mean(jnp.take_along_axis(network(params, x), y[:, None], axis=1))

        @jax.jit
        def step(params: Params, k: int, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Params]:
            x = jax.lax.dynamic_slice_in_dim(images, k * data.batch_size, data.batch_size)
            y = jax.lax.dynamic_slice_in_dim(labels, k * data.batch_size, data.batch_size)
            loss, gradients = jax.value_and_grad(cost)(params, x, y)
            return loss, jax.tree.map(lambda p, g: p - workload.learning_rate * g, params, gradients)

        self._step = step

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device; the last loss does not depend on the last update."""
        losses = []
        for step in range(first, first + steps):
            loss, self._params = self._step(self._params, step % self._batches, self._images, self._labels)
            losses.append(loss)
        jax.block_until_ready(self._params)
        return fetch(losses)
