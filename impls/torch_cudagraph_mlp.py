"""The network in torch on a GPU, tuned: compiled steps in CUDA graphs, so that Python does not stand between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from impls.interface import Batches, Params, Trainer
from impls.torch_compile_mlp import cost_function

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.workload import Workload

CHUNK = 20  # steps in the longer one of the two graphs
WARM_UPS = 3  # as torch's documentation has it: what is captured must have been compiled and tuned before


@final
class TorchCudagraphTrainer(Trainer):
    """What torch's experts write where a step is shorter than the launch of its kernels."""

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Put the data on ``device``, compile the update and capture it."""
        torch._dynamo.reset()  # noqa: SLF001  # an earlier trainer's graphs, since none of ours has guards to tell them apart
        torch.cuda.set_device(device)
        count, rows = len(data), data.batch_size
        images = torch.from_numpy(data.images).to(device).view(count, rows, workload.inputs)
        labels = torch.from_numpy(data.labels).long().to(device).view(count, rows)
        self._params = tuple(torch.zeros(shape, device=device) for shape in workload.shapes.values())
        # Which minibatch is next: on the device, since a graph repeats what it was captured with.
        self._place = torch.zeros(1, dtype=torch.long, device=device)
        self._losses = torch.zeros(CHUNK, device=device)
        self._batches, self._device = count, device
        cost = cost_function(workload, torch.device(device))

        def step(params: tuple[torch.Tensor, ...], place: torch.Tensor) -> torch.Tensor:
            x, y = images.index_select(0, place)[0], labels.index_select(0, place)[0]
            gradients, loss = torch.func.grad_and_value(cost)(params, x, y)
            for p, g in zip(params, gradients, strict=True):
                p.sub_(g, alpha=workload.learning_rate)
            place.add_(1).remainder_(count)
            return loss

        self._step = torch.compile(
            step, fullgraph=True, dynamic=False, options={"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        )
        self._chunk, self._single = self._captured(CHUNK), self._captured(1)

    @torch.no_grad()
    def _captured(self, steps: int) -> torch.cuda.CUDAGraph:
        """Return a graph of ``steps`` updates, whose losses are the first of ``_losses``."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._step(self._params, self._place)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for number in range(steps):
                self._losses[number].copy_(self._step(self._params, self._place))
        return graph

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.copy_(torch.from_numpy(given))

    @torch.no_grad()
    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates, then wait for the device."""
        self._place.fill_(first % self._batches)
        losses = torch.empty(steps, device=self._device)
        chunks, rest = divmod(steps, CHUNK)
        for begin, count, graph in [
            *((CHUNK * number, CHUNK, self._chunk) for number in range(chunks)),
            *((CHUNK * chunks + number, 1, self._single) for number in range(rest)),
        ]:
            graph.replay()
            losses[begin : begin + count] = self._losses[:count]
        torch.cuda.synchronize(self._device)
        host: Float32 = losses.cpu().numpy()
        return host

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.cpu().numpy().copy() for value in self._params)
