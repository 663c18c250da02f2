"""The network in torch, eager: nn modules, autograd and optim.SGD, as its tutorials teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import nn

from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload


@final
class TorchTrainer(Trainer):
    """What torch's users write: forward, backward, optimizer.step()."""

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Build the modules and move them and the data to ``device``."""
        torch.set_float32_matmul_precision("highest")  # no TF32: precision is part of the workload
        self._device = torch.device(device)
        self._images = torch.from_numpy(data.images).to(self._device).split(data.batch_size)
        self._labels = torch.from_numpy(data.labels).long().to(self._device).split(data.batch_size)
        self._model = nn.Sequential(
            nn.Linear(workload.inputs, workload.hidden),
            nn.Tanh(),
            nn.Linear(workload.hidden, workload.classes),
        ).to(self._device)
        self._cost = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=workload.learning_rate)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``; nn.Linear holds its matrix transposed."""
        with torch.no_grad():
            for own, given in zip(self._model.parameters(), params, strict=True):
                own.copy_(torch.from_numpy(given.T))

    def _step(self, k: int) -> torch.Tensor:
        self._optimizer.zero_grad()
        loss: torch.Tensor = self._cost(self._model(self._images[k]), self._labels[k])
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def run(self, steps: int) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        # In one tensor: a small one kept from each step would lie between the blocks that steps free, and split them.
        losses = torch.empty(steps, device=self._device)
        for step in range(steps):
            losses[step] = self._step(step % len(self._images))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        host: Float32 = losses.cpu().numpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return Params(*(value.detach().cpu().numpy().T.copy() for value in self._model.parameters()))
