"""Blocks against whole rounds: whether a step takes as long in interleaved blocks as in one uninterrupted run."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from impls.workload import initial_params
from samenet import data
from samenet.environments import ROOT
from samenet.live_round import spans
from samenet.machine.cpus import choose_cpus
from samenet.machine.lock import only_campaign
from samenet.rounds import BLOCK_SECONDS
from samenet.stats import paired_ratio
from samenet.workers import Worker
from studies.laboratory import enter

if TYPE_CHECKING:
    from samenet.live_round import Span
    from samenet.plan import Entry, Plan
    from studies.options import Options

Seconds = dict[tuple[int, int], float]


def blocks(options: Options) -> None:
    """Measure each implementation in whole rounds and in blocks, by turns: what is their ratio?"""
    entries, settings = [enter(name) for name in options.names], options.settings
    (plan,) = settings.protocol.plans(settings, data.load(settings.data), choose_cpus(settings.threads))
    whole: dict[str, Seconds] = {entry.label: {} for entry in entries}
    parts: dict[str, Seconds] = {entry.label: {} for entry in entries}
    with only_campaign():
        for launch in range(options.launches):
            with TemporaryDirectory(prefix="samenet-study-") as folder, ExitStack() as stack:
                workers = {entry.label: stack.enter_context(start(entry, plan, Path(folder))) for entry in entries}
                divided = {label: divide(worker, options.iterations) for label, worker in workers.items()}
                for turn in range(options.rounds):
                    for label, worker in workers.items():
                        worker.resume()
                        whole[label][launch, turn] = worker.run(options.iterations).wall_seconds / options.iterations
                        worker.reset()
                        worker.pause()
                    for label, step in interleave(workers, divided).items():
                        parts[label][launch, turn] = step
    for label, seconds in whole.items():
        ratio = paired_ratio(parts[label], seconds)
        times = ratio.text() if ratio else "unknown"
        print(f"{label}: a step in blocks takes {times} times as long as in a whole round")


def start(entry: Entry, plan: Plan, folder: Path) -> Worker:
    """Return a worker that is warm, and stopped."""
    worker = Worker(entry.case, entry.python, ROOT, cpus=plan.cpus, folder=folder)
    worker.load_framework()
    worker.build(plan.workload, plan.dataset.train, initial_params(plan.workload))
    worker.run(plan.iterations)
    worker.pause()
    return worker


def divide(worker: Worker, iterations: int) -> list[Span]:
    """Return the blocks of a round, as a campaign would make them."""
    worker.resume()
    step_seconds = worker.run(iterations).wall_seconds / iterations
    worker.reset()
    worker.pause()
    return spans(iterations, max(1, round(BLOCK_SECONDS / step_seconds)))


def interleave(workers: dict[str, Worker], divided: dict[str, list[Span]]) -> dict[str, float]:
    """Let all workers do one round in blocks by turns, and return their seconds for a timed step."""
    left = {label: list(made) for label, made in divided.items()}
    seconds, steps = dict.fromkeys(workers, 0.0), dict.fromkeys(workers, 0)
    while labels := [label for label, made in left.items() if made]:
        random.shuffle(labels)
        for label in labels:
            worker, span = workers[label], left[label].pop(0)
            worker.resume()
            if span.lead_in:
                worker.advance(span.lead_in, span.first)
            seconds[label] += worker.advance(span.steps, span.first + span.lead_in).wall_seconds
            steps[label] += span.steps
            worker.pause()
    return {label: seconds[label] / steps[label] for label in workers}
