"""One launch: a worker process for each entry, whose rounds are interleaved."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Self

from samenet.errors import WorkerError
from samenet.events import Entered, Joined, Learned, Lost, Timed, Withdrawn
from samenet.order import shuffled
from samenet.plan import Role
from samenet.records import Launch, State
from samenet.reference import error_rate, error_rates
from samenet.rounds import error_curve, time_round, trial, watched_run
from samenet.threads import shortage
from samenet.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from impls.workload import Params
    from samenet.events import Observations
    from samenet.journal import Journal
    from samenet.plan import Block, Entry, Plan
    from samenet.progress import Progress
    from samenet.records import CurvePoint, Round
    from samenet.reference import Reference
    from samenet.workers import Run

REPEATS = 2  # how often a disturbed round is measured again before its turn counts as disturbed
WATCHES = 2  # how often a worker's threads are looked at before they are said to lack something
BOUND_TRIALS = 3  # of each bound, of which the shortest counts


def make_folder(folder: Path) -> None:
    """Make a folder for what a worker compiles.

    Raises:
        WorkerError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WorkerError(f"cannot make {folder}: {error.strerror}; set TMPDIR to a folder with free space") from None


@dataclass(kw_only=True)
class LiveLaunch:
    """The workers of one launch; a context manager that kills them.

    ``cold``: it is the first of this process, and ``folder``, which takes what workers compile, is empty. ``initial``
    are the weights that every round starts from.
    """

    number: int
    entries: Sequence[Entry]
    plan: Plan
    journal: Journal
    progress: Progress
    reference: Reference
    initial: Params
    folder: Path
    cold: bool
    _stack: ExitStack = field(default_factory=ExitStack)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _trained: dict[str, tuple[Run, Params]] = field(default_factory=dict)  # one round of each, or a training so far

    def __enter__(self) -> Self:
        """Return the launch itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all workers."""
        self._stack.close()

    @contextmanager
    def _guarded(self, entry: Entry) -> Iterator[None]:
        """Work on ``entry``: a failure costs it its number and its worker, and no other entry anything."""
        try:
            yield
        except WorkerError as error:
            self._lose(entry, State.FAILED, str(error))
            if entry.label in self._workers:
                self._workers[entry.label].kill()

    def _lose(self, entry: Entry, state: State, reason: str) -> None:
        self.journal.write(Lost(label=entry.label, state=state, reason=reason))

    def _seen(self, entry: Entry) -> Observations:
        return self.journal.log.entries[entry.label]

    def _is_live(self, entry: Entry) -> bool:
        return self.journal.log.is_live(entry.label)

    def start(self) -> None:
        """Start the workers, check their work, and choose the bound."""
        pool = self._stack.enter_context(
            ThreadPoolExecutor()
        )  # lives as long as the workers: they die with its threads
        order = shuffled(self.entries, self.plan.seed, self.number)
        for cluster, members in groupby(order, key=lambda entry: entry.cluster):
            together = list(members)
            cache = self.folder / hashlib.sha256(cluster.encode()).hexdigest()[:12]  # two revisions compile alike
            for entry in together:
                self.progress.advance(f"launch {self.number + 1}: {entry.label} starts")
            # The first launch has the phases; in later ones the members of a group start at the same time.
            alone = self.cold or len(together) == 1
            start = partial(self._start, cache=cache, alone=alone)
            list(map(start, together) if alone else pool.map(start, together))
        self._choose_bound()

    def _start(self, entry: Entry, *, cache: Path, alone: bool) -> None:
        """Start a worker for ``entry`` and check its work."""
        plan = self.plan
        with self._guarded(entry):
            make_folder(cache)
            worker = self._workers[entry.label] = self._stack.enter_context(
                Worker(
                    entry.case,
                    entry.python,
                    entry.root,
                    cpus=plan.cpus,
                    folder=cache,
                    timeout_seconds=plan.timeout_seconds,
                )
            )
            launch = Launch(
                launch=self.number,
                start_seconds=worker.start_seconds,
                import_seconds=worker.load_framework(),
                build_seconds=worker.build(plan.workload, plan.dataset.train, self.initial),
                first_step_seconds=worker.run(1).wall_seconds,
                transfer_seconds=worker.transfer_seconds,
            )
            # The caches of a resumed campaign are empty again: its first phases are not those of a later launch.
            comparable = alone and not (self.cold and self._seen(entry).launches)
            self._join(entry, worker, launch if comparable else Launch(launch=self.number))
            worker.pause()

    def _join(self, entry: Entry, worker: Worker, launch: Launch) -> None:
        """Let ``worker`` run, check what it computed and on how many threads, and write that down."""
        plan, claims = self.plan, entry.case.implementation.shares_work
        losses, weights = worker.run(self.reference.steps).losses, worker.params()
        versions, pools = worker.versions(), tuple(worker.thread_pools())
        for _ in range(WATCHES):  # after a run, in which a thread that was left idle has stopped to look for work
            _, seen = watched_run(worker, self.reference.steps)
            short = shortage(seen, pools, plan.cpus, plan.workload.step_flops) if claims else ""
            if not short:
                break
        launch = replace(
            launch,
            parity=None if entry.role is Role.BOUND else self.reference.judge(losses, weights),
            threads_working=seen.working if seen else None,
            threads_cpus=seen.cpus if seen else (),
            flushes_denormals=worker.flushes_denormals,
        )
        self._restart_without_weights(entry)
        if self._seen(entry).launches and self._seen(entry).versions != versions:  # of a resumed campaign
            self.journal.write(Withdrawn(label=entry.label))
            self.journal.write(Entered.of_entry(entry, self.plan))
        self.journal.write(Joined(label=entry.label, launch=launch, versions=versions, thread_pools=pools))
        if launch.parity and not launch.parity.verified:
            self._lose(entry, State.UNVERIFIED, f"{entry.label} {launch.parity.sentence}")
        elif short:
            self._lose(entry, State.UNDERSUBSCRIBED, short)

    def _choose_bound(self) -> None:
        """Let the bounds run in turn, and keep the one with the shortest run."""
        bounds = [entry for entry in self.entries if entry.role is Role.BOUND]
        if len(bounds) < 2:
            return
        seconds: dict[str, float] = {}
        for entry in bounds * BOUND_TRIALS:
            if self._is_live(entry):
                with self._guarded(entry):
                    run = trial(self._workers[entry.label], self.plan)
                    seconds[entry.label] = min(run, seconds.get(entry.label, run))
        best = min(seconds, key=lambda label: seconds[label], default=None)
        for entry in bounds:
            if entry.label != best:
                self.journal.write(Withdrawn(label=entry.label))
                if entry.label in self._workers:
                    self._workers[entry.label].kill()

    def measure(self) -> None:
        """Measure all turns, the entries of each in random order."""
        begin = time.perf_counter()
        for turn in range(self.plan.rounds):
            if time.perf_counter() - begin > self.plan.launch_seconds:
                break
            block = self.plan.block(turn)
            for entry in shuffled(self.entries, self.plan.seed, self.number, turn):
                if not self._is_live(entry):
                    continue
                if self.plan.continues and block.first < self._seen(entry).done_steps:
                    self.progress.skip()
                    continue
                place = "" if self.plan.continues else f" {turn + 1}"
                self.progress.advance(f"launch {self.number + 1}, {block.name}{place}: {entry.label}")
                with self._guarded(entry):
                    self._turn(entry, turn, block)

    def _turn(self, entry: Entry, turn: int, block: Block) -> None:
        """Time a round, again if it was disturbed."""
        worker = self._workers[entry.label]
        weights = self._weights(entry) if self.plan.continues else None
        ours = sum(each.case.device == entry.case.device for each in self._workers.values())
        worker.resume()
        for attempt in range(1 + REPEATS):
            order = self.journal.log.next_order
            place = {"launch": self.number, "turn": turn, "attempt": attempt, "order": order}
            run, timed = time_round(worker, self.plan, block, weights, ours=ours, **place)
            if not (entry.role is Role.BOUND or block.first or self.reference.follows(run.losses)):
                reason = f"the losses of round {order + 1} are not those of the reference"
                self._lose(entry, State.UNVERIFIED, reason)
            is_last = not timed.disturbance or attempt == REPEATS or not self._is_live(entry)
            self._record(entry, timed, block, run, is_last=is_last)
            if is_last:
                break
        worker.pause()

    def _record(self, entry: Entry, timed: Round, block: Block, run: Run, *, is_last: bool) -> None:
        """Write a round into the journal; after a block of a training, its validation error and its weights too."""
        worker, label, error = self._workers[entry.label], entry.label, None
        updates, validated = block.first + block.steps, self.plan.continues and is_last and self._is_live(entry)
        if validated:
            params = worker.params()
            error = error_rate(self.plan.workload, params, self.plan.dataset.validation)
            self.journal.save_weights(label, updates, params)
            self._trained[label] = run, params
        peak = worker.peak_bytes()
        self.journal.write(Timed(label=label, round=timed, steps=block.steps, peak_bytes=peak, error_percent=error))
        if validated:
            self.journal.forget_weights(label, but=updates)
        elif not self.plan.continues and label not in self._trained and self._needs_learning(entry):
            self._trained[label] = run, worker.params()

    def _weights(self, entry: Entry) -> Params | None:
        """Return the weights that a training continues with, or None at its beginning."""
        done = self._seen(entry).done_steps
        if entry.label in self._trained:
            return self._trained[entry.label][1]
        return self.journal.load_weights(entry.label, done) if done else None

    def _restart_without_weights(self, entry: Entry) -> None:
        """Start a training again whose weights are gone: it cannot continue."""
        seen = self._seen(entry)
        if self.plan.continues and seen.done_steps and self._weights(entry) is None:
            self.journal.write(Withdrawn(label=entry.label))
            self.journal.write(Entered.of_entry(entry, self.plan))

    def learn(self, *, follow: bool = True) -> None:
        """Judge what each entry has learned and, to ``follow``, each case's error along the way: no clock runs."""
        for entry in self.entries:
            if not self._needs_learning(entry) or entry.label not in self._trained:
                continue
            run, params = self._trained[entry.label]
            with self._guarded(entry):
                digest = hashlib.sha256(b"".join(value.tobytes() for value in params)).hexdigest()
                learned = Learned(
                    label=entry.label,
                    error_rates=error_rates(self.plan.workload, params, self.plan.dataset),
                    losses=() if self.plan.continues else tuple(run.losses.tolist()),
                    curve=self._curve(entry, follow=follow and entry.role is Role.CASE),
                    weights_sha256=digest if self.plan.continues else None,
                )
                self.journal.write(learned)

    def _needs_learning(self, entry: Entry) -> bool:
        """Return whether what an entry has learned is still to be judged: of an interrupted campaign, its curve too."""
        if entry.role is Role.BOUND or not self._is_live(entry):
            return False
        seen = self._seen(entry)
        if self.plan.continues and seen.done_steps < self.plan.iterations:
            return False
        is_short = entry.role is Role.CASE and seen.learned and len(seen.learned.curve) <= len(self.plan.curve_steps)
        return not seen.learned or bool(self.plan.curve_steps and is_short)

    def _curve(self, entry: Entry, *, follow: bool) -> tuple[CurvePoint, ...]:
        """Return the error curve without its last point; unless it is followed, its first point alone."""
        if not self.plan.curve_steps:
            return ()
        if follow:
            self.progress.advance(f"{entry.label}: the error along the way")
        return error_curve(self._workers[entry.label] if follow else None, self.plan, self.initial)
