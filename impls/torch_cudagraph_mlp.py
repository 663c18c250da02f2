"""The network in torch on a GPU, tuned: compiled steps in CUDA graphs, so that Python does not stand between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from impls.interface import Batches, Params, Trainer
from impls.torch_compile_mlp import cost_function
from impls.torch_mlp import place

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.workload import Workload

CHUNK = 20  # steps in the longer one of the two graphs
WARM_UPS = 3  # as torch's documentation has it: what is captured must have been compiled and tuned before


def captured(step: Callable[[int], object], steps: int, device: torch.device) -> Callable[[], object]:
    """Return what repeats ``step(0)`` to ``step(steps - 1)`` on ``device``, as one CUDA graph."""
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


class GraphTrainer(Trainer):
    """Weights, place and losses lie where two graphs have them: one of ``CHUNK`` steps, and one of a single step.

    Both leave their losses at the beginning of ``_losses``, and add their steps to ``_place``, the next minibatch.
    """

    place = staticmethod(place)
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

    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Put the data on ``device``, compile the update and capture it."""
        torch._dynamo.reset()  # noqa: SLF001  # an earlier trainer's graphs, since none of ours has guards to tell them apart
        count = len(data)
        images, labels = (each.unflatten(0, (count, data.batch_size)) for each in self.place(data, device))
        self._params = tuple(torch.zeros(shape, device=device) for shape in workload.shapes.values())
        # Which minibatch is next: on the device, since a graph repeats what it was captured with.
        self._place = torch.zeros(1, dtype=torch.long, device=device)
        self._losses = torch.zeros(CHUNK, device=device)
        self._batches = count
        cost = cost_function(workload, torch.device(device))

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

        self._step = step  # keeps the images: a graph knows addresses, and holds no tensor
        self._chunk, self._single = (captured(step, steps, torch.device(device)) for steps in (CHUNK, 1))
