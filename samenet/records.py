"""What is measured of one entry: its launches, its blocks and what disturbed them, as it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(StrEnum):
    """Whether a case has earned its number; every state but ``valid`` comes with a reason and shows no figure."""

    VALID = "valid"
    CONTENDED = "contended"
    OVERSUBSCRIBED = "oversubscribed"
    UNDERSUBSCRIBED = "undersubscribed"
    THROTTLED = "throttled"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_machines_fault(self) -> bool:
        """Whether the machine, and not the case, is why there is no number: no build fails for it.

        ``undersubscribed`` is the fault of the case or of its interpreter's settings: load of other processes does not
        change how many threads work, and the next run shows the same.
        """
        return self in {State.CONTENDED, State.THROTTLED, State.SKIPPED}

    @property
    def may_recover(self) -> bool:
        """Whether more rounds may still make the case valid: the machine may be quieter then."""
        return self in {State.CONTENDED, State.THROTTLED}


class Quantity(StrEnum):
    """What of a case may become worse: its steady step, or what it needs before."""

    STEADY = "steady"
    FIRST_STEP = "first-step"
    IMPORT = "import"
    MEMORY = "memory"

    @property
    def words(self) -> str:
        """What a sentence calls it."""
        return "step" if self is Quantity.STEADY else self.replace("-", " ")

    @property
    def is_cold(self) -> bool:
        """Whether it is known of launches alone that have empty caches and start one by one."""
        return self in {Quantity.FIRST_STEP, Quantity.IMPORT}


@dataclass(frozen=True)
class Disturbance:
    """Why a round does not count.

    Attributes:
        cause: the state of a case with too many of these.
        detail: what was seen, in words.
    """

    cause: State
    detail: str


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an implementation was from the float64 reference, and how far it may be.

    The errors of the weights are ``‖p - p*‖ / ‖p* - p₀‖``, in units of what was learned, so that an implementation
    that learns nothing is off by one.

    Attributes:
        steps: after how many steps they were compared.
        errors: ``loss``, the largest difference of a step's loss (nats), and one for each array of weights (``w1``, …).
        tolerances: the largest error that is allowed, by the same keys.
        verified: whether every error is within its tolerance.
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

    The phases are None where another process started at the same time and took its share of the CPUs, or where a
    campaign was resumed.

    Attributes:
        launch: its number, from 0.
        cold: whether it found nothing compiled; None where its phases are, and in older files, where that was the
            first launch alone.
        start_seconds: s, until the process answered.
        import_seconds: s, to import the framework.
        build_seconds: s, to make the trainer.
        first_step_seconds: s, the first step in the process, which is where JIT compilers work.
        transfer_seconds: s, to put the training set on a GPU; None on a CPU.
        parity: its agreement; None for a bound, which trains nothing.
        threads_working: how many threads worked in a short run after the parity check; None on a GPU.
        threads_cpus: the CPUs on which those threads may run.
        flushes_denormals: whether the main thread's arithmetic has 0 for a number below 2.2e-308.
        peak_bytes: bytes, most host memory of the worker (VmHWM) by its last block.
        file_bytes: bytes of it that were pages of files by then, such as libraries (RssFile).
    """

    launch: int
    cold: bool | None = None
    start_seconds: float | None = None
    import_seconds: float | None = None
    build_seconds: float | None = None
    first_step_seconds: float | None = None
    transfer_seconds: float | None = None
    parity: Parity | None = None
    threads_working: int | None = None
    threads_cpus: tuple[int, ...] = ()
    flushes_denormals: bool | None = None
    peak_bytes: int | None = None
    file_bytes: int | None = None

    @property
    def phases(self) -> tuple[float, ...]:
        """The four phases in their order, or none."""
        phases = (self.start_seconds, self.import_seconds, self.build_seconds, self.first_step_seconds)
        return tuple(seconds for seconds in phases if seconds is not None)


@dataclass(frozen=True, kw_only=True)
class GpuLoad:
    """What a GPU did during a round; None is what it does not report.

    Attributes:
        megahertz: MHz, its clock at the end.
        celsius: °C, its temperature at the end.
        watts: W, its power at the end, which is the mean of a second; None if the round was shorter.
        joules: J, the energy of the whole board during the round; None below one second.
        power_capped: the share of the round in which its power limit lowered its clock; recorded, and not judged.
        slowdown: what else lowered its clock, and in which share of the round where that is known; empty if nothing.
        others: processes on it that are not the campaign's, and that may be busy.
        other_names: their names, where they are known.
        others_percent: % of the time in which other processes used it while the campaign's were stopped.
        idle_names: the names of other processes that are idle.
    """

    megahertz: float | None = None
    celsius: float | None = None
    watts: float | None = None
    joules: float | None = None
    power_capped: float | None = None
    slowdown: str = ""
    others: int | None = None
    other_names: tuple[str, ...] = ()
    others_percent: float | None = None
    idle_names: tuple[str, ...] = ()

    @property
    def disturbance(self) -> Disturbance | None:
        """Why the round does not count, or None where it does."""
        if self.slowdown:
            return Disturbance(State.THROTTLED, f"throttled by {self.slowdown}")
        if self.others:
            detail = f"other processes were on its GPU: {', '.join(self.other_names) or self.others}"
            if self.others_percent is not None:
                detail += f"; while the case was stopped, it was in use for {self.others_percent:g} % of the time"
            return Disturbance(State.CONTENDED, detail)
        return None


