"""Whether a case has earned its number: from what was observed to its result, by pure functions."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from samenet import stats
from samenet.context import Context
from samenet.machine.counters import CpuLoad
from samenet.plan import Role
from samenet.records import CurvePoint, State, clean_rounds, clean_seconds
from samenet.results import CaseResult, Training

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from samenet.events import Header, Log, Observations
    from samenet.records import Launch, Round

WINDOW_SECONDS = 1.0  # that the blocks of a case are judged over together
CLEAN_SHARE = 2 / 3  # a case with fewer of its turns undisturbed has no number
CPU_TOLERANCE = 1.05  # CPU seconds over (threads x wall seconds) above which a case has used more than its share
CPU_SLACK_SECONDS = 0.02  # in all: next to a few milliseconds of work, a thread that ends its wait counts for much
EFFICIENCY_TOLERANCE = 1.05  # a case's speed over that of its own matrix products above which it cannot have done them


def accept_all(log: Log, header: Header) -> dict[str, CaseResult]:
    """Return the result of every entry, by label."""
    bounds = [label for label, seen in log.entries.items() if seen.entry.role is Role.BOUND]
    bound = accept(log.entries[bounds[0]], header) if bounds else None
    return {
        label: accept(seen, header, bound if seen.entry.role.trains else None) for label, seen in log.entries.items()
    }


def accept(seen: Observations, header: Header, bound: CaseResult | None = None) -> CaseResult:
    """Return the result of one entry, with the estimates that a valid one has earned.

    ``bound`` is the result of the matrix products alone, for a case on the CPU; on a GPU the hardware's least time
    takes its place. A case that is faster than its own matrix products has not done the same work, and has no number.
    """
    context = header.context
    seen = judge_windows(seen, context.threads)
    clean = clean_seconds((timed.round for timed in seen.timed), context.iterations)
    curve = training_curve(seen) if header.epochs else _curve(seen, context.iterations)
    least = None if header.epochs else header.least_seconds.get(seen.entry.device)
    comparable = bound if bound and bound.device == seen.entry.device and not header.epochs else None
    efficiency = _efficiency(clean, least, comparable, header.confidence)
    state, reason = judge_rounds(seen, header)
    if state is State.VALID and efficiency and efficiency.low > EFFICIENCY_TOLERANCE:
        state = State.UNVERIFIED
        reason = f"it is faster than its own matrix products ({100 * efficiency.value:.0f} %)"
    known: dict[str, Any] = {"asked_version": seen.entry.version, "environment_bytes": seen.environment_bytes}
    if state is State.VALID:
        seconds = stats.Estimate(curve[-1].seconds or 0) if header.epochs else stats.median(clean, header.confidence)
        rate = context.step_flops * context.iterations / seconds.value / 1e9
        known |= {"seconds": seconds, "efficiency": efficiency, "gflop_per_second": rate}
    learned = seen.learned
    return CaseResult(
        **{item.name: getattr(context, item.name) for item in fields(Context)},
        case=seen.entry.label,
        implementation=seen.entry.implementation,
        device=seen.entry.device,
        confidence=header.confidence,
        state=state,
        reason=reason,
        **known,
        least_seconds=least,
        manifest=seen.entry.manifest,
        training=_training(seen, header, curve),
        launches=tuple(with_memory(seen, each) for each in seen.launches),
        rounds=tuple(timed.round for timed in seen.timed),
        versions=seen.versions,
        thread_pools=seen.thread_pools,
        peak_bytes=max((timed.peak_bytes or 0 for timed in seen.timed), default=None) or None,
        error_rates=learned.error_rates if learned else {},
        losses=learned.losses if learned else (),
        curve=curve,
    )


def with_memory(seen: Observations, launch: Launch) -> Launch:
    """Return a launch with the memory that its worker had after its last block."""
    blocks = [timed for timed in seen.timed if timed.round.launch == launch.launch]
    return replace(launch, peak_bytes=blocks[-1].peak_bytes, file_bytes=blocks[-1].file_bytes) if blocks else launch


def judge_windows(seen: Observations, cpus: int) -> Observations:
    """Return the observations with all blocks disturbed of each second in which the case was, on so many CPUs.

    One block is too short for the kernel's ticks to show a neighbour that takes less than a fifth of the CPUs; the
    blocks of a second show one with 6 %. Those that are disturbed by themselves count too: without them the rest of the
    second is what the ticks happen to show least of.
    """
    disturbances = {
        block.order: disturbance
        for window in _windows(each.round for each in seen.timed)
        if (disturbance := _load(window, cpus).disturbance)
        for block in window
        if not block.disturbance
    }
    timed = [
        replace(each, round=replace(each.round, disturbance=disturbance))
        if (disturbance := disturbances.get(each.round.order))
        else each
        for each in seen.timed
    ]
    return replace(seen, timed=tuple(timed))


def _windows(rounds: Iterable[Round]) -> list[list[Round]]:
    """Divide the blocks of each launch into windows; what is left at its end belongs to the last one."""
    windows: list[list[Round]] = []
    for _, launch in groupby(rounds, lambda each: each.launch):
        blocks = list(launch)
        starts = list(accumulate((each.harness_seconds for each in blocks), initial=0.0))
        last = max(0, int(starts.pop() / WINDOW_SECONDS) - 1)
        places = [min(last, int(start / WINDOW_SECONDS)) for start in starts]
        windows += [
            [block for _, block in window]
            for _, window in groupby(zip(places, blocks, strict=True), lambda each: each[0])
        ]
    return windows


def _load(rounds: Sequence[Round], cpus: int) -> CpuLoad:
    """Return what so many CPUs did over all of these blocks."""

    def total(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(rounds) else None

    return CpuLoad(
        wall_seconds=sum(each.harness_seconds for each in rounds),
        cpus=cpus,
        readings=len(rounds),
        waiting_seconds=total(each.waiting_seconds for each in rounds),
        others_seconds=total(each.others_seconds for each in rounds),
        steal_seconds=total(each.steal_seconds for each in rounds),
        throttled_seconds=total(each.throttled_seconds for each in rounds),
    )


def judge_rounds(seen: Observations, header: Header) -> tuple[State, str]:
    """Return the state that an entry's rounds support, and the reason where they do not make it valid."""
    if seen.lost:
        return seen.lost.state, seen.lost.reason
    rounds = [timed.round for timed in seen.timed]
    is_training = header.epochs is not None
    disturbed = _disturbed(rounds, is_training=is_training)
    return _missing(seen, header) or disturbed or _oversubscribed(rounds, header) or (State.VALID, "")


