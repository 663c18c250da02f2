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
class Launch:
    """One worker process: what it cost to get it going (seconds), and how close it came to the reference.

    ``first_step_seconds`` is the first step in the process, which is where jit compilers work.
    """

    launch: int
    start_seconds: float
    import_seconds: float
    build_seconds: float
    first_step_seconds: float
    parity: dict[str, Any]


@dataclass(frozen=True)
class Round:
    """One timed block of steps from the initial weights.

    ``order`` counts all rounds of the campaign as they were measured; ``turn`` is the round's place in its launch, and
    rounds of two cases with the same launch and turn are neighbours in time: they make the pairs. ``attempt`` is 0, or
    higher where a disturbed round was repeated; ``disturbance`` says by what it was disturbed, or is empty.
    ``harness_seconds`` is the harness's own wall time, messages included.
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
    disturbance: str


@dataclass
class CaseRecord:
    """All that was measured of one case, and whether it may be shown."""

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

    def give_up(self, state: State, reason: str) -> None:
        """Take the number away; the first reason stays."""
        if self.state is State.VALID:
            self.state, self.reason = state, reason

    @property
    def clean_rounds(self) -> list[Round]:
        """The rounds that count: one of each turn, undisturbed."""
        return [each for each in self.rounds if not each.disturbance]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as builtin types, ready for JSON."""
        return asdict(self)