@dataclass(frozen=True, kw_only=True)
class Round:
    """One timed block of a round: some updates in a row, while no other case runs.

    Blocks of two cases with the same launch and turn are neighbours in time: they make the pairs.

    Attributes:
        launch: the launch that it belongs to, from 0.
        turn: its place in the launch, from 0.
        attempt: 0, or higher where a disturbed block was repeated.
        order: its place among all blocks of the campaign as they were measured, from 0.
        first: how many updates of its round came before, from 0.
        lead_in: untimed updates directly before the timed ones, in the same request; ``wall_seconds`` and
            ``cpu_seconds`` leave them out, and all figures of the machine include them. 0 on a GPU, where the lead-in
            is a request of its own, and in files of samenet 0.2.
        steps: timed updates; None in files of samenet 0.1, where a block is a whole round.
        wall_seconds: s, by the worker's clock.
        cpu_seconds: CPU s of all threads of the worker.
        harness_seconds: s, by the harness's clock, which includes the messages to the worker.
        waiting_seconds: CPU s that the worker's threads waited for a CPU.
        others_seconds: CPU s that other processes used than the worker and the harness, to two of the kernel's ticks
            (20 ms), and so below 0 too.
        steal_seconds: CPU s that the hypervisor took.
        throttled_seconds: CPU s for which the CPU quota of its cgroup, or of one above, stopped it.
        megahertz: MHz, the mean clock of the CPUs at the end.
        joules: J, the energy of the processor's packages (RAPL).
        disturbance: why the block does not count; None if it does.
        gpu: what the case's GPU did; None for a case on the CPU.
    """

    launch: int
    turn: int
    attempt: int = 0
    order: int
    first: int = 0
    lead_in: int = 0
    steps: int | None = None
    wall_seconds: float
    cpu_seconds: float
    harness_seconds: float
    waiting_seconds: float | None = None
    others_seconds: float | None = None
    steal_seconds: float | None = None
    throttled_seconds: float | None = None
    megahertz: float | None = None
    joules: float | None = None
    disturbance: Disturbance | None = None
    gpu: GpuLoad | None = None

    def __post_init__(self) -> None:
        """Refuse a block that nothing can have measured.

        Raises:
            ValueError: the wall time is not a positive number, or there are no updates.
        """
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"a block of {self.steps} steps cannot be timed")
        if not 0 < self.wall_seconds < float("inf"):
            raise ValueError(f"a block of {self.wall_seconds:g} s is not a duration")

    def round_seconds(self, iterations: int) -> float:
        """Return how long a round of ``iterations`` updates takes at this block's pace."""
        return self.wall_seconds * iterations / self.steps if self.steps else self.wall_seconds


def clean_rounds(rounds: Iterable[Round]) -> list[Round]:
    """Return the blocks that count: one of each turn, undisturbed."""
    return [each for each in rounds if not each.disturbance]


def clean_seconds(rounds: Iterable[Round], iterations: int) -> dict[tuple[int, int], float]:
    """Return the seconds of a round at the pace of each block that counts, keyed by (launch, turn)."""
    return {(each.launch, each.turn): each.round_seconds(iterations) for each in clean_rounds(rounds)}


def check_error_rate(percent: float, of: str) -> None:
    """Refuse an error rate that no predictions have; NaN is one that is not known.

    Raises:
        ValueError: it is below 0 or above 100 %.
    """
    if percent < 0 or percent > 100:
        raise ValueError(f"{of} an error rate of {percent:g} %")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The error at one point of the training, measured outside the clock.

    Attributes:
        updates: updates done by then.
        seconds: s of training by then; None where they were not timed.
        error_percent: %, the validation error.
    """

    updates: int
    seconds: float | None = None
    error_percent: float

    def __post_init__(self) -> None:
        """Refuse an impossible error.

        Raises:
            ValueError: it is below 0 or above 100 %.
        """
        check_error_rate(self.error_percent, f"the curve has after {self.updates} updates")
