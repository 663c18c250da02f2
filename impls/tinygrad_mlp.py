"""The network in tinygrad: its tensors, nn.optim.SGD and TinyJit for each step, as its examples teach."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import ziglang
from tinygrad import Context, Tensor, TinyJit, dtypes, nn

from impls.compiled import refuse_noexec
from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def provide_clang() -> None:
    """Make the program that ``CC`` names, if it is not there: it calls the clang in ziglang's wheel.

    tinygrad compiles with nothing but clang, whose path can have no arguments.

    Raises:
        RuntimeError: it could not be executed.
    """
    refuse_noexec()
    program = Path(os.environ.get("CC", ""))
    if not program.is_absolute() or program.exists():
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    script = program.with_name(f"{program.name}-{os.getpid()}")
    script.write_text(f'#!/bin/sh\nexec "{Path(ziglang.__file__).with_name("zig")}" clang "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    script.replace(program)  # complete: another worker may be making it too


def leaky(z: Tensor, leak: float | Tensor) -> Tensor:
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    return ((1 + leak) * z + (1 - leak) * z.abs()) / 2


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "tanh": lambda z, workload: z.tanh(),
    "sigmoid": lambda z, workload: z.sigmoid(),
    "hard_sigmoid": lambda z, workload: (z + 0.5).clip(0, 1),
    "hard_tanh": lambda z, workload: z.clip(-1, 1),
    "relu": lambda z, workload: leaky(z, 0),
    "leaky_relu": lambda z, workload: leaky(z, workload.leak),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": lambda z, workload: z.unflatten(1, (-1, workload.n_pool)).max(2),  # equal maxima share the gradient
}


@final
class Activation:
    """An entry of ``ACTIVATIONS`` as a layer, with the parameter that prelu learns."""

    def __init__(self, workload: Workload) -> None:
        """Make the parameters that only this activation has."""
        self._workload, self._function = workload, ACTIVATIONS[workload.activation]
        self.learned = [Tensor.zeros(*shape) for name, shape in workload.shapes.items() if name == "leak"]

    def __call__(self, z: Tensor) -> Tensor:
        """Return the hidden layer's output, (batch, hidden)."""
        return self._function(z, self._workload, *self.learned)


@final
class Model:
    """The layers; tinygrad finds their weights in the order of the workload's shapes."""

    def __init__(self, workload: Workload) -> None:
        """Make the layers."""
        shapes = workload.shapes
        hidden = [nn.Linear(*shapes["w1"]), Activation(workload)] if workload.model == "mlp" else []
        self.layers = [*hidden, nn.Linear(*shapes["w2"])]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (batch, classes) of a minibatch (batch, inputs)."""
        return x.sequential(self.layers)


def views(array: np.ndarray[Any, Any], rows: int, dtype: Any) -> list[Tensor]:  # noqa: ANN401  # tinygrad's
    """Return each run of so many ``rows`` of ``array`` as a tensor in its memory, which the caller has to keep."""
    parts = (array[k : k + rows] for k in range(0, len(array), rows))
    return [Tensor.from_blob(part.ctypes.data, part.shape, dtype=dtype) for part in parts]


@final
class TinygradTrainer(Trainer):
    """What tinygrad's users write: one step, which TinyJit captures at its second call and replays from then on."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make the model and cut the data to minibatches; ``device`` can only be the CPU."""
        del device
        provide_clang()
        self._data = data
        self._images = views(data.images, data.batch_size, dtypes.float32)
        self._labels = views(data.labels, data.batch_size, dtypes.int32)
        model = Model(workload)
        self._params = nn.state.get_parameters(model)
        optimizer = nn.optim.SGD(self._params, lr=workload.learning_rate)

        @TinyJit
        @Context(TRAINING=1)
        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = model(x).sparse_categorical_crossentropy(y).backward()
            return loss.realize(*optimizer.schedule_step())

        self._step: Any = step

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``; nn.Linear holds its matrix transposed."""
        for own, given in zip(self._params, params, strict=True):
            own.realize().assign(Tensor(given.T)).realize()

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; item() waits for each, and the next one overwrites its loss."""
        losses = np.empty(steps, np.float32)
        for step in range(steps):
            k = (first + step) % len(self._images)
            losses[step] = self._step(self._images[k], self._labels[k]).item()
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.numpy().T.copy() for value in self._params)
