"""A campaign on a real machine: equal resources, finished work, neighbours, and when it stops."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from bench.campaign import Campaign, Entry, Plan
from bench.data import Dataset
from bench.environments import find_interpreter
from bench.machine import Watch, choose_cpus
from bench.progress import Silent
from bench.records import State
from bench.reference import Exact, error_rate, train
from bench.workers import Worker
from impls.registry import IMPLEMENTATIONS, Case, Implementation
from impls.workload import Workload, initial_params
from tests.conftest import ROOT, make_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conftest import Bench

NUMPY = Case(IMPLEMENTATIONS[0], "cpu")
UNFINISHED = Case(
    Implementation("unfinished", "faulty_trainers:Unfinished", "numpy", (("numpy", "numpy"),)),
    "cpu",
)


def plan(**changes: Any) -> Plan:
    """Return a small plan on one CPU."""
    workload = Workload(hidden=50, batch_size=100)
    dataset = Dataset("random", "a generator", "0" * 64, make_split(1000), make_split(200), make_split(200))
    return replace(Plan(workload, dataset, cpus=choose_cpus(1), iterations=50, launches=1), **changes)


def entries(*labels: str) -> list[Entry]:
    """Return numpy, entered once for each label."""
    python = find_interpreter(NUMPY.implementation, {}, ROOT)
    return [Entry(label, NUMPY, python, ROOT) for label in labels]


@contextmanager
def burners(cpus: Sequence[int]) -> Iterator[None]:
    """Keep each of ``cpus`` busy with a process of its own."""
    source = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", source, str(cpu)]) for cpu in cpus]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


AUDIT_SECONDS = 0.5  # of a run, about


def audit(worker: Worker) -> tuple[float, float]:
    """Return how much longer twice the steps take, and the share of a run's CPU seconds that is used after it.

    Neighbours only ever add seconds, so the shortest of each kind count. The runs are long beside the 60 ms or so for
    which BLAS threads look for more work before they sleep.
    """
    workload = Workload(hidden=200, batch_size=200)
    worker.build(workload, make_split(2000), initial_params(workload))
    worker.run(10)  # which is where some compile
    ten = min(worker.run(10).wall_seconds for _ in range(3))
    steps = max(10, int(10 * AUDIT_SECONDS / ten))
    once, twice, after = [], [], []
    for _ in range(3):
        once.append(worker.run(steps).wall_seconds)
        double = worker.run(2 * steps)
        watch = Watch(worker.pid, worker.cpus)
        time.sleep(AUDIT_SECONDS)
        after.append(watch.stop().worker_seconds / double.cpu_seconds)
        twice.append(double.wall_seconds)
    return min(twice) / min(once), min(after)


def test_run_returns_only_when_the_work_is_done(worker: Worker) -> None:
    """Twice the steps take longer, and nothing is left to do afterwards."""
    ratio, after = audit(worker)
    assert ratio > 1.3
    assert after < 0.1


def test_the_audit_notices_work_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that returns half-way is still busy when nobody waits for it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "plugin"))
    python = find_interpreter(UNFINISHED.implementation, {}, ROOT)
    with Worker(UNFINISHED, python, ROOT, cpus=choose_cpus(None), folder=tmp_path) as worker:
        worker.load_framework()
        _, after = audit(worker)
    assert after > 0.2


def test_rounds_are_interleaved_in_an_order_that_the_seed_decides() -> None:
    """In each turn every entry has one round; the order changes from turn to turn and repeats with the seed."""

    def order(seed: int) -> list[str]:
        progress = Silent()
        campaign = Campaign(plan(rounds=6, launches=2, seed=seed), entries("a", "b", "c"), progress)
        campaign.run()
        for record in campaign.records.values():
            assert {(each.launch, each.turn) for each in record.rounds} == set(product(range(2), range(6)))
        return [text for text in progress.texts if "round" in text]

    first = order(1)
    turns = [tuple(text[-1] for text in first[start : start + 3]) for start in range(0, len(first), 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len(set(turns)) > 1
    assert order(1) == first
    assert order(2) != first


def test_each_launch_is_a_new_process_with_phases_of_its_own() -> None:
    """Two launches leave two sets of phases, and parity was checked in both."""
    campaign = Campaign(plan(launches=2), entries("a"), Silent())
    campaign.run()
    launches = campaign.records["a"].launches
    assert [each.launch for each in launches] == [0, 1]
    assert all(each.parity and each.parity.verified for each in launches)
    assert all(len(each.phases) == 4 and min(each.phases) >= 0 < each.phases[0] for each in launches)


def test_the_members_of_a_group_start_together_after_the_first_launch() -> None:
    """They take each other's time, so that only the first launch has phases; parity is checked in all."""
    pair = [replace(entry, group="pair") for entry in entries("a", "b")]
    campaign = Campaign(plan(launches=3), pair, Silent())
    campaign.run()
    for record in campaign.records.values():
        assert [len(each.phases) for each in record.launches] == [4, 0, 0]
        assert all(each.parity and each.parity.verified for each in record.launches)
        assert {each.launch for each in record.rounds} == {0, 1, 2}


