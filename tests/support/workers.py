"""A real worker for each case, and the check that it trains the same network."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import pytest

from impls.registry import cases, implementations
from impls.workload import Workload, initial_params
from samenet.environments import ROOT, find_interpreter
from samenet.errors import NoInterpreterError
from samenet.machine.cpus import choose_cpus
from samenet.machine.devices import is_absent
from samenet.reference import Reference
from samenet.workers import Worker
from tests.support.data import make_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from impls.lanes import Case, Implementation
    from impls.workload import Params
    from samenet.data import Split

CASES = [case for case in cases() if not (case.unsupported(Workload()) or is_absent(case.device))]
# The environments, and so the implementations, of ``tox run -m bench``.
(_label,) = re.findall("^ +bench = (.*), bench$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
USUAL = set(_label.split(", "))

two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")


def marks_of(case: Case) -> Sequence[pytest.MarkDecorator]:
    """Return the marks of a test of ``case`` that is repeated for each lane: by day, the usual ones are enough."""
    return [] if case.implementation.name in USUAL else [pytest.mark.slow]


def implementation(name: str) -> Implementation:
    """Return the implementation of this name."""
    return next(each for each in implementations() if each.name == name)


def interpreter_for(case: Case) -> Path:
    """Return the interpreter that serves ``case``, or skip the test with the reason why there is none."""
    try:
        return find_interpreter(case.implementation, {}, ROOT, case.device)
    except NoInterpreterError as error:
        pytest.skip(str(error))


def is_here(case: Case) -> bool:
    """Return whether there is an interpreter that serves ``case``."""
    try:
        find_interpreter(case.implementation, {}, ROOT, case.device)
    except NoInterpreterError:
        return False
    return True


@contextmanager
def live_worker(
    case: Case, folder: Path, cpus: Sequence[int] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """Start a worker of ``case`` with its framework imported, or skip the test with the reason why there is none.

    That NVML knows a GPU does not mean that a framework finds it.
    """
    python, chosen = interpreter_for(case), choose_cpus(None) if cpus is None else cpus
    own = folder / case.id  # two that compile into one folder wait for each other
    own.mkdir(parents=True, exist_ok=True)
    with Worker(case, python, ROOT, cpus=chosen, folder=own, environment=environment) as worker:
        worker.load_framework()
        if case.device.is_gpu and (reason := worker.missing_device()):
            pytest.skip(reason)
        yield worker


@cache
def training(workload: Workload, rows: int) -> tuple[Split, Params, Reference]:
    """Return data of ``rows`` images, the weights to start from, and the reference, which is the same for each lane."""
    split, initial = make_split(rows, workload.inputs, workload.classes), initial_params(workload)
    return split, initial, Reference(workload, split, initial)


def assert_agreement(worker: Worker, workload: Workload, rows: int) -> None:
    """Train on ``rows`` images that have something to learn, three minibatches at least, as the reference does."""
    if reason := worker.case.unsupported(workload):
        pytest.skip(reason)
    split, initial, reference = training(workload, max(rows, 3 * workload.batch_size))
    worker.build(workload, split, initial)
    losses = worker.run(reference.steps).losses
    parity = reference.judge(losses, worker.params())
    assert parity.verified, f"{workload}: {parity.sentence}"
