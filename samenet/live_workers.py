"""The workers of one launch, a process for each entry: started, checked, and run one at a time."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import filterfalse
from typing import TYPE_CHECKING, Self

from samenet.environments import disk_bytes
from samenet.errors import WorkerError
from samenet.events import Entered, Joined, Lost, Withdrawn
from samenet.live_round import LiveRound, long_spans, spans
from samenet.machine.counters import Watch
from samenet.machine.devices import may_be_shared
from samenet.machine.temporary import make_folder
from samenet.order import shuffled
from samenet.plan import Role
from samenet.records import Launch, State
from samenet.rounds import WATCH_STEPS, block_steps, look_at_threads, trial
from samenet.versions import mismatch
from samenet.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from impls.lanes import Device
    from impls.workload import Params
    from samenet.events import Observations
    from samenet.journal import Journal
    from samenet.machine.gpu_watch import Neighbours
    from samenet.plan import Entry, Plan
    from samenet.progress import Progress
    from samenet.reference import Reference

MOST_STARTS = 8  # workers that start at the same time
BOUND_TRIALS = 3  # of each bound, of which the shortest counts


@dataclass(kw_only=True)
class LiveWorkers:
    """The workers of one launch; a context manager that kills them.

    ``cold``: it is the first of this process, and ``folder``, which takes what workers compile, is empty. ``initial``
    are the weights that every round starts from, ``parity_reference`` is what workers are compared with as they start;
    ``rounds`` are those of each entry, which later launches continue, and ``neighbours`` what else is on each GPU.
    """

    number: int
    entries: Sequence[Entry]
    plan: Plan
    journal: Journal
    progress: Progress
    parity_reference: Reference
    initial: Params
    folder: Path
    cold: bool
    rounds: dict[str, LiveRound] = field(default_factory=dict)
    neighbours: Mapping[Device, Neighbours] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _closing: bool = False
    alive: dict[str, Worker] = field(default_factory=dict)
    trained: dict[str, Params] = field(default_factory=dict)  # the weights of a training in epochs
    restart_seconds: float = 0.0  # for the new workers of turns, on devices that cannot be shared

    def __enter__(self) -> Self:
        """Return the workers."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all workers; one that is still starting has not failed."""
        self._closing = True
        self._stack.close()

    @property
    def has_phases(self) -> bool:
        """Whether cases start one by one, and so have phases: in the first launch, and once more with its caches."""
        return self.cold or (self.number == 1 and not any(entry.group for entry in self.entries))

    @contextmanager
    def guarded(self, entry: Entry) -> Iterator[None]:
        """Work on ``entry``: a failure costs it its number and its worker, and no other entry anything."""
        try:
            yield
        except WorkerError as error:
            if not self._closing:
                self.lose(entry, State.FAILED, str(error))
            if entry.label in self.alive:
                self.alive[entry.label].kill()

    @contextmanager
    def running(self, entry: Entry) -> Iterator[Worker]:
        """Let the worker of ``entry`` run, while all others are stopped."""
        worker, is_shared = self.alive[entry.label], may_be_shared(entry.case.device)
        if worker.is_alive or is_shared:
            worker.resume()
        else:
            begin = time.perf_counter()
            worker = self._new_worker(entry)
            worker.load_framework()
            worker.build(self.plan.workload, self.plan.dataset.train, self.initial)
            self.restart_seconds += time.perf_counter() - begin
        try:
            yield worker
        finally:
            if not is_shared:  # or the next process could not use the device
                worker.kill()
        if is_shared:
            worker.pause()

    def lose(self, entry: Entry, state: State, reason: str) -> None:
        """Take its number from an entry."""
        self.journal.write(Lost(label=entry.label, state=state, reason=reason))

    def seen(self, entry: Entry) -> Observations:
        """Return what was observed of an entry so far."""
        return self.journal.log.entries[entry.label]

    def is_live(self, entry: Entry) -> bool:
        """Return whether an entry takes part and has not lost its number."""
        return self.journal.log.is_live(entry.label)

    def on_device(self, device: Device) -> set[int]:
        """Return the ids of this campaign's processes that may be on ``device``: they see it, and have not ended."""
        return {each.pid for each in self.alive.values() if each.case.device == device and each.is_alive}

    def start(self) -> Iterator[int]:
        """Start the workers, check their work, and choose the bound; yield how many have started, each time one has.

        Those that start together, at the end, are not counted.
        """
        # The pool lives as long as the workers, which die with its threads.
        pool = self._stack.enter_context(ThreadPoolExecutor(min(len(self.plan.cpus), MOST_STARTS)))
        order = shuffled(self.entries, self.plan.seed, self.number)
        # A twin finds what its case has compiled, and not the other way round: the case has the cold phases.
        alone = sorted(filter(self._starts_alone, order), key=lambda each: each.role is Role.TWIN)
        for count, entry in enumerate(alone, 1):
            self._start(entry, alone=True)
            yield count
        together = sorted(filterfalse(self._starts_alone, order), key=self._start_seconds, reverse=True)
        list(pool.map(partial(self._start, alone=False), together))
        # Next to another worker's, BLAS threads that wait for each other can take a hundred times as long.
        for entry in together:
            if self.is_live(entry):
                with self.guarded(entry), self.running(entry) as worker:
                    self._join(entry, worker, Launch(launch=self.number))
        self._choose_bound()
        self.divide(order)

    def divide(self, entries: Sequence[Entry]) -> None:
        """Divide the rounds of ``entries`` into blocks; no worker may be starting meanwhile."""
        for entry in entries:
            if self._lacks_blocks(entry):
                with self.guarded(entry), self.running(entry):
                    self._divide(entry)

    def _starts_alone(self, entry: Entry) -> bool:
        """Return whether no other worker starts next to that of ``entry``: it has phases, or a device to itself."""
        has_phases = self.has_phases and entry.role in {Role.CASE, Role.FORMER}
        return has_phases or not may_be_shared(entry.case.device)

    def _start_seconds(self, entry: Entry) -> float:
        """Return how long an entry took to start when it had phases; it may be the slowest if it never had."""
        return sum(next((each.phases for each in reversed(self.seen(entry).launches) if each.phases), (math.inf,)))

    def _start(self, entry: Entry, *, alone: bool) -> None:
        """Start a worker for ``entry``, and check its work if it is ``alone``, as no other one starts meanwhile."""
        with self.guarded(entry):
            worker = self._new_worker(entry)
            watch = Watch(worker.pid, self.plan.cpus)
            launch = self._load(entry, worker)
            if not launch or not alone:
                worker.pause()
                return
            disturbed = self.plan.always_cold and watch.stop().disturbance
            # The caches of a resumed campaign are empty again: its first phases are not those of a later launch.
            refilled = self.cold and self.seen(entry).launches and not self.plan.always_cold
            with self.running(entry):  # which stops it, or ends it where it cannot share its device
                self._join(entry, worker, Launch(launch=self.number) if disturbed or refilled else launch)
                if self._lacks_blocks(entry):
                    self._divide(entry)

    def _load(self, entry: Entry, worker: Worker) -> Launch | None:
        """Give ``worker`` its framework, its data and its first step; return the phases, None if it has no device."""
        self.progress.advance(f"launch {self.number + 1}: {entry.label} starts")
        import_seconds = worker.load_framework()
        if entry.case.device.is_gpu and entry.role is not Role.FORMER and (reason := worker.missing_device()):
            # A former revision may not know the question. A device that an earlier launch had was lost.
            self.lose(entry, State.FAILED if self.seen(entry).launches else State.SKIPPED, reason)
            worker.kill()
            return None
        return Launch(
            launch=self.number,
            cold=self.cold,
            start_seconds=worker.start_seconds,
            import_seconds=import_seconds,
            build_seconds=worker.build(self.plan.workload, self.plan.dataset.train, self.initial),
            first_step_seconds=worker.run(1).wall_seconds,
            transfer_seconds=worker.transfer_seconds,
        )

    def _new_worker(self, entry: Entry) -> Worker:
        """Start a process for ``entry``, which is killed at the end of the launch."""
        cache = self.folder / entry.cache_name(is_own=self.plan.always_cold)
        make_folder(cache)
        worker = self.alive[entry.label] = self._stack.enter_context(
            Worker(
                entry.case,
                entry.python,
                entry.root,
                cpus=self.plan.cpus,
                folder=cache,
                timeout_seconds=self.plan.timeout_seconds,
            )
        )
        return worker

    def _join(self, entry: Entry, worker: Worker, launch: Launch) -> None:
        """Let ``worker`` run, check what it computed and on how many threads, and write that down."""
        steps = self.parity_reference.steps if entry.role.trains else WATCH_STEPS
        losses, weights = worker.run(steps).losses, worker.params()
        versions, pools = worker.versions(), tuple(worker.thread_pools())
        seen, short = look_at_threads(worker, pools, self.plan)
        launch = replace(
            launch,
            parity=self.parity_reference.judge(losses, weights) if entry.role.trains else None,
            threads_working=seen.working if seen else None,
            threads_cpus=seen.cpus if seen else (),
            flushes_denormals=worker.flushes_denormals,
        )
        self._restart_without_weights(entry)
        if self.seen(entry).launches and self.seen(entry).versions != versions:  # of a resumed campaign
            self.journal.write(Withdrawn(label=entry.label))
            self.journal.write(Entered.of_entry(entry, self.plan))
        # Of a GPU's case most is in packages that only the extras of tox's pins name.
        is_new = entry.role is Role.CASE and not entry.case.device.is_gpu and not self.seen(entry).launches
        size = disk_bytes(entry.case.implementation, entry.python) if is_new else None
        joined = Joined(label=entry.label, launch=launch, versions=versions, thread_pools=pools, environment_bytes=size)
        self.journal.write(joined)
        if launch.parity and not launch.parity.verified:
            self.lose(entry, State.UNVERIFIED, f"{entry.label} {launch.parity.sentence}")
        elif short:
            self.lose(entry, State.UNDERSUBSCRIBED, short)
        elif wrong := mismatch(entry.case.version, versions):
            self.lose(entry, State.FAILED, wrong)

    def _lacks_blocks(self, entry: Entry) -> bool:
        """Return whether an entry's round has not been divided yet; those of a training in epochs are the plan's."""
        return self.is_live(entry) and entry.label not in self.rounds and not self.plan.continues

    def _divide(self, entry: Entry) -> None:
        """Divide an entry's round into blocks; what is compared with a case has blocks of the same length as it.

        No other worker may run meanwhile.
        """
        pair = [each.label for each in self.entries if (each.of or each.label) == (entry.of or entry.label)]
        made = next((self.rounds[label].spans for label in pair if label in self.rounds), None)
        if entry.case.device.is_gpu:
            made = made or long_spans(self.plan.iterations, block_steps(self.alive[entry.label], self.plan))
            self.rounds[entry.label] = LiveRound(spans=made, iterations=self.plan.iterations)
            return
        made = made or spans(self.plan.iterations, block_steps(self.alive[entry.label], self.plan), self.plan.marks)
        marks = self.plan.marks if entry.role is Role.CASE else ()
        self.rounds[entry.label] = LiveRound(spans=made, marks=marks)

    def _choose_bound(self) -> None:
        """Let the bounds run in turn, and keep the one with the shortest run."""
        bounds = [entry for entry in self.entries if entry.role is Role.BOUND]
        if len(bounds) < 2:
            return
        seconds: dict[str, float] = {}
        for entry in bounds * BOUND_TRIALS:
            if self.is_live(entry):
                with self.guarded(entry):
                    run = trial(self.alive[entry.label], self.plan)
                    seconds[entry.label] = min(run, seconds.get(entry.label, run))
        best = min(seconds, key=lambda label: seconds[label], default=None)
        for label in (entry.label for entry in bounds if entry.label != best):
            self.journal.write(Withdrawn(label=label))
            if label in self.alive:
                self.alive[label].kill()

    def weights(self, entry: Entry) -> Params | None:
        """Return the weights that a training in epochs continues with, or None at its beginning."""
        done = self.seen(entry).done_steps
        if entry.label in self.trained:
            return self.trained[entry.label]
        return self.journal.load_weights(entry.label, done) if done else None

    def _restart_without_weights(self, entry: Entry) -> None:
        """Start a training again whose weights are gone: it cannot continue."""
        seen = self.seen(entry)
        if self.plan.continues and seen.done_steps and self.weights(entry) is None:
            self.journal.write(Withdrawn(label=entry.label))
            self.journal.write(Entered.of_entry(entry, self.plan))
