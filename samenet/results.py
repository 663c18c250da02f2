"""What a campaign leaves behind, as the types that write and read it; docs/schema.md is generated from here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import Any

from impls.workload import Workload  # noqa: TC001  # msgspec reads the annotations
from samenet.records import CurvePoint, Launch, Round, State
from samenet.stats import Estimate  # noqa: TC001  # likewise

# 1: until 0.1.0. Unknown numbers were 0, an unknown text "not told", a disturbance was a sentence.
# 2: 0.2.0. The unknown is null, a disturbance has a cause, ``bound``, ``again`` and ``against.before`` hold whole
#    results, a campaign has an id and may be unfinished.
SCHEMA = 2


class Outcome(StrEnum):
    """What a change did to a case."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    UNVERIFIED = "unverified"
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True)
class Verdict:
    """The outcome for one case: ``ratio`` is its time after the change over that before, where both have one.

    ``regression`` says whether a build should fail for it; ``sentence`` has all of it in words. Both follow from the
    other fields, and are saved for other programs.
    """

    case: str
    word: Outcome
    ratio: Estimate | None = None
    reason: str = ""
    regression: bool = False
    sentence: str = ""

    def __post_init__(self) -> None:
        """Derive what follows from the other fields; the class is frozen."""
        ratio = f", {self.ratio.text()} times the time" if self.ratio else ""
        reason = f": {self.reason}" if self.reason else ""
        object.__setattr__(self, "regression", self.word in {Outcome.SLOWER, Outcome.UNVERIFIED})
        object.__setattr__(self, "sentence", f"{self.case} is {self.word}{ratio}{reason}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set that was trained on; ``source`` is where it came from, of a local folder the name alone."""

    name: str
    source: str = "unknown"
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training in epochs: its length, when it first reached the target, and how often it was resumed."""

    epochs: int
    target_error_percent: float
    target_seconds: float | None = None
    weights_sha256: str | None = None
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a case's rounds are rounds of; ``least_seconds`` is the least that a round can take on this GPU."""

    protocol: str
    iterations: int
    workload: Workload
    fingerprint: str
    step_flops: float = 0.0
    data: Data
    threads: int

    def __post_init__(self) -> None:
        """Refuse what no campaign has.

        Raises:
            ValueError: there are no iterations, or no threads.
        """
        if self.iterations < 1 or self.threads < 1:
            raise ValueError(f"{self.iterations} iterations on {self.threads} threads cannot be measured")


@dataclass(frozen=True, kw_only=True)
class CaseResult(Context):
    """One case as it was accepted: all that was measured, and the estimates that a valid one has earned.

    ``seconds`` is the median round and its interval, ``efficiency`` the share of the bound (1 is the bound);
    ``error_rates`` (percent, by split) and ``losses`` (nats, of each step before its update) are those of one round:
    every round is the same training. ``curve`` is the error along the way; ``manifest`` what a reader must know before
    comparing; ``verdict`` the outcome of ``--against``; ``training`` is set for a training in epochs.
    """

    case: str
    implementation: str
    device: str
    state: State
    reason: str = ""
    seconds: Estimate | None = None
    efficiency: Estimate | None = None
    gflop_per_second: float | None = None
    least_seconds: float | None = None
    manifest: dict[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    training: Training | None = None
    launches: tuple[Launch, ...] = ()
    rounds: tuple[Round, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    thread_pools: tuple[dict[str, Any], ...] = ()
    peak_bytes: int | None = None
    error_rates: dict[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    curve: tuple[CurvePoint, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a valid case without what its tables are made of.

        Raises:
            ValueError: it has no seconds.
        """
        Context.__post_init__(self)
        if self.state is State.VALID and self.seconds is None:
            raise ValueError(f"{self.case} is valid and has no seconds")

    @property
    def clean_rounds(self) -> list[Round]:
        """The rounds that count: one of each turn, undisturbed."""
        return [each for each in self.rounds if not each.disturbance]

    @property
    def clean_seconds(self) -> dict[tuple[int, int], float]:
        """The wall seconds of the rounds that count, keyed by (launch, turn)."""
        return {(each.launch, each.turn): each.wall_seconds for each in self.clean_rounds}

    @property
    def joules(self) -> float | None:
        """The median energy of a round: of the case's GPU, or else of the processor; None where it is unknown."""
        energies = [each.gpu.joules if each.gpu else each.joules for each in self.clean_rounds]
        known = [joules for joules in energies if joules]
        return median(known) if known and len(known) == len(energies) else None

    @property
    def timed(self) -> Estimate:
        """The seconds of a valid case."""
        if self.seconds is None:
            raise ValueError(f"{self.case} is {self.state} and has no seconds")
        return self.seconds

    def slim(self) -> CaseResult:
        """Return the case without its raw values: what a history needs of it."""
        return replace(self, rounds=(), launches=(), thread_pools=(), losses=(), curve=())


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a reader must know of the machine; equal fingerprints are equal hardware."""

    hardware: dict[str, Any]
    fingerprint: str
    cpus: tuple[int, ...] = ()
    system: str = "unknown"
    governor: str | None = None
    virtualised: bool = False
    gpu_driver: str | None = None
    load_average: float | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CampaignRecord:
    """How much was measured, and how long it took (seconds): in all, of it before rounds, of it in rounds.

    ``id`` names the campaign, and is the same in the run that ``--resume`` completes. ``interrupted``: Ctrl-C ended it.
    ``unfinished``: it was read from the journal of a campaign that has not ended.
    """

    id: str = ""
    iterations: int = 0
    rounds: int
    launches: int
    seed: int
    interrupted: bool = False
    unfinished: bool = False
    wall_seconds: float
    startup_seconds: float = 0.0
    measured_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """The ratio of a case to itself, if there were pairs of valid rounds."""

    case: str
    ratio: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class RevisionRecord:
    """What ``--against`` found: the two sides, the verdicts, and the results of the cases as they were."""

    revision: str
    commit: str
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

    ``bound`` is the fastest matrix products, ``again`` the second half of the A/A pair.
    """

    schema: int = SCHEMA
    machine: Machine
    campaign: CampaignRecord
    cases: tuple[CaseResult, ...] = ()
    noise_floor: NoiseFloor | None = None
    against: RevisionRecord | None = None
    bound: CaseResult | None = None
    again: CaseResult | None = None

    def __getitem__(self, case: str) -> CaseResult:
        """Return the result of the case with this id.

        Raises:
            KeyError: it was not measured here.
        """
        return next((result for result in self.cases if result.case == case), None) or self._missing(case)

    def _missing(self, case: str) -> CaseResult:
        known = ", ".join(result.case for result in self.cases)
        raise KeyError(f"no case {case} in these results; choose one of: {known}")
