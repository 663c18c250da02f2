"""The network in torch on a GPU, tuned: compiled steps in CUDA graphs, so that no Python runs between two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from impls.torch_compile_mlp import cost_function
from impls.torch_lanes import CHUNK
from impls.torch_mlp import TorchBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Batches, Float32, Params
    from impls.lanes import Device
    from impls.workload import Workload

WARM_UPS = 3  # as in torch's documentation: a step must be compiled and tuned before it is captured


def captured(step: Callable[[int], object], steps: int, device: torch.device) -> Callable[[], object]:
    """Return a function that repeats ``step(0)`` to ``step(steps - 1)`` on ``device``, as one CUDA graph."""
    torch.cuda.set_device(device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            step(0)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        for number in range(steps):
            step(number)
    replay: Callable[[], object] = graph.replay
    return replay


def repeated(step: Callable[[int], object], steps: int, device: torch.device) -> Callable[[], object]:
    """Return a function that repeats ``step(0)`` to ``step(steps - 1)``; on a CPU, which has no graphs, in a loop."""
    if device.type == "cpu":
        looped: Callable[[], object] = torch.no_grad()(lambda: list(map(step, range(steps))))
        return looped
    return captured(step, steps, device)


class GraphTrainer(TorchBase):
    """Trains with two CUDA graphs, one of ``CHUNK`` steps and one of a single step, which share all buffers.

    Both write their losses to the beginning of ``_losses`` and advance ``_place``, the number of the next minibatch.
    """

    _params: tuple[torch.Tensor, ...]
    _place: torch.Tensor
    _losses: torch.Tensor
    _batches: int
    _chunk: Callable[[], object]
    _single: Callable[[], object]

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.copy_(torch.from_numpy(given))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, ``CHUNK`` at a time and the rest one by one, then wait for the device."""
        self._place.fill_(first % self._batches)
        losses = torch.empty(steps, device=self._losses.device)
        whole = steps - steps % CHUNK
        for begin in range(0, whole, CHUNK):
            self._chunk()
            losses[begin : begin + CHUNK] = self._losses
        for step in range(whole, steps):
            self._single()
            losses[step] = self._losses[0]
        if losses.is_cuda:
            torch.cuda.synchronize(losses.device)
        host: Float32 = losses.cpu().numpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.cpu().numpy().copy() for value in self._params)


@final
class TorchCudagraphTrainer(GraphTrainer):
    """What torch's experts write where a step is shorter than the launch of its kernels."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the update and capture it."""
        # Forget an earlier trainer's graph: without guards torch would take it for this one's.
        torch._dynamo.reset()  # noqa: SLF001
        gpu, count = torch.device(device.in_torch), len(data)
        images, labels = (torch.unflatten(array, 0, (count, data.batch_size)) for array in (data.images, data.labels))
        self._params = tuple(torch.zeros(shape, device=gpu) for shape in workload.shapes.values())
        # Which minibatch is next: on the device, since a graph repeats the values that it was captured with.
        self._place = torch.zeros(1, dtype=torch.long, device=gpu)
        self._losses = torch.zeros(CHUNK, device=gpu)
        self._batches = count
        cost = cost_function(workload, gpu)

        def update(params: tuple[torch.Tensor, ...], place: torch.Tensor) -> torch.Tensor:
            x, y = images.index_select(0, place)[0], labels.index_select(0, place)[0]
            gradients, loss = torch.func.grad_and_value(cost)(params, x, y)
            for p, g in zip(params, gradients, strict=True):
                p.sub_(g, alpha=workload.learning_rate)
            place.add_(1).remainder_(count)
            return loss

        compiled = torch.compile(
            update, fullgraph=True, dynamic=False, options={"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        )

        def step(number: int) -> None:
            self._losses[number].copy_(compiled(self._params, self._place))

        self._step = step  # keeps the images alive: a graph has their address, but no reference
        self._chunk, self._single = (repeated(step, steps, gpu) for steps in (CHUNK, 1))