def test_the_error_along_the_way_is_recorded_once_a_case_and_untimed() -> None:
    """Whole passes, up to half of a round, and both ends; each point is the error of a training of that length."""
    measured = plan(launches=2, iterations=50, curve=True)
    campaign = Campaign(measured, entries("a", "a again"), Silent())
    campaign.run()
    record, again = campaign.records["a"], campaign.records["a again"]
    assert [point.updates for point in record.curve] == [0, 10, 20, 50]
    assert [point.updates for point in again.curve] == [0, 50]
    assert record.curve[-1].error_percent == record.error_rates["validation"]
    assert len(record.rounds) == 2
    split = measured.dataset.train
    for point in record.curve[1:3]:
        _, params = train(measured.workload, split, initial_params(measured.workload), point.updates, Exact())
        error = error_rate(measured.workload, params, measured.dataset.validation)
        assert point.error_percent == pytest.approx(error, abs=0.5)


def test_the_clocks_of_worker_and_harness_agree() -> None:
    """The harness's own wall time for a round holds the worker's and little else."""
    campaign = Campaign(plan(rounds=5, iterations=2000), entries("a"), Silent())
    campaign.run()
    excess = [each.harness_seconds / each.wall_seconds - 1 for each in campaign.records["a"].rounds]
    assert 0 <= min(excess) < 0.01


def test_neighbours_make_a_case_contended_and_their_absence_valid() -> None:
    """With a burner on each CPU every round is disturbed, and repeated; without them the same plan gives a number."""
    measured = plan(rounds=3, iterations=1000)
    with burners(measured.cpus):
        campaign = Campaign(measured, entries("a"), Silent())
        campaign.run()
    record = campaign.records["a"]
    assert record.state is State.CONTENDED
    assert "3 of 3 turns stayed disturbed; the last: other processes held its CPUs for" in record.reason
    assert [each.attempt for each in record.rounds] == [0, 1, 2] * 3
    for _ in range(5):  # a busy machine has its quiet moments
        campaign = Campaign(measured, entries("a"), Silent())
        campaign.run()
        if campaign.records["a"].state is State.VALID:
            break
    assert campaign.records["a"].state is State.VALID, campaign.records["a"].reason


def test_one_thread_means_one_cpu(bench: Bench, tmp_path: Path) -> None:
    """With ``--threads 1`` no case uses more than one CPU, XLA's included."""
    result = bench(
        "-k",
        "numpy-cpu or torch-cpu or [jax-cpu] or theano-cpu",
        "--threads",
        "1",
        "--iterations",
        "1000",
        "--benchmark-save=one",
        frameworks=True,
    )
    assert "[100%]" in result.stdout
    run = json.loads(next(tmp_path.rglob("*.json")).read_text())
    records = [each["extra_info"] for each in run["benchmarks"]] + run["samenet"]["cases_without_number"]
    assert len(records) >= 3
    for record in records:
        for each in record["rounds"]:
            assert each["cpu_seconds"] / each["wall_seconds"] <= 1.05, record["case"]


def test_a_campaign_goes_on_with_the_entries_that_are_wanted() -> None:
    """The question is asked after each launch, and its answer is obeyed: one case leaves early, then the last."""

    def wanted(campaign: Campaign) -> list[Entry]:
        done = len(campaign.records["a"].launches)
        return [entry for entry in campaign.entries if done < {"a": 3, "b": 1}[entry.label]]

    campaign = Campaign(plan(launches=9), entries("a", "b"), Silent(), wanted)
    campaign.run()
    assert {label: len(record.launches) for label, record in campaign.records.items()} == {"a": 3, "b": 1}
    assert all(record.state is State.VALID for record in campaign.records.values())


@pytest.mark.parametrize(("percent", "launches"), [("100000", 1), ("0.000001", 3)])
def test_until_width_stops_early_or_at_the_limit(bench: Bench, tmp_path: Path, percent: str, launches: int) -> None:
    """A width that every interval has is reached at once, one that none has never."""
    bench("-k", "numpy-cpu", "--launches", "3", "--rounds", "5", "--until-width", percent, "--benchmark-save=one")
    run = json.loads(next(tmp_path.rglob("*.json")).read_text())
    records = [each["extra_info"] for each in run["benchmarks"]] + run["samenet"]["cases_without_number"]
    assert len(records[0]["launches"]) == launches
