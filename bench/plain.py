"""The same cases as a plain pytest-benchmark suite would time them, one after the other: what studies compare with.

It is no part of a run; ``pytest bench/plain.py --iterations 100 --rounds 6`` names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import data, machine
from bench.environments import ROOT, find_interpreter
from bench.workers import Worker
from impls.registry import cases
from impls.workload import Workload, initial_params, parse_overrides

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from impls.registry import Case


@pytest.mark.parametrize("plain", [pytest.param(case, id=case.id) for case in cases()])
def test_plain(plain: Case, benchmark: BenchmarkFixture, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Time a case by itself, with the harness's clock, after one round to warm up."""
    option = request.config.option
    dataset = data.load(option.data)
    workload = parse_overrides(Workload(data=dataset.sha256, seed=option.seed), option.workload)
    python = find_interpreter(plain.implementation, dict(option.python), ROOT)
    with Worker(plain, python, ROOT, cpus=machine.choose_cpus(option.threads), folder=tmp_path) as worker:
        worker.load_framework()
        worker.build(workload, dataset.train, initial_params(workload))
        benchmark.pedantic(worker.run, args=(option.iterations,), rounds=option.rounds, warmup_rounds=1)
