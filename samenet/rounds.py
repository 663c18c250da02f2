"""One worker at a time: a timed block, a run in which its threads are watched, and the trial of a bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from samenet.errors import WorkerError
from samenet.machine import gpu
from samenet.machine.counters import Watch
from samenet.machine.cpus import moved
from samenet.machine.gpu_watch import GpuWatch
from samenet.records import Round
from samenet.threads import ThreadWatch, shortage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from samenet.live_round import Span
    from samenet.machine.gpu_watch import Neighbours
    from samenet.plan import Plan
    from samenet.threads import Activity
    from samenet.workers import Run, Worker

BLOCK_SECONDS = 0.05
GPU_BLOCK_SECONDS = 0.11  # never less than 0.1 s, if the GPU becomes a little faster
TRIAL_STEPS = 20
WATCH_STEPS = 20  # of the run in which a worker's threads are looked at
WATCHES = 2  # how often they are looked at before they are said to lack something
LONG_ENOUGH = 0.9  # share of the wanted seconds that a run has to take
MOST_STEPS = 1_000_000  # of such a run: a trainer that leaves steps out would be asked for more and more of them


def warm_up(worker: Worker) -> None:
    """Let the worker's GPU reach the clock that it keeps; the worker has other weights afterwards.

    Raises:
        WorkerError: the worker failed.
    """
    device = worker.case.device
    number = device.index if device.has_nvml else None
    gpu.warm_up(number, lambda steps: worker.run(steps).wall_seconds)


def time_block(
    worker: Worker,
    plan: Plan,
    span: Span,
    *,
    neighbours: Neighbours | None,
    ours: Collection[int],
    **place: int,
) -> tuple[Run, Round]:
    """Let ``worker`` do the updates of ``span``, and return its answer and what the machine did meanwhile.

    ``neighbours`` are those on the worker's GPU, on which the processes ``ours`` are the campaign's; ``place`` is the
    round's launch, turn, attempt and order.

    Raises:
        WorkerError: the worker failed, or its GPU was lost.
    """
    on_gpu = GpuWatch(neighbours, ours) if neighbours else None
    watch = Watch(worker.pid, plan.cpus)
    run = worker.advance(span.steps, span.first, lead_in=span.lead_in)
    load, gpu_load = watch.stop(), on_gpu.stop() if on_gpu else None
    if neighbours and (lost := gpu.lost(neighbours.number)):
        raise WorkerError(lost)
    disturbance = moved(worker.pid, plan.cpus) or load.disturbance or (gpu_load.disturbance if gpu_load else None)
    return run, Round(
        **place,
        first=span.first + span.lead_in,
        lead_in=span.lead_in,
        steps=span.steps,
        wall_seconds=run.wall_seconds,
        cpu_seconds=run.cpu_seconds,
        harness_seconds=run.harness_seconds,
        waiting_seconds=load.waiting_seconds,
        others_seconds=load.others_seconds,
        steal_seconds=load.steal_seconds,
        throttled_seconds=load.throttled_seconds,
        megahertz=load.megahertz,
        joules=load.joules,
        disturbance=disturbance,
        gpu=gpu_load,
    )


def watched_run(worker: Worker, steps: int) -> Activity | None:
    """Let ``worker`` run ``steps``, and return what its threads did; on a GPU that is not looked at.

    Raises:
        WorkerError: the worker failed.
    """
    watch = None if worker.case.device.is_gpu else ThreadWatch(worker.pid)
    run = worker.run(steps)
    return watch.stop(len(worker.cpus), run.cpu_seconds) if watch else None


def look_at_threads(worker: Worker, pools: Sequence[Mapping[str, Any]], plan: Plan) -> tuple[Activity | None, str]:
    """Return what the threads of ``worker`` do, and what they lack of the CPUs that its case is expected to use.

    It has run before: a thread that was left idle then has stopped to look for work.

    Raises:
        WorkerError: the worker failed.
    """
    seen, short = None, ""
    for _ in range(WATCHES):
        seen = watched_run(worker, WATCH_STEPS)
        if worker.case.implementation.shares_work:
            short = shortage(seen, pools, plan.cpus, plan.workload.step_flops)
        if not short:
            break
    return seen, short


def block_steps(worker: Worker, plan: Plan) -> int:
    """Return how many steps a block has, by the worker's pace; on a GPU that has reached its clock.

    There, shorter ones would be measured with the launch of their first step and the transfer of their losses.

    Raises:
        WorkerError: the worker failed.
    """
    if worker.case.device.is_gpu:
        warm_up(worker)
        return steps_for(GPU_BLOCK_SECONDS, lambda steps: worker.run(steps).wall_seconds)
    return steps_for(BLOCK_SECONDS, lambda steps: worker.run(steps).wall_seconds, plan.iterations)


def steps_for(seconds: float, run: Callable[[int], float], most: int = MOST_STEPS) -> int:
    """Return how many steps take ``seconds``, or ``most`` if these take less; ``run`` does some, and says how long (s).

    Three runs have to be long enough, and the fastest one counts: another process may have the CPU for a moment, and a
    short run may cost something besides its steps.
    """
    steps, enough, pace = 1, 0, math.inf
    while enough < 3 and steps < most:
        taken = run(steps)
        enough += taken >= LONG_ENOUGH * seconds
        pace = min(pace, taken / steps)
        steps = math.ceil(min(most, seconds / pace))
    return steps


def trial(worker: Worker, plan: Plan) -> float:
    """Return the wall seconds of a short run.

    Raises:
        WorkerError: the worker failed.
    """
    worker.resume()
    seconds = worker.run(min(plan.iterations, TRIAL_STEPS)).wall_seconds
    worker.pause()
    return seconds
