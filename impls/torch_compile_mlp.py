"""The network in torch, tuned: forward, backward and update are one compiled function that writes into the weights."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch

from impls.compiled import refuse_noexec
from impls.torch_mlp import ACTIVATIONS, TorchBase, forward_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload


def cost_function(workload: Workload, device: torch.device) -> Callable[..., torch.Tensor]:
    """Return the mean cross-entropy as a function of the weights and of a minibatch, (batch, inputs) and (batch,)."""
    activate, forward = ACTIVATIONS[workload.activation], forward_context(workload, device)

    def layer(x: torch.Tensor, w1: torch.Tensor, b1: torch.Tensor, *leak: torch.Tensor) -> torch.Tensor:
        return activate(x @ w1 + b1, workload, *leak)

    hidden_layer = layer if workload.model == "mlp" else lambda x: x

    def cost(params: tuple[torch.Tensor, ...], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        *first, w2, b2 = params
        with forward:
            hidden = hidden_layer(x, *first)
            logits = hidden @ w2 + b2
            return torch.nn.functional.cross_entropy(logits, y)

    return cost


def check_folders() -> None:
    """Check that inductor can compile C++ where torch is and where it writes its files: it does not quote their paths.

    Raises:
        RuntimeError: a folder's path has a space, a quotation mark or a backslash, or a folder is mounted noexec.
    """
    refuse_noexec()
    another_python = "give another interpreter with --python torch-compile=PATH"
    remedies = {
        tempfile.gettempdir(): "set TMPDIR",
        os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""): "set TMPDIR",
        str(Path(torch.__file__).parent): another_python,
        sysconfig.get_path("include"): another_python,
    }
    for folder, remedy in remedies.items():
        if any(character.isspace() or character in "'\"\\" for character in folder):
            fact = f"torch cannot compile below a path with spaces, quotes or backslashes: {folder!r}"
            raise RuntimeError(f"{fact}; {remedy}")


@final
class TorchCompileTrainer(TorchBase):
    """What torch's experts write: a functional gradient, so that inductor sees the whole step."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Define the update; inductor compiles it at the first step."""
        if not device.is_gpu:
            check_folders()
        # Forget an earlier trainer's graph: without guards torch would take it for this one's.
        torch._dynamo.reset()  # noqa: SLF001
        self._device = torch.device(device.in_torch)
        self._images, self._labels = (torch.split(array, data.batch_size) for array in (data.images, data.labels))
        self._params = tuple(torch.zeros(shape, device=self._device) for shape in workload.shapes.values())

        cost = cost_function(workload, self._device)

        def step(params: tuple[torch.Tensor, ...], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            gradients, loss = torch.func.grad_and_value(cost)(params, x, y)
            for p, g in zip(params, gradients, strict=True):
                p.sub_(g, alpha=workload.learning_rate)
            return loss

        # Every step has the same shapes, so nothing has to be checked before each call. Hand-written gradients with
        # addmm_ and the C++ wrapper were not faster in one short, noisy run.
        self._step = torch.compile(
            step, fullgraph=True, dynamic=False, options={"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        )

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.copy_(torch.from_numpy(given))

    @torch.no_grad()
    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        # In one tensor: one small tensor per step would fragment the memory that steps free and reuse.
        losses = torch.empty(steps, device=self._device)
        for step in range(steps):
            k = (first + step) % len(self._images)
            losses[step] = self._step(self._params, self._images[k], self._labels[k])
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        host: Float32 = losses.cpu().numpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.cpu().numpy().copy() for value in self._params)
