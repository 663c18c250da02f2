"""One worker at a time: a timed block, a run in which its threads are watched, and the trial of a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samenet.machine import gpu
from samenet.machine.counters import Watch
from samenet.machine.cpus import moved
from samenet.records import Round
from samenet.threads import ThreadWatch

if TYPE_CHECKING:
    from samenet.live_round import Span
    from samenet.plan import Plan
    from samenet.threads import Activity
    from samenet.workers import Run, Worker

TRIAL_STEPS = 50
WARM_UP_STEPS = 200  # of a GPU, before each look at its clock


def warm_up(worker: Worker, plan: Plan) -> None:
    """Let the worker's GPU reach the clock that it keeps; the worker has other weights afterwards.

    Raises:
        WorkerError: the worker failed.
    """
    gpu.warm_up(worker.case.device.index, lambda: worker.run(min(plan.iterations, WARM_UP_STEPS)))


def time_block(
    worker: Worker, plan: Plan, span: Span, *, ours: int, launch: int, turn: int, attempt: int, order: int
) -> tuple[Run, Round]:
    """Let ``worker`` do the timed updates of ``span``, and return its answer and what the machine did meanwhile.

    ``ours`` is how many of the campaign's processes are on the worker's device.

    Raises:
        WorkerError: the worker failed.
    """
    device, first = worker.case.device, span.first + span.lead_in
    on_gpu = gpu.GpuWatch(device.index, ours) if device.is_gpu else None
    watch = Watch(worker.pid, plan.cpus)
    run = worker.advance(span.steps, first)
    load, gpu_load = watch.stop(), on_gpu.stop() if on_gpu else None
    disturbance = moved(worker.pid, plan.cpus) or load.disturbance or (gpu_load.disturbance if gpu_load else None)
    return run, Round(
        launch=launch,
        turn=turn,
        attempt=attempt,
        order=order,
        first=first,
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


def watched_run(worker: Worker, steps: int) -> tuple[Run, Activity | None]:
    """Let ``worker`` run ``steps``, and return its answer and what its threads did; on a GPU that is not looked at.

    Raises:
        WorkerError: the worker failed.
    """
    watch = None if worker.case.device.is_gpu else ThreadWatch(worker.pid)
    run = worker.run(steps)
    return run, watch.stop(len(worker.cpus), run.cpu_seconds) if watch else None


def trial(worker: Worker, plan: Plan) -> float:
    """Return the wall seconds of a short run.

    Raises:
        WorkerError: the worker failed.
    """
    worker.resume()
    seconds = worker.run(min(plan.iterations, TRIAL_STEPS)).wall_seconds
    worker.pause()
    return seconds