def _missing(seen: Observations, header: Header) -> tuple[State, str] | None:
    """Return the state of an entry that was not measured to its end."""
    reason = ""
    if header.epochs and seen.done_steps < header.context.iterations:
        reason = f"interrupted after {seen.done_steps:,} of {header.context.iterations:,} updates"
    elif not seen.timed:
        reason = "interrupted before its first block"
    return (State.SKIPPED, reason) if reason else None


def _disturbed(rounds: Sequence[Round], *, is_training: bool) -> tuple[State, str] | None:
    """Return the state of an entry too many of whose turns stayed disturbed, which is what disturbed the last one.

    A training that was resumed repeats the turn that was cut off.
    """

    def turn(timed: Round) -> tuple[int, int]:
        return (0 if is_training else timed.launch, timed.turn)

    turns = set(map(turn, rounds))
    lost = turns - set(map(turn, clean_rounds(rounds)))
    if len(turns) - len(lost) >= CLEAN_SHARE * len(turns):
        return None
    *_, last = (timed.disturbance for timed in rounds if timed.disturbance and turn(timed) in lost)
    return last.cause, f"{len(lost)} of {len(turns)} turns were disturbed; most recently, {last.detail}"


def _oversubscribed(rounds: Sequence[Round], header: Header) -> tuple[State, str] | None:
    """Return the state of an entry that used more CPUs than it was given."""
    threads = header.context.threads
    clean = clean_rounds(rounds)
    cpu, wall = sum(each.cpu_seconds for each in clean), sum(each.wall_seconds for each in clean)
    if cpu <= CPU_TOLERANCE * threads * wall + CPU_SLACK_SECONDS:
        return None
    used = cpu / wall
    return State.OVERSUBSCRIBED, f"it used {used:.2f} CPUs but was given {threads}"


def _efficiency(
    clean: dict[tuple[int, int], float], least: float | None, bound: CaseResult | None, confidence: float
) -> stats.Estimate | None:
    """Return the share that the case's time has of the least time of a round, or of the bound's paired rounds."""
    if least:
        return stats.paired_ratio(dict.fromkeys(clean, least), clean, confidence)
    is_known = bound and bound.state is State.VALID
    return stats.paired_ratio(bound.clean_seconds, clean, confidence) if bound and is_known else None


def _curve(seen: Observations, iterations: int) -> tuple[CurvePoint, ...]:
    """Return the untimed error curve, whose last point is the round's own error."""
    learned = seen.learned
    if not learned or not learned.curve:
        return ()
    return (*learned.curve, CurvePoint(updates=iterations, error_percent=learned.error_rates["validation"]))


def training_curve(seen: Observations) -> tuple[CurvePoint, ...]:
    """Return the validation error after each block of a training, and the seconds of training by then.

    A block that stayed disturbed counts as long as the mean of the others, update for update.
    """
    blocks = {timed.round.turn: timed for timed in seen.timed}  # the last attempt of each
    done = [blocks[turn] for turn in sorted(blocks)]
    clean = [timed for timed in done if not timed.round.disturbance]
    steps = [timed.round.steps or 0 for timed in done]
    pace = sum(timed.round.wall_seconds for timed in clean) / max(1, sum(timed.round.steps or 0 for timed in clean))
    walls = [
        pace * count if timed.round.disturbance else timed.round.wall_seconds
        for timed, count in zip(done, steps, strict=True)
    ]
    points = zip(accumulate(steps), accumulate(walls), done, strict=True)
    return tuple(
        CurvePoint(updates=updates, seconds=seconds, error_percent=timed.error_percent)
        for updates, seconds, timed in points
        if timed.error_percent is not None
    )


def _training(seen: Observations, header: Header, curve: Sequence[CurvePoint]) -> Training | None:
    if header.epochs is None or header.target_error_percent is None:
        return None
    reached = (point.seconds for point in curve if point.error_percent <= header.target_error_percent)
    return Training(
        epochs=header.epochs,
        target_error_percent=header.target_error_percent,
        target_seconds=next(reached, None),
        weights_sha256=seen.learned.weights_sha256 if seen.learned else None,
        resumed=max(0, len(seen.launches) - 1),
    )
