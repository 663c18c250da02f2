"""The network in torch, eager: nn modules, autograd and optim.SGD, as its tutorials teach."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from impls.devices import kind_of
from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

BUILDS = {"cuda": "CUDA", "rocm": "HIP"}  # of torch, of which each has one of the two


def forward_context(workload: Workload, device: torch.device) -> AbstractContextManager[object]:
    """Allow TF32 only where the workload asks for it; return the context for the forward pass.

    bfloat16 is autocast's: operands and results of products are bfloat16, backward too; everything else is float32.
    """
    torch.set_float32_matmul_precision("high" if workload.precision == "tf32" else "highest")
    if workload.precision == "bfloat16":
        # The weights change at each step, so a cache of their casts would never be used.
        autocast: AbstractContextManager[object] = torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
        return autocast
    return nullcontext()


def leaky(z: torch.Tensor, leak: float | torch.Tensor) -> torch.Tensor:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * z.abs()) / 2


ACTIVATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "tanh": lambda z, workload: torch.tanh(z),
    "sigmoid": lambda z, workload: torch.sigmoid(z),
    "hard_sigmoid": lambda z, workload: (z + 0.5).clamp(0, 1),
    "hard_tanh": lambda z, workload: z.clamp(-1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": lambda z, workload: z.unflatten(1, (-1, workload.n_pool)).amax(2),  # equal maxima share the gradient
}


@final
class Activation(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """An entry of ``ACTIVATIONS`` as a module, with the parameter that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the parameters that only this activation has."""
        super().__init__()
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        learned = [workload.shapes["leak"]] if "leak" in workload.shapes else []
        self._learned = nn.ParameterList(torch.zeros(shape) for shape in learned)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z.float(), self._workload, *self._learned)


class TorchBase(Trainer):
    """What torch's trainers share: the data are torch's tensors on one device."""

    @staticmethod
    def count(kind: str) -> int:
        """Return how many devices of ``kind`` torch can use; CUDA and HIP, which torch calls cuda too, are two builds.

        ``init`` raises what is wrong, as with a driver that is too old, where ``device_count`` would be 0 or worse. A
        GPU for which this build has no code is counted all the same: what is wrong with it only a product raises.
        """
        built_for = "HIP" if torch.version.hip else "CUDA" if torch.version.cuda else ""
        if built_for and BUILDS.get(kind, built_for) != built_for:
            raise RuntimeError(f"this torch is built for {built_for}")
        backend = getattr(torch, kind_of(kind).torch)
        backend.init()
        count = int(backend.device_count())
        if count:
            ones = torch.ones(2, 2, device=kind_of(kind).torch)
            (ones @ ones).cpu()
        return count

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return images (rows, inputs) and labels (rows,), int64 as torch's loss takes them, on ``device``."""
        images = torch.from_numpy(data.images).to(device.in_torch)
        labels = torch.from_numpy(data.labels).long().to(device.in_torch)
        if images.device.type != "cpu":
            torch.accelerator.synchronize(images.device)
        return Batches(images, labels, data.batch_size)


@final
class TorchTrainer(TorchBase):
    """What torch's users write: forward, backward, optimizer.step()."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the modules on ``device``."""
        self._device = torch.device(device.in_torch)
        self._forward = forward_context(workload, self._device)
        self._images, self._labels = (torch.split(array, data.batch_size) for array in (data.images, data.labels))
        shapes = workload.shapes
        hidden = [nn.Linear(*shapes["w1"]), Activation(workload)] if workload.model == "mlp" else []
        self._model = nn.Sequential(*hidden, nn.Linear(*shapes["w2"])).to(self._device)
        self._cost = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=workload.learning_rate)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``; nn.Linear holds its matrix transposed."""
        with torch.no_grad():
            for own, given in zip(self._model.parameters(), params, strict=True):
                own.copy_(torch.from_numpy(given.T))

    def _step(self, k: int) -> torch.Tensor:
        self._optimizer.zero_grad()
        with self._forward:
            loss: torch.Tensor = self._cost(self._model(self._images[k]), self._labels[k])
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        # In one tensor: one small tensor per step would fragment the memory that steps free and reuse.
        losses = torch.empty(steps, device=self._device)
        for step in range(steps):
            losses[step] = self._step((first + step) % len(self._images))
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        host: Float32 = losses.cpu().numpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.detach().cpu().numpy().T.copy() for value in self._model.parameters())
