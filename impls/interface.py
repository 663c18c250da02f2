"""What an implementation must do, and the arrays that it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from impls.workload import Workload

    Floats = npt.NDArray[np.floating]
    Float32 = npt.NDArray[np.float32]
    Int32 = npt.NDArray[np.int32]

# The weights in host memory, C order, in the order and with the shapes of ``Workload.shapes``: float32 but for the
# reference's own, which are float64.
Params: TypeAlias = "tuple[Floats, ...]"


class Batches(NamedTuple):
    """The training set, cut to whole minibatches: minibatch ``k`` is the ``k``-th run of ``batch_size`` rows.

    ``images`` (rows, inputs) float32 in [0, 1); ``labels`` (rows,) int32.
    """

    images: Float32
    labels: Int32
    batch_size: int

    def __len__(self) -> int:
        """Return the number of minibatches."""
        return len(self.labels) // self.batch_size


class Trainer(ABC):
    """One network and its SGD on one device. Final subclasses; none reads a clock."""

    @abstractmethod
    def __init__(self, workload: Workload, data: Batches, device: str) -> None:
        """Build the graph and put the training set on the device, once."""

    @staticmethod
    def place(data: Batches, device: str) -> tuple[Any, Any] | None:
        """Return images and labels as the constructor keeps them on ``device``, when all of them are there.

        The harness times it by itself where the device has a memory of its own; None: it cannot be told.
        """
        del data, device
        return None

    @abstractmethod
    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""

    @abstractmethod
    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates of the present weights from minibatch ``first`` on, in order, wrapping around.

        ``first`` may lie past the last minibatch: then it counts from the beginning again.

        Returns the loss of each step before its update, shape (steps,), in host memory, and returns only when
        every update has finished.
        """

    @abstractmethod
    def params(self) -> Params:
        """Return a host copy of the weights."""
