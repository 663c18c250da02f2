"""What a campaign leaves behind, in the words of the result schema; saved runs hold nothing else of ours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA = 1


class State(StrEnum):
    """Whether a case has earned its number; every state but ``valid`` comes with a reason and shows no figure."""

    VALID = "valid"
    CONTENDED = "contended"
    OVERSUBSCRIBED = "oversubscribed"
    THROTTLED = "throttled"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Parity:
    """How far an implementation was from the reference after ``steps`` steps, and how far it may be.

    ``loss`` is the largest difference of a step's loss (nats); the weights' errors are ‖p - p*‖ / ‖p* - p₀‖, in
    units of what was learned, so that an implementation that learns nothing is off by one.
    """

    steps: int
    errors: dict[str, float]
    tolerances: dict[str, float]
    verified: bool

    @property
    def sentence(self) -> str:
        """The worst of the errors beside its tolerance."""
        worst = max(self.errors, key=lambda name: self.errors[name] / max(self.tolerances[name], 1e-300))
        verdict = "agrees with" if self.verified else "is not within the tolerance of"
        return (
            f"{verdict} the float64 reference after {self.steps} steps: {worst} is off by {self.errors[worst]:.2g}"
            f" where its precision allows {self.tolerances[worst]:.2g}"
        )


@dataclass(frozen=True)
class Launch:
    """One worker process: what it cost to get it going (seconds), and how close it came to the reference.

    ``first_step_seconds`` is the first step in the process, which is where jit compilers work; ``transfer_seconds`` is
    what it takes to put the training set on a device, once more after the build, and None on a CPU. All are None where
    another process started at the same time and took its share of the CPUs.
    """

    launch: int
    start_seconds: float | None
    import_seconds: float | None
    build_seconds: float | None
    first_step_seconds: float | None
    parity: Parity | None
    transfer_seconds: float | None = None

    @property
    def phases(self) -> tuple[float, ...]:
        """The four phases in their order, or none."""
        found = (self.start_seconds, self.import_seconds, self.build_seconds, self.first_step_seconds)
        return tuple(seconds for seconds in found if seconds is not None)


@dataclass(frozen=True)
class GpuLoad:
    """What a GPU did during a round, 0 where it does not tell: clock, temperature and power are those of its end.

    ``joules`` is the energy of the whole board; ``slowdown`` what lowered its clocks, at the round's start or end, or
    ""; ``others`` how many processes it served that are none of the campaign's.
    """

    megahertz: float
    celsius: float
    watts: float
    joules: float
    slowdown: str
    others: int

    @property
    def disturbance(self) -> str:
        """Why the round does not count, or "" where it does."""
        if self.slowdown:
            return f"throttled by {self.slowdown}"
        return f"other processes were on its GPU: {self.others}" if self.others else ""


@dataclass(frozen=True)
class Round:
    """One timed block of steps from the initial weights.

    ``order`` counts all rounds of the campaign as they were measured; ``turn`` is the round's place in its launch, and
    rounds of two cases with the same launch and turn are neighbours in time: they make the pairs. ``attempt`` is 0, or
    higher where a disturbed round was repeated; ``disturbance`` says by what it was disturbed, or is empty.
    ``harness_seconds`` is the harness's own wall time, messages included. For the others see ``machine.Load``; ``gpu``
    is what the case's GPU did, if it has one.
    """

    launch: int
    turn: int
    attempt: int
    order: int
    wall_seconds: float
    cpu_seconds: float
    harness_seconds: float
    waiting_seconds: float
    others_seconds: float
    steal_seconds: float
    megahertz: float
    disturbance: str
    joules: float = 0.0
    gpu: GpuLoad | None = None


@dataclass(frozen=True)
class CurvePoint:
    """The validation error (percent) after so many updates, and after so many seconds of training if they were timed.

    Without ``seconds`` the updates are as long as the case's measured ones.
    """

    updates: int
    seconds: float | None
    error_percent: float


@dataclass
class CaseRecord:
    """All that was measured of one case, and whether it may be shown.

    ``error_rates`` (percent, by split) and ``losses`` (of each step, before its update) are those of one round; every
    round is the same training. ``curve`` has the error along the way, where it was asked for.
    """

    case: str
    implementation: str
    device: str
    state: State = State.VALID
    reason: str = ""
    launches: list[Launch] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    thread_pools: list[dict[str, Any]] = field(default_factory=list)
    peak_bytes: int = 0
    error_rates: dict[str, float] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)

    def give_up(self, state: State, reason: str) -> None:
        """Take the number away; the first reason stays."""
        if self.state is State.VALID:
            self.state, self.reason = state, reason

    @property
    def clean_rounds(self) -> list[Round]:
        """The rounds that count: one of each turn, undisturbed."""
        return [each for each in self.rounds if not each.disturbance]

    @property
    def clean_seconds(self) -> dict[tuple[int, int], float]:
        """The wall seconds of the rounds that count, keyed by (launch, turn)."""
        return {(each.launch, each.turn): each.wall_seconds for each in self.clean_rounds}

    def as_dict(self) -> dict[str, Any]:
        """Return the record as builtin types, ready for JSON."""
        return asdict(self)
