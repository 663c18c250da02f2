"""The network in Lightning: a LightningModule and a Trainer over a DataLoader, as its tutorials teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import lightning
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from impls.interface import Batches
from impls.stepwise import Stepwise
from impls.torch_mlp import Activation, TorchBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload

# What is no part of the training.
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@final
class Network(lightning.LightningModule):  # type: ignore[misc]  # lightning is not installed where mypy runs
    """The modules, the loss and the optimizer."""

    def __init__(self, workload: Workload) -> None:
        """Build the modules."""
        super().__init__()
        shapes = workload.shapes
        hidden = [nn.Linear(*shapes["w1"]), Activation(workload)] if workload.model == "mlp" else []
        self._layers = nn.Sequential(*hidden, nn.Linear(*shapes["w2"]))
        self._cost, self._learning_rate = nn.CrossEntropyLoss(), workload.learning_rate

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a minibatch."""
        del batch_idx
        x, y = batch
        loss: torch.Tensor = self._cost(self._layers(x), y)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=self._learning_rate)


@final
class Steps(lightning.Callback):  # type: ignore[misc]
    """What ``fit`` calls: before each step it waits until this is asked for."""

    def __init__(self, steps: Stepwise) -> None:
        """Let ``steps`` hold ``fit`` up and have the losses."""
        self._steps = steps

    def on_train_batch_start(self, *_: object) -> None:
        """Wait until the step is asked for."""
        self._steps.before_step()

    def on_train_batch_end(self, trainer: object, module: object, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Keep the loss."""
        del trainer, module
        self._steps.after_step(self._steps.begun - 1, float(outputs["loss"]))


class LightningBase(TorchBase):
    """What Lightning's trainers share: a Trainer that fits the module in a thread of its own."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,), int64 as torch's loss takes them; numpy converts them."""
        del device
        return Batches(torch.from_numpy(data.images), torch.from_numpy(data.labels.astype(np.int64)), data.batch_size)

    def _prepare(
        self, workload: Workload, data: Batches, loader: Callable[[int], DataLoader], **settings: object
    ) -> None:
        """Build the module; ``loader`` gives the minibatches from the one with this number to the end of the pass."""
        self._batches = len(data)

        def train(first: int) -> None:
            shared = {"accelerator": "cpu", "devices": 1, "callbacks": [Steps(steps)], **settings}
            if first:
                lightning.Trainer(max_epochs=1, **shared).fit(model, loader(first))
            lightning.Trainer(max_epochs=-1, **shared).fit(model, loader(0))

        self._steps = steps = Stepwise(self, train)
        self._model = model = steps.call(lambda: Network(workload))

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``, while ``fit`` waits before the first minibatch."""
        self._steps.begin_at(0, self._batches)
        self._steps.call(lambda: self._overwrite(params))

    def _overwrite(self, params: Params) -> None:
        with torch.no_grad():
            for own, given in zip(self._model.parameters(), params, strict=True):
                own.copy_(torch.from_numpy(given.T))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; torch has finished each call when it returns."""
        self._steps.begin_at(first, self._batches)
        return self._steps.run(steps)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.detach().numpy().T.copy() for value in self._model.parameters())


@final
class LightningTrainer(LightningBase):
    """What Lightning's users write."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Prepare the training on a DataLoader, which stacks each minibatch of single rows."""
        del device

        def loader(first: int) -> DataLoader:
            begin = first * data.batch_size
            return DataLoader(TensorDataset(data.images[begin:], data.labels[begin:]), data.batch_size)

        self._prepare(workload, data, loader, **QUIET)
