"""The same cases as a plain pytest-benchmark suite would time them, sequentially: what studies compare with.

pytest studies/plain_suite.py --iterations 100 --rounds 6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.options import settings
from impls.registry import cases
from impls.workload import initial_params
from samenet import Iterations, data
from samenet.environments import ROOT, find_interpreter
from samenet.machine.cpus import choose_cpus
from samenet.workers import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from impls.lanes import Case


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases()])
def test_plain(case: Case, benchmark: BenchmarkFixture, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Time a case by itself, with the harness's clock, after one round to warm up."""
    protocol = Iterations()
    asked = settings(request.config.option, protocol)
    dataset = data.load(asked.data)
    (plan,) = protocol.plans(asked, dataset, choose_cpus(asked.threads))
    python = find_interpreter(case.implementation, asked.python, ROOT, case.device)
    with Worker(case, python, ROOT, cpus=plan.cpus, folder=tmp_path) as worker:
        worker.load_framework()
        worker.build(plan.workload, dataset.train, initial_params(plan.workload))
        benchmark.pedantic(worker.run, args=(plan.iterations,), rounds=plan.rounds, warmup_rounds=1)
