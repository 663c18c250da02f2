"""Where a round starts and what is kept of it: a course is the part of a campaign that its protocol decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, final

from bench.records import State
from bench.reference import error_rate

if TYPE_CHECKING:
    from bench.data import Dataset
    from bench.records import CaseRecord
    from bench.workers import Run, Worker
    from impls.interface import Params
    from impls.workload import Workload


class Stretch(NamedTuple):
    """``steps`` updates from minibatch ``first`` on; ``weights`` to start from, or None for the initial ones."""

    name: str
    steps: int
    first: int = 0
    weights: Params | None = None


class Course(ABC):
    """What the rounds of every case are made of. Final subclasses; none reads a clock."""

    @abstractmethod
    def join(self, record: CaseRecord) -> None:
        """A worker of ``record``'s case has started and has told its versions."""

    @abstractmethod
    def stretch(self, record: CaseRecord, turn: int) -> Stretch | None:
        """Return what the case does in ``turn``, or None where that has been done before."""

    @abstractmethod
    def keep(self, record: CaseRecord, run: Run, worker: Worker) -> None:
        """Keep what a turn's last attempt has left: its losses, and the weights that ``worker`` holds."""

    @abstractmethod
    def close(self, record: CaseRecord) -> None:
        """Nothing more will be measured: add what the network has learned, or give the case up as unfinished."""


def error_rates(workload: Workload, params: Params, dataset: Dataset) -> dict[str, float]:
    """Return the error rates (percent) on the three splits."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: error_rate(workload, params, split) for name, split in splits.items()}


@final
class Rounds(Course):
    """The protocol "iterations": every round is the same training, from the initial weights."""

    def __init__(self, workload: Workload, dataset: Dataset, steps: int) -> None:
        """Let a round have ``steps`` updates; its weights are judged on ``dataset``."""
        self._workload, self._dataset, self._steps = workload, dataset, steps
        self._trained: dict[str, Params] = {}

    def join(self, record: CaseRecord) -> None:
        """Take nothing over from an earlier worker."""

    def stretch(self, record: CaseRecord, turn: int) -> Stretch:
        """Return the same for every turn."""
        del record
        return Stretch(f"round {turn + 1}", self._steps)

    def keep(self, record: CaseRecord, run: Run, worker: Worker) -> None:
        """Keep one round's losses and weights: they stand for all."""
        if not record.losses:
            record.losses = run.losses.tolist()
            self._trained[record.case] = worker.params()

    def close(self, record: CaseRecord) -> None:
        """Add the error rates after one round."""
        if record.case in self._trained:
            record.error_rates = error_rates(self._workload, self._trained[record.case], self._dataset)
        if not record.rounds:
            record.give_up(State.SKIPPED, "interrupted before its first round")
