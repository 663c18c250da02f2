"""What a campaign leaves behind, as the types that write and read it; docs/schema.md is generated from here."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import Any

from impls.lanes import PackageVersion  # noqa: TC001  # msgspec reads the annotations
from samenet.context import Context, Machine
from samenet.records import CurvePoint, Launch, Quantity, Round, State, check_error_rate, clean_rounds, clean_seconds
from samenet.stats import CONFIDENCE, Estimate

# 1: until 0.1.0. Unknown numbers were 0, an unknown text "not told", a disturbance was a sentence.
# 2: 0.2.0. The unknown is null, a disturbance has a cause, ``bound``, ``again`` and ``against.before`` hold whole
#    results, a campaign has an id and may be unfinished.
SCHEMA = 2

LOWEST_CONFIDENCE, HIGHEST_CONFIDENCE = 0.5, 0.9999  # of an interval; beyond them its width has no meaning


class Outcome(StrEnum):
    """What a change did to a case."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    LARGER = "larger"
    SMALLER = "smaller"
    INCONCLUSIVE = "inconclusive"
    UNVERIFIED = "unverified"
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True)
class Verdict:
    """The outcome for one quantity of a case; ``regression`` and ``sentence`` follow from the rest.

    Attributes:
        case: the case's id.
        word: what the change did to it.
        quantity: what became slower or larger.
        gates: whether a build should fail for that; for wrong work it always should.
        ratio: its time (or its memory) after the change over that before, where both have one.
        reason: why it is unverified or inconclusive, where that needs one.
        regression: whether a build should fail for it.
        sentence: all of it in words.
    """

    case: str
    word: Outcome
    _: KW_ONLY
    quantity: Quantity = Quantity.STEADY
    gates: bool = True
    ratio: Estimate | None = None
    reason: str = ""
    regression: bool = False
    sentence: str = ""

    def __post_init__(self) -> None:
        """Derive what follows from the other fields; the class is frozen."""
        what = "memory" if self.quantity is Quantity.MEMORY else "time"
        ratio = f", {self.ratio.text()} times the {what}" if self.ratio else ""
        reason = f": {self.reason}" if self.reason else ""
        is_worse = self.gates and self.word in {Outcome.SLOWER, Outcome.LARGER}
        object.__setattr__(self, "regression", is_worse or self.word is Outcome.UNVERIFIED)
        object.__setattr__(self, "sentence", f"{self.subject} is {self.word}{ratio}{reason}")

    @property
    def subject(self) -> str:
        """The case, and the quantity if it is not the steady step, such as ``jax-cpu, first step``."""
        return self.case + ("" if self.quantity is Quantity.STEADY else f", {self.quantity.words}")


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training in epochs.

    Attributes:
        epochs: passes over the training set.
        target_error_percent: %, the validation error of ``--target-error``.
        target_seconds: s of training until it was first reached; None if it was not.
        weights_sha256: checksum of the bytes of the last weights.
        resumed: how often it was continued after an interruption.
    """

    epochs: int
    target_error_percent: float
    target_seconds: float | None = None
    weights_sha256: str | None = None
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class CaseResult(Context):
    """One case as it was accepted: all that was measured, and the estimates that a valid one has earned.

    Attributes:
        case: its id, such as ``torch-cpu``.
        implementation: the part before the device, such as ``torch``.
        device: ``cpu``, ``cuda`` for the first GPU, ``cuda:1`` for the second.
        asked_version: the version of a package that it was measured with, where several are compared.
        confidence: of its intervals; above 0.95 where the campaign ended as soon as they were narrow enough.
        state: whether it has a number.
        reason: why it has none; empty if it is valid.
        seconds: s, of a round; None unless valid.
        efficiency: the time of the bound over that of the case, 1 is the bound; None unless both are valid.
        gflop_per_second: 10⁹ flop/s of the matrix products in such a round.
        least_seconds: s, of a round at this GPU's peak rates; None for a CPU.
        manifest: what a reader must know before comparing it with another.
        verdict: the outcome of ``--against`` or ``--versions``.
        other_verdicts: the outcomes for the quantities of ``--gate`` other than the steady step.
        training: of ``test_epochs.py`` only.
        launches: one for each worker that started.
        rounds: one for each block and attempt, disturbed ones too.
        versions: of ``python``, ``numpy`` and the framework's packages.
        thread_pools: BLAS and OpenMP libraries in the process, as threadpoolctl describes them.
        peak_bytes: bytes, most host memory of a worker (VmHWM).
        environment_bytes: bytes on disk of its packages and of all that they require.
        error_rates: %, ``train``, ``validation`` and ``test`` after one round: each round is the same training.
        losses: nats, of each step of one round before its update.
        curve: the error during the training, where it was recorded.
    """

    case: str
    implementation: str
    device: str
    asked_version: PackageVersion | None = None
    confidence: float = CONFIDENCE
    state: State
    reason: str = ""
    seconds: Estimate | None = None
    efficiency: Estimate | None = None
    gflop_per_second: float | None = None
    least_seconds: float | None = None
    manifest: dict[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    other_verdicts: tuple[Verdict, ...] = ()
    training: Training | None = None
    launches: tuple[Launch, ...] = ()
    rounds: tuple[Round, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    thread_pools: tuple[dict[str, Any], ...] = ()
    peak_bytes: int | None = None
    environment_bytes: int | None = None
    error_rates: dict[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    curve: tuple[CurvePoint, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no campaign has, and a valid case without what its tables are made of.

        Raises:
            ValueError: its confidence or an error rate is impossible, or it is valid and has no seconds.
        """
        Context.__post_init__(self)
        if not LOWEST_CONFIDENCE <= self.confidence <= HIGHEST_CONFIDENCE:
            raise ValueError(f"{self.case} has intervals at a confidence of {self.confidence:g}")
        for name, rate in self.error_rates.items():
            check_error_rate(rate, f"{self.case} has for {name}")
        if self.state is State.VALID and self.seconds is None:
            raise ValueError(f"{self.case} is valid and has no seconds")

    @property
    def clean_rounds(self) -> list[Round]:
        """The blocks that count: one of each turn, undisturbed."""
        return clean_rounds(self.rounds)

    @property
    def clean_seconds(self) -> dict[tuple[int, int], float]:
        """The seconds of a round at the pace of each block that counts, keyed by (launch, turn)."""
        return clean_seconds(self.rounds, self.iterations)

    @property
    def joules(self) -> float | None:
        """The median energy of a round: of the case's GPU, or else of the processor; None where it is unknown."""
        blocks = [(each.gpu or each, each.lead_in + (each.steps or self.iterations)) for each in self.clean_rounds]
        known = [load.joules * self.iterations / steps for load, steps in blocks if load.joules]
        return median(known) if known and len(known) == len(blocks) else None

    @property
    def timed(self) -> Estimate:
        """The seconds of a valid case."""
        if self.seconds is None:
            raise ValueError(f"{self.case} is {self.state} and has no seconds")
        return self.seconds

    def slim(self) -> CaseResult:
        """Return the case without its raw values: what a history needs of it."""
        launches = tuple(replace(each, parity=None, threads_cpus=()) for each in self.launches)
        return replace(self, rounds=(), launches=launches, thread_pools=(), losses=(), curve=())


