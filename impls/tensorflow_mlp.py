"""The network in TensorFlow: tf.Variable, GradientTape and tf.function for each step, as its guides teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import tensorflow as tf

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: tf.Tensor, leak: float | tf.Variable) -> tf.Tensor:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * tf.abs(z)) / 2


def maxout(z: tf.Tensor, workload: Workload) -> tf.Tensor:
    """Return the largest unit of each group; equal maxima share the gradient."""
    return tf.reduce_max(tf.reshape(z, (workload.batch_size, -1, workload.n_pool)), axis=2)


ACTIVATIONS: dict[str, Callable[..., tf.Tensor]] = {
    "tanh": lambda z, workload: tf.tanh(z),
    "sigmoid": lambda z, workload: tf.sigmoid(z),
    "hard_sigmoid": lambda z, workload: tf.clip_by_value(z + 0.5, 0, 1),
    "hard_tanh": lambda z, workload: tf.clip_by_value(z, -1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": maxout,
}


@final
class Network(tf.Module):  # type: ignore[misc]  # TensorFlow is not installed where mypy runs
    """The weights, in the order of the workload's shapes, and the logits as a function of a minibatch."""

    def __init__(self, workload: Workload) -> None:
        """Make the weights."""
        super().__init__()
        self._workload = workload
        self.weights = [tf.Variable(tf.zeros(shape)) for shape in workload.shapes.values()]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return the logits (batch, classes) of a minibatch (batch, inputs)."""
        *first, w2, b2 = self.weights
        hidden = self._hidden_layer(x, *first) if first else x
        return hidden @ w2 + b2

    def _hidden_layer(self, x: tf.Tensor, w1: tf.Variable, b1: tf.Variable, *leak: tf.Variable) -> tf.Tensor:
        return ACTIVATIONS[self._workload.activation](x @ w1 + b1, self._workload, *leak)


def train_step(network: Network, x: tf.Tensor, y: tf.Tensor, learning_rate: float) -> tf.Tensor:
    """Update the weights with a minibatch, and return its loss before the update."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, network(x)))
    gradients = tape.gradient(loss, network.weights)
    for weights, gradient in zip(network.weights, gradients, strict=True):
        weights.assign_sub(learning_rate * gradient)
    return loss


def as_tensor(array: np.ndarray[Any, Any]) -> tf.Tensor:
    """Return ``array`` as a tensor, without a copy where TensorFlow can use its memory."""
    # Other memory would end the process: TensorFlow checks where a tensor begins when it computes, not before.
    is_aligned = array.ctypes.data % 64 == 0
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__()) if is_aligned else tf.constant(array)


class TensorflowBase(Trainer):
    """What TensorFlow's trainers share: the data are its tensors, and the weights its variables."""

    _network: Network

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,) as tensors; ``device`` can only be the CPU."""
        del device
        return Batches(as_tensor(data.images), as_tensor(data.labels), data.batch_size)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._network.weights, params, strict=True):
            own.assign(given)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.numpy() for value in self._network.weights)


@final
class TensorflowTrainer(TensorflowBase):
    """What TensorFlow's users write: one step as a graph, called from a Python loop."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the network and cut the data to minibatches; tf.function traces the step when it is first called."""
        del device
        self._images, self._labels = (tf.split(array, len(data)) for array in (data.images, data.labels))
        self._network = network = Network(workload)

        # AutoGraph, which the step does not need, leaves files behind when its process is killed.
        @tf.function(autograph=False)
        def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            return train_step(network, x, y, workload.learning_rate)

        self._step: Any = step

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; on a CPU TensorFlow has finished each call when it returns."""
        losses = []
        for step in range(first, first + steps):
            k = step % len(self._images)
            losses.append(self._step(self._images[k], self._labels[k]))
        host: Float32 = tf.stack(losses).numpy()
        return host
