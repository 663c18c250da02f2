"""What is measured and how much of it: the settings, and the protocols that turn them into plans of campaigns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

from impls.workload import Workload, WorkloadError
from samenet.errors import SettingsError
from samenet.gates import TOLERANCE, cold, entry_seconds, parse_gates
from samenet.overrides import parse_overrides
from samenet.plan import Block, Plan
from samenet.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from samenet.data import Dataset
    from samenet.records import Quantity

CURVE_POINTS = 6  # between a curve's two ends
CURVE_SHARE = 0.5  # of a round, where most is learned: the other half would cost as much and show little
LONGEST_TIMEOUT = 86_400  # seconds; Python cannot wait for centuries


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cases are measured; the defaults are those of ``pytest bench/``, None is the protocol's own default.

    ``workload`` changes fields of the book's workload, such as ``hidden=100,init=book``. ``threads`` is the number of
    CPUs and threads for every case, by default one for each core. ``data`` is the folder with MNIST's four files, else
    they are downloaded. ``python`` maps implementations to interpreters; ``install`` creates missing environments.

    ``iterations`` are the updates of a round. Where ``rounds`` and ``launches`` are left open, launches follow until
    every speedup is known to 1.5 %, or ``budget_seconds`` of measuring are spent. ``against`` measures the cases of a
    git revision interleaved with the present ones, ``versions`` each case with several versions of a package, such as
    ``jax==0.8.3,0.9.2``, compared with the ``reference_version``, by default the first; ``tolerance`` is the share by
    which a case may become slower, and ``gate`` what else may not become worse, such as ``steady,first-step=10``.

    ``journal`` is the folder in which each round is kept as soon as it is measured, None for no journal; with
    ``resume`` a campaign continues the unfinished one there with the same settings that has measured the most.
    """

    protocol: Protocol = field(default_factory=lambda: Iterations())  # noqa: PLW0108  # it is defined below
    workload: str = ""
    iterations: int | None = None
    rounds: int | None = None
    launches: int | None = None
    threads: int | None = None
    seed: int = 0
    against: str | None = None
    versions: str | None = None
    reference_version: str | None = None
    tolerance: float = TOLERANCE
    gate: str = "steady"
    budget_seconds: float | None = None
    data: Path | None = None
    python: Mapping[str, Path] = field(default_factory=dict)
    install: bool = False
    timeout_seconds: float = 300.0
    journal: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Check what the command line checks when it reads its options.

        Raises:
            SettingsError: a setting is outside its range, or contradicts another one.
        """
        for name in ("iterations", "rounds", "launches", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise SettingsError(f"{name} is {value}; it must be 1 or more")
        for name in ("tolerance", "budget_seconds", "timeout_seconds"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise SettingsError(f"{name} is {value}; it must be a positive number")
        if self.timeout_seconds > LONGEST_TIMEOUT:
            raise SettingsError(f"timeout_seconds is {self.timeout_seconds}; it must be {LONGEST_TIMEOUT} or less")
        if self.against is not None and not self.against.strip():  # as where git failed in --against "$(git ...)"
            raise SettingsError("--against is empty; it needs a git revision, such as HEAD or main")
        self._check_comparison()
        if self.budget_seconds and not self.compares and (self.rounds or self.launches):
            raise SettingsError("a budget cannot be combined with a number of rounds or launches; drop one of them")

    def _check_comparison(self) -> None:
        if self.versions is None and self.reference_version is not None:
            raise SettingsError("--reference-version is one of --versions; add --versions, or leave it out")
        if self.versions is not None and self.against is not None:
            raise SettingsError("--against compares this tree, and --versions packages; leave one of them out")
        if self.gate != Settings.gate and not self.compares:
            raise SettingsError("--gate is for --against and --versions; add one of them, or leave it out")
        _ = self.asked_versions, self.gates

    @property
    def asked_versions(self) -> Versions | None:
        """The versions that are compared."""
        return None if self.versions is None else Versions.parse(self.versions, self.reference_version)

    @property
    def gates(self) -> dict[Quantity, float]:
        """The tolerances of what a build fails for."""
        return parse_gates(self.gate, self.tolerance)

    @property
    def compares(self) -> bool:
        """Whether cases are compared in pairs."""
        return self.against is not None or self.versions is not None


class Effort(NamedTuple):
    """How much is measured; None is what the budget leaves open."""

    iterations: int
    rounds: int | None
    launches: int | None
    budget_seconds: float = math.inf


class Protocol(ABC):
    """One way to measure; final subclasses, frozen, none of which reads a clock."""

    name: ClassVar[str]
    init: ClassVar[str] = Workload.init  # of the weights, unless the workload names another
    resumes: ClassVar[bool] = False  # whether an unfinished campaign is continued without being asked
    saves_as: ClassVar[str | None] = None  # the name of the saved run where none is given

    @abstractmethod
    def plans(self, settings: Settings, dataset: Dataset, cpus: tuple[int, ...]) -> list[Plan]:
        """Return a plan for each campaign.

        Raises:
            SettingsError: the settings do not fit the protocol or the data.
        """

    def workload(self, settings: Settings, dataset: Dataset, *changes: str) -> Workload:
        """Return the workload that the settings, and then ``changes``, ask for.

        Raises:
            SettingsError: it cannot be trained, or not with this data.
        """
        default = Workload(data=dataset.sha256, init=self.init)
        text = ",".join(filter(None, (f"seed={settings.seed}", settings.workload, *changes)))
        try:
            workload = parse_overrides(default, text)
        except WorkloadError as error:
            raise SettingsError(str(error)) from None
        if workload.batch_size > len(dataset.train.labels):
            raise SettingsError(
                f"batch_size is {workload.batch_size}; the training set has {len(dataset.train.labels)} images"
            )
        return workload


def rounds_plan(
    workload: Workload, settings: Settings, dataset: Dataset, cpus: tuple[int, ...], effort: Effort
) -> Plan:
    """Return a plan whose rounds are all the same training, from the initial weights."""
    return Plan(
        workload=workload,
        dataset=dataset,
        cpus=cpus,
        **effort._asdict(),
        seed=settings.seed,
        timeout_seconds=settings.timeout_seconds,
    )


@final
@dataclass(frozen=True)
class Iterations(Protocol):
    """The default: how long a round of updates takes; a comparison of revisions has many short rounds instead."""

    name: ClassVar[str] = "iterations"
    default: ClassVar[Effort] = Effort(1000, None, None, 120.0)
    default_compared: ClassVar[Effort] = Effort(100, None, None, 90.0)
    default_counted: ClassVar[Effort] = Effort(1000, 1, 5)

    @classmethod
    def effort(cls, settings: Settings) -> Effort:
        """Return how much ``settings`` ask for: what they count, or as much as it takes within a budget."""
        default = cls.default_compared if settings.compares else cls.default
        if not settings.compares and (settings.rounds or settings.launches):
            default = cls.default_counted
        return Effort(
            settings.iterations or default.iterations,
            settings.rounds or default.rounds,
            settings.launches or default.launches,
            settings.budget_seconds or default.budget_seconds,
        )

    def plans(self, settings: Settings, dataset: Dataset, cpus: tuple[int, ...]) -> list[Plan]:
        """Return the one plan; without a comparison it has an error curve."""
        workload, effort = self.workload(settings, dataset), self.effort(settings)
        plan = rounds_plan(workload, settings, dataset, cpus, effort)
        if settings.compares:
            return [replace(plan, always_cold=cold(settings.gates), entry_seconds=entry_seconds(settings.gates))]
        return [replace(plan, marks=marks(plan))]


def marks(plan: Plan) -> tuple[int, ...]:
    """Return the updates at the points of the error curve: whole passes, since a round begins with minibatch 0."""
    batches = len(plan.dataset.train.labels) // plan.workload.batch_size
    passes = int(CURVE_SHARE * plan.iterations) // batches
    stride = math.ceil(passes / CURVE_POINTS)
    return tuple(batches * done for done in range(stride, passes + 1, stride)) if passes else ()


@final
@dataclass(frozen=True, kw_only=True)
class Epochs(Protocol):
    """The book's run: each case trains once, for ``epochs`` passes in blocks, and is validated after each block."""

    name: ClassVar[str] = "epochs"
    init: ClassVar[str] = "book"
    resumes: ClassVar[bool] = True
    saves_as: ClassVar[str | None] = "epochs"
    default_epochs: ClassVar[dict[str, int]] = {"mlp": 1000, "linear": 100}  # the book gives none for its linear model
    block_steps: ClassVar[int] = 1000  # updates between two validations: the book's

    epochs: int | None = None
    target_error_percent: float = 2.7

    def __post_init__(self) -> None:
        """Check the amount and the target.

        Raises:
            SettingsError: one is outside its range.
        """
        if self.epochs is not None and self.epochs < 1:
            raise SettingsError(f"epochs is {self.epochs}; it must be 1 or more")
        if not 0 < self.target_error_percent < math.inf:
            raise SettingsError(f"target_error_percent is {self.target_error_percent}; it must be a positive number")

    def passes(self, workload: Workload) -> int:
        """Return the number of epochs."""
        return self.default_epochs[workload.model] if self.epochs is None else self.epochs

    def plans(self, settings: Settings, dataset: Dataset, cpus: tuple[int, ...]) -> list[Plan]:
        """Return the one plan."""
        if settings.compares:
            raise SettingsError("--against and --versions compare short rounds; leave test_epochs.py out")
        if settings.budget_seconds:
            raise SettingsError("a training always runs all of its epochs; leave --budget out")
        workload = self.workload(settings, dataset)
        updates = self.passes(workload) * (len(dataset.train.labels) // workload.batch_size)
        ends = (*range(0, updates, self.block_steps), updates)
        blocks = tuple(
            Block(name=f"{end:,} of {updates:,} updates", steps=end - begin, first=begin)
            for begin, end in pairwise(ends)
        )
        effort = Effort(updates, len(blocks), 1)
        plan = rounds_plan(workload, settings, dataset, cpus, effort)
        return [replace(plan, blocks=blocks)]


@final
@dataclass(frozen=True)
class Scaling(Protocol):
    """How a step grows with the hidden width and the batch: one campaign for each of ``sizes``."""

    name: ClassVar[str] = "scaling"
    fewest_steps: ClassVar[int] = 10  # of a round, however large the steps are

    sizes: tuple[str, ...] = (
        *(f"hidden={hidden}" for hidden in (100, 250, 500, 1000, 2000, 4000)),
        *(f"batch_size={rows}" for rows in (32, 128, 1024, 4096)),  # 600 is that of each width
    )

    def __post_init__(self) -> None:
        """Check that there is a size.

        Raises:
            SettingsError: there is none.
        """
        if not self.sizes:
            raise SettingsError("sizes is empty; give changes of the workload, such as hidden=100, or leave sizes out")

    def steps(self, workload: Workload, wanted: int) -> int:
        """Return how many steps of ``workload`` do the work of ``wanted`` of the default, but at most ``wanted``."""
        least = min(self.fewest_steps, wanted)
        return max(least, min(wanted, wanted * Workload().step_flops // workload.step_flops))

    def plans(self, settings: Settings, dataset: Dataset, cpus: tuple[int, ...]) -> list[Plan]:
        """Return a plan for each size."""
        if settings.compares:
            raise SettingsError("--against and --versions compare one workload; leave test_scaling.py out")
        if settings.budget_seconds:
            raise SettingsError("test_scaling.py measures --launches and --rounds of each size; leave --budget out")
        effort = Iterations.effort(settings)
        if effort.launches is None:
            effort = Iterations.default_counted._replace(iterations=effort.iterations)
        plans = []
        for size in self.sizes:
            workload = self.workload(settings, dataset, size)
            steps = self.steps(workload, effort.iterations)
            plans.append(rounds_plan(workload, settings, dataset, cpus, effort._replace(iterations=steps)))
        return plans