@dataclass(frozen=True, kw_only=True)
class CampaignRecord:
    """How much was measured, and how long it took.

    Attributes:
        id: names the campaign; the same in the run that ``--resume`` completes.
        iterations: updates in a round.
        rounds: rounds of each case in a launch, as asked for; None where launches end by time.
        launches: launches of each case, as asked for; None where there were as many as it took.
        seed: of the initial weights and of the order of rounds.
        interrupted: whether Ctrl-C ended it.
        unfinished: whether it was read from the journal of a campaign that has not ended.
        wall_seconds: s, all of it, which includes the float64 reference.
        startup_seconds: s of it, launches up to their first round.
        measured_seconds: s of it, rounds of all entries and attempts by the harness's clock.
    """

    id: str = ""
    iterations: int = 0
    rounds: int | None = None
    launches: int | None = None
    seed: int
    interrupted: bool = False
    unfinished: bool = False
    wall_seconds: float
    startup_seconds: float = 0.0
    measured_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """The ratio of a case to itself.

    Attributes:
        case: the case's id.
        ratio: the time of its second entry over that of its first; None unless both are valid.
    """

    case: str
    ratio: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord:
    """What ``--against`` or ``--versions`` found.

    Attributes:
        revision: what was compared with: the git revision as it was written, or a version such as ``jax 0.8.3``.
        commit: the revision's commit; empty for a version.
        after: what it was compared with.
        tolerance: the change of the steady step that is ignored; 0.02 is 2 %.
        regression: whether a build should fail.
        summary: all of it in one sentence.
        verdicts: one for each case and quantity.
        notes: what a reader must know of the comparison.
        before: the cases as they were at the revision; those of a version are among ``cases``.
    """

    revision: str
    commit: str = ""
    after: str = "this tree"
    tolerance: float
    regression: bool = False
    summary: str = ""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    before: tuple[CaseResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Results:
    """One campaign, or several of one protocol, as it is saved and as ``samenet.measure`` returns it.

    Attributes:
        schema: the version of the format.
        machine: where it was measured.
        campaign: how much was measured.
        cases: all cases, in the order of the registry.
        noise_floor: the smallest difference that this campaign can tell; None if it was not measured.
        against: of ``--against`` and ``--versions`` only.
        bound: the fastest matrix products; None if none were measured.
        peak: the step's arithmetic at the CPUs' highest rate.
        again: the second entry of the case in ``noise_floor``.
    """

    schema: int = SCHEMA
    machine: Machine
    campaign: CampaignRecord
    cases: tuple[CaseResult, ...] = ()
    noise_floor: NoiseFloor | None = None
    against: ComparisonRecord | None = None
    bound: CaseResult | None = None
    peak: CaseResult | None = None
    again: CaseResult | None = None

    def __getitem__(self, case: str) -> CaseResult:
        """Return the result of the case with this id.

        Raises:
            KeyError: it was not measured here.
        """
        if found := next((each for each in self.cases if each.case == case), None):
            return found
        raise KeyError(f"no case {case} in these results; choose one of: {', '.join(each.case for each in self.cases)}")
