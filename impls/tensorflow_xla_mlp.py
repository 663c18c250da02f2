"""The network in TensorFlow, tuned: XLA compiles the loop over the steps, which updates the variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np
import tensorflow as tf

from impls.tensorflow_lanes import CHUNK
from impls.tensorflow_mlp import Network, TensorflowBase, train_step

if TYPE_CHECKING:
    from impls.interface import Batches, Float32
    from impls.lanes import Device
    from impls.workload import Workload


@final
class TensorflowXlaTrainer(TensorflowBase):
    """What TensorFlow's experts write: no Python and no graph executor between two steps."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Define the loop; XLA compiles it at the first call, for any number of steps up to ``CHUNK``."""
        del device
        self._network = network = Network(workload)
        batches, rows = len(data), data.batch_size
        images = tf.reshape(data.images, (batches, rows, workload.inputs))
        labels = tf.reshape(data.labels, (batches, rows))

        # Not a slice that begins at k, nor an array of ``steps`` losses: XLA would make a constant of either number and
        # compile once more for each other one.
        @tf.function(jit_compile=True, autograph=False)
        def loop(steps: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
            def step(i: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                k = (first + i) % batches
                x, y = tf.gather(images, k), tf.gather(labels, k)
                return i + 1, losses.write(i, train_step(network, x, y, workload.learning_rate))

            losses = tf.TensorArray(tf.float32, CHUNK)
            _, losses = tf.while_loop(lambda i, _: i < steps, step, (tf.constant(0), losses))
            return losses.stack()

        self._loop: Any = loop

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; the loop has finished when its losses are there."""
        losses = []
        for begin in range(0, steps, CHUNK):
            length = min(CHUNK, steps - begin)
            losses.append(self._loop(tf.constant(length), tf.constant(first + begin)).numpy()[:length])
        return np.concatenate(losses)
