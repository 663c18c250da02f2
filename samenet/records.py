"""What is measured of one entry: its launches, its rounds and what disturbed them, as it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether a case has earned its number; every state but ``valid`` comes with a reason and shows no figure."""

    VALID = "valid"
    CONTENDED = "contended"
    OVERSUBSCRIBED = "oversubscribed"
    THROTTLED = "throttled"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_machines_fault(self) -> bool:
        """Whether the machine, and not the case, is why there is no number: no build fails for it."""
        return self in {State.CONTENDED, State.THROTTLED, State.SKIPPED}


@dataclass(frozen=True)
class Disturbance:
    """Why a round does not count: the state that a case with too many of these gets, and what was seen."""

    cause: State
    detail: str


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an implementation was from the float64 reference after ``steps`` steps, and how far it may be.

    ``loss`` is the largest difference of a step's loss (nats); the weights' errors are ‖p - p*‖ / ‖p* - p₀‖, in
    units of what was learned, so that an implementation that learns nothing is off by one.
    """

    steps: int
    errors: dict[str, float]
    tolerances: dict[str, float]
    verified: bool

    @property
    def sentence(self) -> str:
        """The worst of the errors and its tolerance."""
        worst = max(self.errors, key=lambda name: self.errors[name] / max(self.tolerances[name], 1e-300))
        verdict = "agrees with" if self.verified else "is not within the tolerance of"
        return (
            f"{verdict} the float64 reference after {self.steps} steps: {worst} is off by {self.errors[worst]:.2g}"
            f" where its precision allows {self.tolerances[worst]:.2g}"
        )


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One worker process: its phases (seconds), and its agreement with the reference.

    ``first_step_seconds`` is the first step in the process, which is where jit compilers work; ``transfer_seconds`` is
    what it takes to put the training set on a device, None on a CPU. The phases are None where another process started
    at the same time and took its share of the CPUs, or where a campaign was resumed.
    """

    launch: int
    start_seconds: float | None = None
    import_seconds: float | None = None
    build_seconds: float | None = None
    first_step_seconds: float | None = None
    transfer_seconds: float | None = None
    parity: Parity | None = None

    @property
    def phases(self) -> tuple[float, ...]:
        """The four phases in their order, or none."""
        phases = (self.start_seconds, self.import_seconds, self.build_seconds, self.first_step_seconds)
        return tuple(seconds for seconds in phases if seconds is not None)


@dataclass(frozen=True, kw_only=True)
class GpuLoad:
    """What a GPU did during a round: clock (MHz), temperature (°C) and power (W) at its end.

    ``joules`` is the energy of the whole board; ``slowdown`` what lowered its clocks, at the round's start or end, or
    ""; ``others`` the number of processes on it that are not the campaign's.
    """

    megahertz: float | None = None
    celsius: float | None = None
    watts: float | None = None
    joules: float | None = None
    slowdown: str = ""
    others: int = 0

    @property
    def disturbance(self) -> Disturbance | None:
        """Why the round does not count, or None where it does."""
        if self.slowdown:
            return Disturbance(State.THROTTLED, f"throttled by {self.slowdown}")
        if self.others:
            return Disturbance(State.CONTENDED, f"other processes were on its GPU: {self.others}")
        return None


@dataclass(frozen=True, kw_only=True)
class Round:
    """One timed round of updates (seconds): ``wall`` and ``cpu`` by the worker's clocks.

    ``order`` counts all rounds of the campaign as they were measured; ``turn`` is the round's place in its launch, and
    rounds of two cases with the same launch and turn are neighbours in time: they make the pairs. ``attempt`` is 0, or
    higher where a disturbed round was repeated. ``harness_seconds`` is the harness's own wall time, messages included.
    ``waiting``, ``others`` and ``steal`` are CPU seconds that the worker's threads waited for a CPU, that other
    processes used, and that the hypervisor took; ``megahertz`` is the CPUs' mean clock at the end, ``joules`` the
    energy of the processor's packages (RAPL); ``gpu`` is what the case's GPU did, if it has one.
    """

    launch: int
    turn: int
    attempt: int = 0
    order: int
    wall_seconds: float
    cpu_seconds: float
    harness_seconds: float
    waiting_seconds: float | None = None
    others_seconds: float | None = None
    steal_seconds: float | None = None
    megahertz: float | None = None
    joules: float | None = None
    disturbance: Disturbance | None = None
    gpu: GpuLoad | None = None

    def __post_init__(self) -> None:
        """Refuse a duration that no clock shows.

        Raises:
            ValueError: the wall time is not a positive number.
        """
        if not 0 < self.wall_seconds < float("inf"):
            raise ValueError(f"a round of {self.wall_seconds:g} s is not a duration")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The validation error (percent) after so many updates, and the seconds of training by then if they were timed."""

    updates: int
    seconds: float | None = None
    error_percent: float
