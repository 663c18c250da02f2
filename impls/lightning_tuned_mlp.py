"""The network in Lightning, tuned: a Trainer without extras over minibatches that are cut once."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch.utils.data import DataLoader

from impls.lightning_mlp import LightningBase

if TYPE_CHECKING:
    from impls.interface import Batches
    from impls.lanes import Device
    from impls.workload import Workload


@final
class LightningTunedTrainer(LightningBase):
    """What Lightning's experts write: no minibatch is put together, as each is a view of the data."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Prepare the training on views, which a DataLoader without a batch size hands on as they are."""
        del device
        images, labels = (torch.split(array, data.batch_size) for array in (data.images, data.labels))
        minibatches = list(zip(images, labels, strict=True))

        def loader(first: int) -> DataLoader:
            return DataLoader(minibatches[first:], batch_size=None)

        self._prepare(workload, data, loader, barebones=True)
