"""What an implementation must do, and the data that it trains on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from impls.workload import Float32, Floats, Int32, Params

if TYPE_CHECKING:
    from impls.lanes import Device
    from impls.workload import Workload

__all__ = ["Batches", "Float32", "Floats", "Int32", "Params", "Trainer"]


@dataclass(frozen=True)
class Batches:
    """The training set, cut to whole minibatches: minibatch ``k`` is the ``k``-th run of ``batch_size`` rows.

    ``images`` (rows, inputs) float32 in [0, 1); ``labels`` (rows,) int32. After ``Trainer.place`` both are whatever
    arrays the framework computes with.
    """

    images: Float32
    labels: Int32
    batch_size: int

    def __len__(self) -> int:
        """Return the number of minibatches."""
        return len(self.labels) // self.batch_size


class Trainer(ABC):
    """One network and its SGD on one device. Final subclasses; none reads a clock.

    The worker calls ``count`` unless the device is the CPU, ``place``, the constructor with what ``place`` returned,
    and then ``load``, ``run`` and ``params`` as often as it likes.
    """

    @staticmethod
    def count(kind: str) -> int | None:
        """Return how many devices of ``kind`` the framework can use, or None if that shows only when it uses one.

        It may raise whatever the framework raises, which then is the reason why there are none.
        """
        del kind
        return None

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Return ``data`` as the constructor takes it, in the memory of ``device``, when all of it is there.

        This default is for frameworks that compute on numpy's arrays.
        """
        del device
        return data

    @abstractmethod
    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build whatever is built once; ``data`` is what ``place`` returned, and need not be copied."""

    @abstractmethod
    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""

    @abstractmethod
    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates of the current weights, starting at minibatch ``first``, in order, wrapping around.

        ``first`` may be greater than the number of minibatches: it wraps around too.

        Returns the loss of each step before its update, shape (steps,), in host memory, and returns only when
        every update has finished.
        """

    @abstractmethod
    def params(self) -> Params:
        """Return a host copy of the weights."""
