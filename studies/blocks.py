"""Blocks against long runs: whether a step takes as long in interleaved blocks as in an uninterrupted run."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from impls.workload import initial_params
from samenet import data
from samenet.environments import ROOT
from samenet.live_round import LEAD_IN_STEPS
from samenet.machine.cpus import choose_cpus
from samenet.machine.lock import only_campaign
from samenet.rounds import block_steps
from samenet.stats import paired_ratio
from samenet.workers import Worker
from studies.laboratory import enter

if TYPE_CHECKING:
    from samenet.plan import Entry, Plan
    from studies.options import Options

WARM_STEPS = 20


def blocks(options: Options) -> None:
    """Time blocks like a campaign's, and runs of many steps, of all implementations by turns: what is their ratio?"""
    entries, settings = [enter(name) for name in options.names], options.settings
    (plan,) = settings.protocol.plans(settings, data.load(settings.data), choose_cpus(settings.threads))
    seconds: dict[tuple[str, bool], dict[tuple[int, int], float]] = defaultdict(dict)
    with only_campaign():
        for launch in range(options.launches):
            with TemporaryDirectory(prefix="samenet-study-") as folder, ExitStack() as stack:
                workers = {entry.label: stack.enter_context(start(entry, plan, Path(folder))) for entry in entries}
                steps = {label: pace(worker, plan) for label, worker in workers.items()}
                runs = list(product(workers, (True, False)))
                for turn in range(options.rounds):
                    for label, is_block in random.sample(runs, len(runs)):
                        count = steps[label] if is_block else options.iterations
                        seconds[label, is_block][launch, turn] = step_seconds(workers[label], count)
    for entry in entries:
        ratio = paired_ratio(seconds[entry.label, True], seconds[entry.label, False])
        times = ratio.text() if ratio else "unknown"
        print(f"{entry.label}: a step in blocks takes {times} times as long as in runs of {options.iterations:,}")


def start(entry: Entry, plan: Plan, folder: Path) -> Worker:
    """Return a worker that is warm, and stopped."""
    worker = Worker(entry.case, entry.python, ROOT, cpus=plan.cpus, folder=folder)
    worker.load_framework()
    worker.build(plan.workload, plan.dataset.train, initial_params(plan.workload))
    worker.run(WARM_STEPS)
    worker.pause()
    return worker


def pace(worker: Worker, plan: Plan) -> int:
    """Return how many steps a block of a campaign would time."""
    worker.resume()
    steps = block_steps(worker, plan)
    worker.pause()
    return steps


def step_seconds(worker: Worker, steps: int) -> float:
    """Return how long each of ``steps`` takes after a lead-in, as in a campaign's blocks."""
    worker.resume()
    run = worker.advance(steps, 0, lead_in=LEAD_IN_STEPS)
    worker.pause()
    return run.wall_seconds / steps
