"""The interleaved schedule: all cases live at once, measured round by round in random order, over several launches."""

from __future__ import annotations

import math
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol

from bench import gpu
from bench.course import Course, Rounds
from bench.gpu import GpuWatch
from bench.machine import Watch
from bench.records import CaseRecord, CurvePoint, Launch, Round, State
from bench.reference import Reference, error_rate
from bench.workers import Worker, WorkerError
from impls.workload import initial_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.course import Stretch
    from bench.data import Dataset
    from impls.registry import Case
    from impls.workload import Workload

REPEATS = 2  # how often a disturbed round is measured again before its turn is given up
CLEAN_SHARE = 2 / 3  # a case with fewer of its turns undisturbed is contended
CPU_TOLERANCE = 1.05  # CPU seconds over (threads x wall seconds) above which a case has used more than its share
BOUND_TRIALS, BOUND_TRIAL_STEPS = 3, 50
WARM_UP_STEPS = 200  # of a GPU, before each look at its clock
CURVE_POINTS = 6  # between a curve's two ends
CURVE_SHARE = 0.5  # of a round, where most is learned: the other half would cost as much and show little


@dataclass(frozen=True)
class Plan:
    """How much is measured, and on what; a launch ends with the turn in which its rounds exceed ``launch_seconds``.

    With ``curve`` the error along the way is recorded too, once for each case, after the first launch's rounds.
    """

    workload: Workload
    dataset: Dataset
    cpus: tuple[int, ...]
    iterations: int = 1000
    rounds: int = 1
    launches: int = 5
    launch_seconds: float = float("inf")
    seed: int = 0
    timeout_seconds: float = 300.0
    curve: bool = False

    @property
    def curve_steps(self) -> list[int]:
        """The updates from each point of the curve to the next: whole passes, since a run begins with minibatch 0."""
        batches = len(self.dataset.train.labels) // self.workload.batch_size
        passes = int(CURVE_SHARE * self.iterations) // batches
        stride = math.ceil(passes / CURVE_POINTS)
        return [stride * batches] * (passes // stride) if self.curve and passes else []


@dataclass(frozen=True)
class Entry:
    """A case in a campaign, under a label of its own: the same case can be entered twice, or at two revisions.

    A ``bound`` is the step's matrix products alone: it trains nothing, so there is no parity to check. In each turn
    the entries of one ``group`` follow each other, so that nothing else is between what is to be compared; without
    groups every order is as likely.
    """

    label: str
    case: Case
    python: Path
    root: Path
    bound: bool = False
    group: str = ""

    @property
    def cluster(self) -> str:
        """The name of its group, or its own where it has none."""
        return self.group or self.label


class Progress(Protocol):
    """Who is told what happens: a context manager."""

    def __enter__(self) -> object:
        """Begin to show it."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self, total: int | None) -> None:
        """``total`` pieces of work lie ahead, or nobody knows how many."""

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""

    def skip(self) -> None:
        """One piece of work turned out to have been done before."""


@dataclass
class Campaign:
    """Measures ``entries`` side by side; after each launch ``wanted`` says which of them need another, if any.

    Of the entries that are bounds, the fastest is measured; the others leave after a short trial.
    """

    plan: Plan
    entries: Sequence[Entry]
    progress: Progress
    wanted: Callable[[Campaign], Sequence[Entry]] = lambda campaign: campaign.entries
    reference: Reference | None = None
    course: Course | None = None  # the plan's iterations, where there is no other
    records: dict[str, CaseRecord] = field(init=False)
    interrupted: bool = False
    wall_seconds: float = 0.0  # of which:
    startup_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Prepare an empty record for each entry."""
        self.records = {
            entry.label: CaseRecord(entry.label, entry.case.implementation.name, entry.case.device)
            for entry in self.entries
        }
        self._initial = initial_params(self.plan.workload)
        self._random = random.Random(self.plan.seed)  # noqa: S311  # an order, not a secret
        self._order = 0
        self._course = self.course or Rounds(self.plan.workload, self.plan.dataset, self.plan.iterations)
        self._workers: dict[str, Worker] = {}  # of the present launch

    @property
    def bound(self) -> CaseRecord | None:
        """The record of the fastest matrix products, once the trial has chosen it."""
        return next((self.records[entry.label] for entry in self.entries if entry.bound), None)

    @property
    def measured_seconds(self) -> float:
        """How long all rounds took together, the disturbed ones, the A/A pair's and the bound's too."""
        return sum(each.harness_seconds for record in self.records.values() for each in record.rounds)

    def run(self) -> None:
        """Measure everything; Ctrl-C ends it early and keeps what was measured."""
        plan = self.plan
        begin = time.perf_counter()
        known = math.isinf(plan.launch_seconds)
        self.progress.start(1 + plan.launches * len(self.entries) * (1 + plan.rounds) if known else None)
        try:
            self.progress.advance("the float64 reference")
            self.reference = self.reference or Reference(plan.workload, plan.dataset.train, self._initial)
            with tempfile.TemporaryDirectory(prefix="samenet-") as folder:
                for launch in range(plan.launches):
                    wanted = self.wanted(self) if launch else self.entries
                    if not wanted:
                        break
                    self.entries = wanted
                    with ExitStack() as stack:
                        self._launch(launch, self.reference, Path(folder), stack)
        except KeyboardInterrupt:
            self.interrupted = True
        for record in self.records.values():
            self._judge(record)
        self.wall_seconds = time.perf_counter() - begin

    def _shuffled(self, entries: Sequence[Entry]) -> list[Entry]:
        shuffled = self._random.sample(entries, len(entries))
        clusters = list(dict.fromkeys(entry.cluster for entry in shuffled))
        return sorted(shuffled, key=lambda entry: clusters.index(entry.cluster))

    def _launch(self, launch: int, reference: Reference, folder: Path, stack: ExitStack) -> None:
        self._workers = {}
        begin = time.perf_counter()
        pool = stack.enter_context(ThreadPoolExecutor())  # lives as long as the workers: they die with their thread
        living = [entry for entry in self._shuffled(self.entries) if self.records[entry.label].state is State.VALID]
        for cluster, members in groupby(living, key=lambda entry: entry.cluster):
            together = list(members)
            own = folder / cluster  # two revisions compile much the same
            own.mkdir(exist_ok=True)
            for entry in together:
                self.progress.advance(f"launch {launch + 1}: {entry.label} starts")
            # The first launch tells of the phases; later ones of a group only have to be there.
            alone = not launch or len(together) == 1
            start = partial(self._start, launch=launch, reference=reference, folder=own, stack=stack, alone=alone)
            list((map if alone else pool.map)(start, together))
        if not launch:
            self._choose_bound()
        self.startup_seconds += time.perf_counter() - begin
        begin = time.perf_counter()
        for turn in range(self.plan.rounds):
            if time.perf_counter() - begin > self.plan.launch_seconds:
                break
            for entry in self._shuffled(self.entries):
                record = self.records[entry.label]
                if record.state is not State.VALID:
                    continue
                stretch = self._course.stretch(record, turn)
                if stretch is None:
                    self.progress.skip()
                    continue
                self.progress.advance(f"launch {launch + 1}, {stretch.name}: {entry.label}")
                with self._guarded(entry):
                    self._turn(entry, self._workers[entry.label], turn, stretch, reference)
        if not launch:
            self._trace()

    @contextmanager
    def _guarded(self, entry: Entry) -> Iterator[None]:
        """Work on ``entry``: a failure costs it its number and its worker, and nobody else."""
        try:
            yield
        except WorkerError as error:
            self.records[entry.label].give_up(State.FAILED, str(error))
            if entry.label in self._workers:
                self._workers[entry.label].kill()

    def _start(
        self, entry: Entry, *, launch: int, reference: Reference, folder: Path, stack: ExitStack, alone: bool
    ) -> None:
        """Start a worker for ``entry`` and check its work; unless it starts ``alone``, its phases tell nothing."""
        with self._guarded(entry):
            cpus, timeout_seconds = self.plan.cpus, self.plan.timeout_seconds
            worker = self._workers[entry.label] = stack.enter_context(
                Worker(entry.case, entry.python, entry.root, cpus=cpus, folder=folder, timeout_seconds=timeout_seconds)
            )
            phases = (
                worker.start_seconds,
                worker.load_framework(),
                worker.build(self.plan.workload, self.plan.dataset.train, self._initial),
                worker.run(1).wall_seconds,
            )
            losses = worker.run(reference.steps).losses
            parity = None if entry.bound else reference.judge(losses, worker.params())
            told = Launch(launch, None, None, None, None, parity)
            if alone:
                told = Launch(launch, *phases, parity, worker.transfer_seconds)
            self._join(entry, worker, told)
            worker.pause()

    def _join(self, entry: Entry, worker: Worker, launch: Launch) -> None:
        record, parity = self.records[entry.label], launch.parity
        record.launches.append(launch)
        if parity and not parity.verified:
            record.give_up(State.UNVERIFIED, f"{entry.label} {parity.sentence}")
        record.versions, record.thread_pools = worker.versions(), worker.thread_pools()
        self._course.join(record)
        self._order = max([self._order, *(each.order + 1 for each in record.rounds)])

    def _choose_bound(self) -> None:
        """Let the bounds run in turn, and keep the one with the shortest run."""
        bounds = [entry for entry in self.entries if entry.bound]
        seconds: dict[str, float] = {}
        for entry in bounds * BOUND_TRIALS:
            if self.records[entry.label].state is not State.VALID:
                continue
            with self._guarded(entry):
                worker = self._workers[entry.label]
                worker.resume()
                run = worker.run(min(self.plan.iterations, BOUND_TRIAL_STEPS)).wall_seconds
                seconds[entry.label] = min(run, seconds.get(entry.label, run))
                worker.pause()
        best = min(seconds, key=lambda label: seconds[label], default=None)
        self.entries = [entry for entry in self.entries if not entry.bound or entry.label == best]
        for entry in bounds:
            if entry.label != best:
                del self.records[entry.label]
                if entry.label in self._workers:
                    self._workers[entry.label].kill()

    def _turn(self, entry: Entry, worker: Worker, turn: int, stretch: Stretch, reference: Reference) -> None:
        record = self.records[entry.label]
        worker.resume()
        for attempt in range(1 + REPEATS):
            on_gpu = self._watch_gpu(entry.case.device, worker)
            watch = Watch(worker.pid, self.plan.cpus)
            run = worker.run(stretch.steps, stretch.first, stretch.weights)
            load, gpu_load = watch.stop(), on_gpu.stop() if on_gpu else None
            disturbance = load.disturbance or (gpu_load.disturbance if gpu_load else "")
            record.rounds.append(
                Round(
                    launch=record.launches[-1].launch,
                    turn=turn,
                    attempt=attempt,
                    order=self._order,
                    wall_seconds=run.wall_seconds,
                    cpu_seconds=run.cpu_seconds,
                    harness_seconds=run.harness_seconds,
                    waiting_seconds=load.waiting_seconds,
                    others_seconds=load.others_seconds,
                    steal_seconds=load.steal_seconds,
                    megahertz=load.megahertz,
                    disturbance=disturbance,
                    joules=load.joules,
                    gpu=gpu_load,
                )
            )
            self._order += 1
            if not (entry.bound or stretch.first or reference.follows(run.losses)):
                record.give_up(State.UNVERIFIED, f"the losses of round {self._order} are not those of the reference")
            if record.state is not State.VALID or not disturbance:
                break
        record.peak_bytes = max(record.peak_bytes, worker.peak_bytes())
        if not entry.bound:
            self._course.keep(record, run, worker)
        worker.pause()

    def _watch_gpu(self, device: str, worker: Worker) -> GpuWatch | None:
        """Start watching ``device``, if it is a GPU, once it has the clock that it keeps."""
        if gpu.index(device) is None:
            return None
        gpu.warm_up(device, lambda: worker.run(min(self.plan.iterations, WARM_UP_STEPS)))
        return GpuWatch(device, sum(each.case.device == device for each in self._workers.values()))

    def _trace(self) -> None:
        """Train each case once more, as far as its curve goes, and judge the weights at each point: no clock runs."""
        once = {entry.case.id: entry for entry in reversed(self.entries) if not entry.bound}
        for entry in once.values() if self.plan.curve_steps else ():
            record = self.records[entry.label]
            if record.state is State.VALID:
                self.progress.advance(f"{entry.label}: the error along the way")
                with self._guarded(entry):
                    worker = self._workers[entry.label]
                    worker.resume()
                    updates, weights = 0, self._initial
                    for steps in self.plan.curve_steps:
                        worker.run(steps, updates, weights)
                        updates, weights = updates + steps, worker.params()
                        error = error_rate(self.plan.workload, weights, self.plan.dataset.validation)
                        record.curve.append(CurvePoint(updates, None, error))
                    worker.pause()

    def _judge(self, record: CaseRecord) -> None:
        """Add what the network has learned, and take the number from a case whose rounds do not support it."""
        self._course.close(record)
        if self.plan.curve and record.error_rates:
            begin = CurvePoint(0, None, error_rate(self.plan.workload, self._initial, self.plan.dataset.validation))
            end = CurvePoint(self.plan.iterations, None, record.error_rates["validation"])
            record.curve = [begin, *record.curve, end]
        turns = {(each.launch, each.turn) for each in record.rounds}
        clean = record.clean_rounds
        if len(clean) < CLEAN_SHARE * len(turns):
            lost = turns - {(each.launch, each.turn) for each in clean}
            last = [each.disturbance for each in record.rounds if (each.launch, each.turn) in lost][-1]
            state = State.THROTTLED if last.startswith("throttled") else State.CONTENDED
            record.give_up(state, f"{len(lost)} of {len(turns)} turns stayed disturbed; the last: {last}")
        elif clean:
            threads = len(self.plan.cpus)
            used = median(each.cpu_seconds / each.wall_seconds for each in clean)
            if used > CPU_TOLERANCE * threads:
                record.give_up(State.OVERSUBSCRIBED, f"it used {used:.2f} CPUs where {threads} were given")
