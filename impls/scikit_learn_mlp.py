"""The network in scikit-learn: MLPClassifier, whose partial_fit does one step where it is given one minibatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
from sklearn.neural_network import MLPClassifier

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

# What its documentation calls these activations. Its relu has the slope 0 at 0, where the mean of both is 1/2.
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "logistic"}


def classifier(workload: Workload) -> MLPClassifier:
    """Return the network with plain SGD: no momentum, no penalty, no shuffling."""
    return MLPClassifier(
        hidden_layer_sizes=[workload.hidden] if workload.model == "mlp" else [],
        activation=ACTIVATIONS[workload.activation],
        solver="sgd",
        alpha=0,
        batch_size=workload.batch_size,
        learning_rate_init=workload.learning_rate,
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
        random_state=workload.seed,
    )


@final
class ScikitLearnTrainer(Trainer):
    """What scikit-learn's users write for data that come in pieces."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Do one step, which makes the weights; ``device`` can only be the CPU.

        Raises:
            ValueError: the workload has fewer than three classes.
        """
        del device
        if workload.classes < 3:
            raise ValueError(f"scikit-learn has one output for {workload.classes} classes; use a data set with more")
        self._data, self._model = data, classifier(workload)
        rows = slice(data.batch_size)
        self._model.partial_fit(data.images[rows], data.labels[rows], classes=np.arange(workload.classes))
        layers = zip(self._model.coefs_, self._model.intercepts_, strict=True)
        # partial_fit updates these arrays in place.
        self._params: Params = tuple(weights for layer in layers for weights in layer)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own[...] = given

    def _step(self, k: int) -> float:
        rows = slice(k * self._data.batch_size, (k + 1) * self._data.batch_size)
        x, y = self._data.images[rows], self._data.labels[rows]
        loss: float = self._model.partial_fit(x, y).loss_  # before the update
        return loss

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; numpy has finished each call when it returns."""
        return np.array([self._step(step % len(self._data)) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
