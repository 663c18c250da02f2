"""One launch: its blocks, in which all entries take turns, and what they have learned by the end."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from samenet.events import Learned, Timed
from samenet.live_round import LiveRound, Span, spans
from samenet.machine.devices import may_be_shared
from samenet.order import shuffled
from samenet.records import CurvePoint, State
from samenet.reference import error_rate, error_rates
from samenet.rounds import time_block, warm_up
from samenet.stats import FEWEST_VALUES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from impls.workload import Float32, Params
    from samenet.events import Log
    from samenet.live_workers import LiveWorkers
    from samenet.plan import Entry, Plan
    from samenet.records import Round
    from samenet.reference import Reference
    from samenet.workers import Worker

PREVIEW_TURNS, PREVIEW_SECONDS = FEWEST_VALUES, 2.0  # the fewest with an interval, if there is time for them
REPEATS = 2  # how often a disturbed block is measured again before its turn counts as disturbed


@dataclass(kw_only=True)
class LiveLaunch:
    """Measures with ``workers`` that have started; losses have to be those of ``reference``."""

    workers: LiveWorkers
    reference: Reference
    _loaded: set[str] = field(default_factory=set)  # whose workers have the weights of their rounds

    @property
    def plan(self) -> Plan:
        """The campaign's plan."""
        return self.workers.plan

    def measure(self) -> None:
        """Measure all turns, the entries of each in random order."""
        end = time.perf_counter() + self.plan.launch_seconds(sum(map(self.workers.is_live, self.workers.entries)))
        for turn in count() if self.plan.rounds is None else range(self.plan.rounds * self._turns_a_round):
            if time.perf_counter() - self.workers.restart_seconds > end or not any(
                map(self.workers.is_live, self.workers.entries)
            ):
                break
            for entry in shuffled(self.workers.entries, self.plan.seed, self.workers.number, turn):
                if not self.workers.is_live(entry) or self._has_enough(entry, turn):
                    continue
                if self.plan.continues and self.plan.blocks[turn].first < self.workers.seen(entry).done_steps:
                    continue
                place = self.plan.blocks[turn].name if self.plan.continues else f"block {turn + 1}"
                self.workers.progress.advance(f"launch {self.workers.number + 1}, {place}: {entry.label}")
                if neighbours := self.workers.neighbours.get(entry.case.device):
                    neighbours.look(self.workers.on_device(entry.case.device))
                with self.workers.guarded(entry), self.workers.running(entry) as worker:
                    self._turn(entry, worker, turn)
        for entry in self.workers.entries:  # the next launch continues their rounds
            live = self.workers.rounds.get(entry.label)
            is_open = live and live.done and not entry.case.device.is_gpu  # those of a GPU are read after each block
            if live and is_open and self.workers.is_live(entry):
                with self.workers.guarded(entry), self.workers.running(entry) as worker:
                    live.weights = worker.params()

    def preview(self) -> Log | None:
        """Time a few blocks of the entries that have started; return a log that has them, None if there are none.

        They are first figures while the others are starting, and count for nothing else: each entry has had other
        neighbours, and the first one none.
        """
        started = [each for each in self.workers.entries if each.label in self.workers.alive]
        started = [each for each in started if may_be_shared(each.case.device)]
        self.workers.divide(started)
        end, log = time.perf_counter() + PREVIEW_SECONDS, self.workers.journal.log.copy()
        for turn in range(PREVIEW_TURNS):
            for entry in shuffled(started, self.plan.seed, self.workers.number, turn):
                if time.perf_counter() < end and self.workers.is_live(entry):
                    with self.workers.guarded(entry), self.workers.running(entry) as worker:
                        log.add(self._preview_block(entry, worker, turn, log.next_order))
        return log if log.next_order > self.workers.journal.log.next_order else None

    def _preview_block(self, entry: Entry, worker: Worker, turn: int, order: int) -> Timed:
        """Time the first block of a round, with whatever weights the worker has."""
        if entry.case.device.is_gpu:
            warm_up(worker)
        span, _ = self._ahead(entry, worker, self.workers.rounds[entry.label].spans[0])
        neighbours, ours = self.workers.neighbours.get(entry.case.device), self.workers.on_device(entry.case.device)
        place = {"launch": self.workers.number, "turn": turn, "attempt": 0, "order": order}
        _, timed = time_block(worker, self.plan, span, neighbours=neighbours, ours=ours, **place)
        return Timed(label=entry.label, round=timed, **worker.memory())

    def _has_enough(self, entry: Entry, turn: int) -> bool:
        """Return whether an entry on a GPU has had its rounds: others may take many more blocks for theirs."""
        if self.plan.rounds is None or self.plan.continues or not entry.case.device.is_gpu:
            return False
        return turn >= self.plan.rounds * len(self.workers.rounds[entry.label].spans)

    @property
    def _turns_a_round(self) -> int:
        """How many turns the rounds of all entries take; a training in epochs has each of its turns as a round."""
        return max((len(each.spans) for each in self.workers.rounds.values()), default=1)

    def _turn(self, entry: Entry, worker: Worker, turn: int) -> None:
        """Time a block, and the next one if it was disturbed; a training in epochs repeats the same one."""
        neighbours, ours = self.workers.neighbours.get(entry.case.device), self.workers.on_device(entry.case.device)
        for attempt in range(1 + REPEATS):
            span, losses = self._lead_in(entry, turn, is_idle=not attempt)
            order = self.workers.journal.log.next_order
            place = {"launch": self.workers.number, "turn": turn, "attempt": attempt, "order": order}
            run, timed = time_block(worker, self.plan, span, neighbours=neighbours, ours=ours, **place)
            losses = np.concatenate([losses, run.losses])
            if entry.role.trains and not self._follows(entry, span, losses):
                reason = f"the losses of block {order + 1} are not those of the reference"
                self.workers.lose(entry, State.UNVERIFIED, reason)
            is_last = not timed.disturbance or attempt == REPEATS or not self.workers.is_live(entry)
            self._record(entry, span, timed, losses, is_last=is_last)
            if is_last:
                break

    def _lead_in(self, entry: Entry, turn: int, *, is_idle: bool) -> tuple[Span, Float32]:
        """Bring a worker to its next block; return what is left of the block, and the losses of what is done of it.

        A GPU is warmed up if it ``is_idle``, which it is not directly after a block.
        """
        worker = self.workers.alive[entry.label]
        is_gpu = entry.case.device.is_gpu
        if is_gpu and is_idle:  # it is watched once it has the clock that it keeps
            warm_up(worker)
        if self.plan.continues:
            block = self.plan.blocks[turn]
            worker.reset(self.workers.weights(entry))
            return Span(block.first, 0, block.steps), np.empty(0, np.float32)
        live = self.workers.rounds[entry.label]
        if is_gpu or not live.next.first or entry.label not in self._loaded:
            worker.reset(live.weights)
            self._loaded.add(entry.label)
        return self._ahead(entry, worker, live.next)

    def _ahead(self, entry: Entry, worker: Worker, span: Span) -> tuple[Span, Float32]:
        """Do the lead-in of a block unless its own request has it; return what is left of the block, and the losses.

        On a GPU it comes before the block is watched. Where a worker of an earlier revision does not know lead-ins,
        what is compared with it is measured in the same way.
        """
        has_it = not entry.case.device.is_gpu and all(each.leads_in for each in self.workers.alive.values())
        if has_it or not span.lead_in:
            return span, np.empty(0, np.float32)
        return Span(span.first + span.lead_in, 0, span.steps), worker.advance(span.lead_in, span.first).losses

    def _follows(self, entry: Entry, span: Span, losses: Float32) -> bool:
        """Tell whether the losses of a round, which ends with ``losses``, are still those of the reference."""
        if span.first >= self.reference.steps or (self.plan.continues and span.first):
            return True
        before = [] if self.plan.continues else [self.workers.rounds[entry.label].losses]
        return self.reference.follows(np.concatenate([*before, losses]))

    def _record(self, entry: Entry, span: Span, timed: Round, losses: Float32, *, is_last: bool) -> None:
        """Write a block into the journal; of a training in epochs, its validation error and its weights too."""
        worker, label, error = self.workers.alive[entry.label], entry.label, None
        updates, validated = span.end, self.plan.continues and is_last and self.workers.is_live(entry)
        if validated:
            params = worker.params()
            error = error_rate(self.plan.workload, params, self.plan.dataset.validation)
            self.workers.journal.save_weights(label, updates, params)
            self.workers.trained[label] = params
        self.workers.journal.write(Timed(label=label, round=timed, **worker.memory(), error_percent=error))
        if validated:
            self.workers.journal.forget_weights(label, but=updates)
        if not self.plan.continues:
            live = self.workers.rounds[label]
            live.add(losses, worker.params() if live.wants_weights and entry.role.trains else None)
            if entry.case.device.is_gpu and live.done:
                live.weights = worker.params()

    def learn(self, ending: Collection[Entry] = ()) -> None:
        """Judge what each entry has learned, while no clock runs; those that are ``ending`` first end their round."""
        for entry in self.workers.entries:
            seen = self.workers.seen(entry) if self.workers.is_live(entry) else None
            if seen is None or seen.learned or not entry.role.trains:
                continue
            with self.workers.guarded(entry):
                if self.plan.continues:
                    weights = self.workers.weights(entry)
                    if weights and seen.done_steps >= self.plan.iterations:
                        self._judge(entry, weights)
                    continue
                live = self.workers.rounds.get(entry.label)  # None if it has not started yet
                if live and (entry in ending or live.final or live.timed_losses is not None):
                    self.workers.progress.advance(f"{entry.label}: its error rates")
                    losses, params = live.final or self._finish(entry)
                    self._judge(entry, params, losses)

    def _finish(self, entry: Entry) -> tuple[Float32, Params]:
        """Do what is left of an entry's first round, and return its losses and the weights after it.

        Where its blocks go on beyond ``iterations`` this is a training of its own, whose weights at the marks are kept.
        """
        live, plan = self.workers.rounds[entry.label], self.plan
        if live.iterations:
            live = LiveRound(spans=spans(plan.iterations, plan.iterations, plan.marks), marks=plan.marks)
        with self.workers.running(entry) as worker:
            worker.reset(live.weights)
            while live.final is None:
                span = live.next
                losses = worker.advance(span.end - span.first, span.first).losses
                live.add(losses, worker.params() if live.wants_weights else None)
        self.workers.rounds[entry.label].snapshots |= live.snapshots
        return live.final

    def _judge(self, entry: Entry, params: Params, losses: Sequence[float] | Float32 = ()) -> None:
        """Write down what an entry has learned, from its weights at the end and on the way."""
        workload, dataset = self.plan.workload, self.plan.dataset
        live = self.workers.rounds.get(entry.label)
        of_blocks = [] if live is None or live.timed_losses is None else [live.timed_losses]
        whole = [np.asarray(each, np.float32) for each in (losses, *of_blocks) if len(each)]
        if not all(map(self.reference.follows_round, whole)):
            self.workers.lose(entry, State.UNVERIFIED, "the losses of its round are not those of the reference")
            return
        snapshots = live.snapshots if live else {}
        points = {0: self.workers.initial, **snapshots} if self.plan.marks else {}
        learned = Learned(
            label=entry.label,
            error_rates=error_rates(workload, params, dataset),
            losses=tuple(map(float, losses)),
            curve=tuple(
                CurvePoint(updates=updates, error_percent=error_rate(workload, weights, dataset.validation))
                for updates, weights in points.items()
            ),
            weights_sha256=digest(params) if self.plan.continues else None,
        )
        self.workers.journal.write(learned)


def digest(params: Params) -> str:
    """Return a checksum of the bytes of all weights."""
    return hashlib.sha256(b"".join(value.tobytes() for value in params)).hexdigest()
