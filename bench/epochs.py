"""The course of the protocol "epochs": one long training in blocks, whose state survives the process."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

import numpy as np
from pydantic import TypeAdapter

from bench.course import Course, Stretch, error_rates
from bench.records import CaseRecord, CurvePoint, State
from bench.reference import error_rate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.data import Dataset
    from bench.workers import Run, Worker
    from impls.interface import Params
    from impls.workload import Workload

EPOCHS = {"mlp": 1000, "linear": 100}  # the book's "1,000 iterations"; of its linear model it gives no number
BLOCK = 1000  # updates between two validations: the book's
RECORD = TypeAdapter(CaseRecord)


@dataclass(frozen=True)
class Checkpoint:
    """A training after whole blocks: the record so far, the validation error (%) after each block, and the weights."""

    record: CaseRecord
    errors: tuple[float, ...]
    weights: Params


@dataclass(frozen=True)
class Checkpoints:
    """The unfinished trainings of one run, a file each in ``folder``.

    ``conditions`` are what has to be the same before a training may go on: they and the worker's versions are part of
    the file's name, so that a change starts anew and harms nothing.
    """

    folder: Path
    conditions: dict[str, Any]

    def path(self, record: CaseRecord) -> Path:
        """Return the file for a case that runs with ``record``'s versions."""
        text = json.dumps([record.case, record.versions, self.conditions], sort_keys=True)
        return self.folder / f"{record.case}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"

    def read(self, record: CaseRecord) -> Checkpoint | None:
        """Return the state that the case was left in, if there is one."""
        path = self.path(record)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as saved:
            weights = tuple(saved[name] for name in sorted(saved.files) if name.startswith("weights"))
            return Checkpoint(RECORD.validate_json(saved["record"].tobytes()), tuple(saved["errors"].tolist()), weights)

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the case's file: at every moment the old or the new one is there, whole, even if the power fails."""
        content = io.BytesIO()
        text = json.dumps(checkpoint.record.as_dict()).encode()
        weights = {f"weights{number}": value for number, value in enumerate(checkpoint.weights)}
        np.savez(content, record=np.frombuffer(text, np.uint8), errors=np.array(checkpoint.errors), **weights)  # type: ignore[arg-type]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(checkpoint.record)
        with path.with_suffix(".part").open("wb") as file:
            file.write(content.getbuffer())
            os.fsync(file.fileno())
        path.with_suffix(".part").replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def remove(self, record: CaseRecord) -> None:
        """Remove the case's file."""
        self.path(record).unlink(missing_ok=True)


def source_digest(root: Path) -> str:
    """Return a checksum of the implementations below ``root``: a training never goes on with other code."""
    digest = hashlib.sha256()
    for path in sorted((root / "impls").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@final
class Epochs(Course):
    """Each case trains once, ``epochs`` passes long; a turn is one block, and goes on where the last one ended."""

    def __init__(self, workload: Workload, dataset: Dataset, epochs: int, checkpoints: Checkpoints) -> None:
        """Prepare the blocks; ``checkpoints`` are read when the cases' workers start."""
        self.epochs, self.updates = epochs, epochs * (len(dataset.train.labels) // workload.batch_size)
        self.ends = (*range(BLOCK, self.updates, BLOCK), self.updates)
        self.checkpoints = checkpoints
        self._workload, self._dataset = workload, dataset
        self._states: dict[str, Checkpoint] = {}

    def join(self, record: CaseRecord) -> None:
        """Go on from the case's checkpoint; the new process is one more launch."""
        if record.case not in self._states and (found := self.checkpoints.read(record)):
            self._states[record.case] = found
            former, (launch,) = found.record, record.launches
            record.launches = [*former.launches, replace(launch, launch=len(former.launches))]
            record.rounds, record.peak_bytes = former.rounds, former.peak_bytes

    def done(self, record: CaseRecord) -> int:
        """Return how many blocks the case has behind it."""
        state = self._states.get(record.case)
        return len(state.errors) if state else 0

    def stretch(self, record: CaseRecord, turn: int) -> Stretch | None:
        """Return the block from the last one's end on, with the weights that it left."""
        if turn < self.done(record):
            return None
        name = f"{self.ends[turn]:,} of {self.updates:,} updates"
        if not turn:
            return Stretch(name, self.ends[0])
        state, first = self._states[record.case], self.ends[turn - 1]
        name += f", validation error {state.errors[-1]:.2f} %"
        return Stretch(name, self.ends[turn] - first, first, state.weights)

    def keep(self, record: CaseRecord, run: Run, worker: Worker) -> None:
        """Validate, and save the state; that of a case which has lost its number is not worth going on from."""
        del run
        if record.state is not State.VALID:
            return
        params = worker.params()
        errors: tuple[float, ...] = (error_rate(self._workload, params, self._dataset.validation),)
        if record.case in self._states:
            errors = self._states[record.case].errors + errors
        self._states[record.case] = Checkpoint(record, errors, params)
        self.checkpoints.write(self._states[record.case])

    def close(self, record: CaseRecord) -> None:
        """Add the curve and the final error rates, or say how far the case came.

        A block that stayed disturbed counts as long as the mean of the others, update for update.
        """
        done = self.done(record)
        if done < len(self.ends):
            came = self.ends[done - 1] if done else 0
            record.give_up(State.SKIPPED, f"interrupted after {came:,} of {self.updates:,} updates")
            return
        state = self._states[record.case]
        steps = [end - first for first, end in pairwise((0, *self.ends))]
        clean = {each.turn: each.wall_seconds for each in record.clean_rounds}
        pace = sum(clean.values()) / max(1, sum(steps[turn] for turn in clean))
        walls = [clean.get(turn, pace * count) for turn, count in enumerate(steps)]
        record.curve = [
            CurvePoint(updates, float(seconds), error)
            for updates, seconds, error in zip(self.ends, np.cumsum(walls), state.errors, strict=True)
        ]
        record.error_rates = error_rates(self._workload, state.weights, self._dataset)

    def clear(self, records: Iterable[CaseRecord]) -> None:
        """Remove the checkpoints, unless a training is unfinished: then the others are not to be done again for it."""
        begun = [record for record in records if self.done(record)]
        if all(self.done(record) == len(self.ends) for record in begun):
            for record in begun:
                self.checkpoints.remove(record)

    def summary(self, record: CaseRecord, target_percent: float) -> dict[str, Any]:
        """Return what a saved run tells of a training beside its record: when it came to the target, if it did."""
        weights = self._states[record.case].weights if record.case in self._states else ()
        reached = (point.seconds for point in record.curve if point.error_percent <= target_percent)
        return {
            "epochs": self.epochs,
            "target_error_percent": target_percent,
            "target_seconds": next(reached, None),
            "weights_sha256": hashlib.sha256(b"".join(value.tobytes() for value in weights)).hexdigest(),
            "resumed": max(0, len(record.launches) - 1),
        }
