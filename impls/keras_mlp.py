"""The network in Keras: layers, compile and fit, as its documentation teaches; one code for all of its backends."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
from keras import ops

from impls.interface import Batches, Params, Trainer
from impls.stepwise import Stepwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def leaky(z: Any, leak: Any) -> Any:  # noqa: ANN401  # the backend's tensors
    """Return z, or ``leak`` z where it is negative; the slope at 0 is the mean of both, as the sign has no slope."""
    return z * ((1 + leak) + (1 - leak) * ops.sign(z)) / 2


def clip(z: Any, low: float, high: float) -> Any:  # noqa: ANN401
    """Return z within its limits; the slope at the limits is 1 with each backend, where jax's clip has 1/2."""
    return ops.where(z < low, low, ops.where(z > high, high, z))


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": lambda z, workload: ops.tanh(z),
    "sigmoid": lambda z, workload: ops.sigmoid(z),
    "hard_sigmoid": lambda z, workload: clip(z + 0.5, 0.0, 1.0),
    "hard_tanh": lambda z, workload: clip(z, -1.0, 1.0),
    "relu": lambda z, workload: leaky(z, 0.0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    # Equal maxima share the gradient.
    "maxout": lambda z, workload: ops.amax(ops.reshape(z, (-1, workload.hidden, workload.n_pool)), axis=2),
}


@final
class Activation(keras.layers.Layer):  # type: ignore[misc]  # keras is not installed where mypy runs
    """An entry of ``ACTIVATIONS`` as a layer, with the weight that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the weights that only this activation has."""
        super().__init__()
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        learned = [workload.shapes["leak"]] if "leak" in workload.shapes else []
        self._learned = [self.add_weight(shape=shape) for shape in learned]

    def call(self, z: Any) -> Any:  # noqa: ANN401
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z, self._workload, *self._learned)


def layers(workload: Workload) -> list[keras.layers.Layer]:
    """Return the network as a list of layers; a linear model has no hidden one."""
    units = workload.shapes.get("w1", (0, 0))[1]
    hidden = [keras.layers.Dense(units), Activation(workload)] if workload.model == "mlp" else []
    return [keras.Input((workload.inputs,)), *hidden, keras.layers.Dense(workload.classes)]


@final
class Latest(keras.metrics.Metric):  # type: ignore[misc]
    """The loss of the last step; Keras's own metric has the mean of all since the pass began, and so fewer digits."""

    def __init__(self) -> None:
        """Make the variable that holds it."""
        super().__init__(name="latest")
        self._loss = self.add_variable(shape=(), initializer="zeros")

    def update_state(self, loss: Any) -> None:  # noqa: ANN401
        """Keep ``loss``."""
        self._loss.assign(loss)

    def result(self) -> Any:  # noqa: ANN401
        """Return a copy, since torch overwrites the variable in place."""
        return self._loss + 0.0


@final
class Network(keras.Sequential):  # type: ignore[misc]
    """The layers, with the loss of the last step among the metrics."""

    def __init__(self, workload: Workload) -> None:
        """Make the layers and the metric."""
        super().__init__(layers(workload))
        self.latest = Latest()

    def compute_loss(self, *args: Any, training: bool = True) -> Any:  # noqa: ANN401
        """Return Keras's own loss, and keep it."""
        loss = super().compute_loss(*args, training=training)
        self.latest.update_state(loss)
        return loss


def wait_for(model: keras.Model) -> None:
    """Wait until the weights are computed; with the other backends they are when a step returns."""
    if keras.config.backend() == "jax":
        for variable in model.trainable_variables:
            variable.value.block_until_ready()


@final
class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """What ``fit`` calls: before each step it waits until this is asked for."""

    async_safe = True  # otherwise fit would wait for each loss before it begins the next step

    def __init__(self, steps: Stepwise) -> None:
        """Let ``steps`` hold ``fit`` up and have the losses."""
        super().__init__()
        self._steps = steps

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401
        """Remember how many steps there were before this pass."""
        del epoch, logs
        self._before = self._steps.begun

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401
        """Wait until the step is asked for."""
        del batch, logs
        self._steps.before_step()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401
        """Keep the loss; Keras calls this from other threads, which may overtake each other."""
        self._steps.after_step(self._before + batch, logs["latest"])


@final
class KerasTrainer(Trainer):
    """What Keras's users write: compile and fit."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return the data as they are, or TensorFlow's tensors: each ``fit`` would copy numpy's arrays twice."""
        del device
        if keras.config.backend() != "tensorflow":
            return data
        from impls.tensorflow_mlp import as_tensor  # noqa: PLC0415  # TensorFlow is there with this backend only

        return Batches(as_tensor(data.images), as_tensor(data.labels), data.batch_size)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the model; ``device`` can only be the CPU."""
        del device
        self._batches, rows = len(data), data.batch_size

        def build() -> Network:
            network = Network(workload)
            network.compile(
                optimizer=keras.optimizers.SGD(workload.learning_rate),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            return network

        def train(first: int) -> None:
            settings = {"batch_size": rows, "shuffle": False, "verbose": 0, "callbacks": [callback]}
            if first:  # a pass always begins with the first row, so this one has fewer
                model.fit(data.images[first * rows :], data.labels[first * rows :], **settings)
            model.fit(data.images, data.labels, epochs=sys.maxsize, **settings)

        self._steps = Stepwise(self, train)
        self._callback = callback = Steps(self._steps)
        model = self._steps.call(build)
        callback.set_model(model)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``, while ``fit`` waits before the first minibatch."""
        self._steps.begin_at(0, self._batches)
        copies = [value.copy() for value in params]  # jax may use the memory of what it gets
        self._steps.call(lambda: self._callback.model.set_weights(copies))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the weights; the last loss does not depend on the last update."""
        self._steps.begin_at(first, self._batches)
        if keras.config.backend() == "torch":
            gc.enable()  # the worker does without, but this backend leaves minibatches in cycles (keras issue 23110)
        losses = self._steps.run(steps)
        wait_for(self._callback.model)
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights; those of a training that is under way are the callback's to ask for."""
        return tuple(np.array(value) for value in self._steps.call(self._callback.model.get_weights))
