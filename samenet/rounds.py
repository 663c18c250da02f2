"""One worker at a time: a timed round, the trial of a bound, and the untimed error curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samenet.machine import gpu
from samenet.machine.counters import Watch
from samenet.machine.cpus import moved
from samenet.records import CurvePoint, Round
from samenet.reference import error_rate
from samenet.threads import ThreadWatch

if TYPE_CHECKING:
    from impls.workload import Params
    from samenet.plan import Block, Plan
    from samenet.threads import Activity
    from samenet.workers import Run, Worker

TRIAL_STEPS = 50
WARM_UP_STEPS = 200  # of a GPU, before each look at its clock


def time_round(
    worker: Worker,
    plan: Plan,
    block: Block,
    weights: Params | None,
    *,
    ours: int,
    launch: int,
    turn: int,
    attempt: int,
    order: int,
) -> tuple[Run, Round]:
    """Let ``worker`` run ``block``, and return its answer and what the machine did meanwhile.

    ``ours`` is how many of the campaign's processes are on the worker's device.

    Raises:
        WorkerError: the worker failed.
    """
    device, on_gpu = worker.case.device, None
    if device.is_gpu:  # it is watched once it has the clock that it keeps
        gpu.warm_up(device.index, lambda: worker.run(min(plan.iterations, WARM_UP_STEPS)))
        on_gpu = gpu.GpuWatch(device.index, ours)
    watch = Watch(worker.pid, plan.cpus)
    run = worker.run(block.steps, block.first, weights)
    load, gpu_load = watch.stop(), on_gpu.stop() if on_gpu else None
    disturbance = moved(worker.pid, plan.cpus) or load.disturbance or (gpu_load.disturbance if gpu_load else None)
    return run, Round(
        launch=launch,
        turn=turn,
        attempt=attempt,
        order=order,
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


def error_curve(worker: Worker | None, plan: Plan, initial: Params) -> tuple[CurvePoint, ...]:
    """Train once more, as far as ``plan.curve_steps`` go, and return the validation error (%) before and along the way.

    Without a worker the only point is that of the initial weights.

    Raises:
        WorkerError: the worker failed.
    """
    validation = plan.dataset.validation
    points = [CurvePoint(updates=0, error_percent=error_rate(plan.workload, initial, validation))]
    if worker is None:
        return tuple(points)
    worker.resume()
    updates, weights = 0, initial
    for steps in plan.curve_steps:
        worker.run(steps, updates, weights)
        updates, weights = updates + steps, worker.params()
        points.append(CurvePoint(updates=updates, error_percent=error_rate(plan.workload, weights, validation)))
    worker.pause()
    return tuple(points)
