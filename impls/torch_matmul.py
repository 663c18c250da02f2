"""The step's five matrix products and nothing else, in torch: a bound for every case, not an implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import torch

from impls.torch_mlp import TorchBase

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


@final
class TorchMatmul(TorchBase):
    """A training step without its elementwise work: the products of a linear network, into buffers that are kept."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the buffers."""
        torch.set_float32_matmul_precision("highest")
        self._device = torch.device(device.in_torch)
        self._images = torch.split(data.images, data.batch_size)
        self._hidden = torch.empty(data.batch_size, workload.hidden, device=self._device)
        self._logits = torch.empty(data.batch_size, workload.classes, device=self._device)
        self._d_hidden = torch.empty_like(self._hidden)

    def load(self, params: Params) -> None:
        """Put the weights on the device, and make buffers of the shapes of their gradients."""
        w1, b1, w2, b2 = params
        self._biases = b1, b2
        self._w1, self._w2 = (torch.tensor(value, device=self._device) for value in (w1, w2))
        self._d_w1, self._d_w2 = torch.empty_like(self._w1), torch.empty_like(self._w2)

    @torch.no_grad()
    def run(self, steps: int, first: int = 0) -> Float32:
        """Do the products of ``steps`` steps, then wait for the device; the losses are zero, since there are none."""
        hidden, logits, d_hidden = self._hidden, self._logits, self._d_hidden
        for step in range(first, first + steps):
            x = self._images[step % len(self._images)]
            torch.mm(x, self._w1, out=hidden)
            torch.mm(hidden, self._w2, out=logits)
            torch.mm(logits, self._w2.T, out=d_hidden)
            torch.mm(x.T, d_hidden, out=self._d_w1)
            torch.mm(hidden.T, logits, out=self._d_w2)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return np.zeros(steps, np.float32)

    def params(self) -> Params:
        """Return the last step's two products that have the shapes of weights; they depend on all five."""
        return self._d_w1.cpu().numpy().copy(), self._biases[0], self._d_w2.cpu().numpy().copy(), self._biases[1]
