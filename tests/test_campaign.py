"""A campaign on a real machine: equal resources, neighbours, and when it stops."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import psutil
import pytest

from impls.workload import initial_params
from samenet import measure
from samenet.campaign import Campaign
from samenet.journal import Journal
from samenet.live_round import LEAD_IN_STEPS
from samenet.machine.cpus import choose_cpus
from samenet.plan import Role
from samenet.progress import NullProgress
from samenet.protocols import Iterations, Settings, marks
from samenet.records import State
from samenet.reference import Exact, error_rate, train
from samenet.rounds import steps_for
from samenet.stats import SEQUENTIAL_CONFIDENCE
from tests.support.campaigns import campaign, entries, header, plan
from tests.support.command_line import HIDDEN, TRIES, Bench, records
from tests.support.workers import two_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from samenet.results import CaseResult


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


def test_every_entry_has_one_block_in_each_turn() -> None:
    """In every launch, and the blocks were measured turn by turn; a slow machine divides rounds into more of them."""
    result = campaign(plan(rounds=3, launches=2), entries("a", "b")).run()
    rounds = sorted(
        (each for case in result.values() for each in case.rounds if not each.attempt), key=lambda each: each.order
    )
    turns = {each.turn for each in rounds}
    assert len(turns) >= 3
    for case in result.values():
        assert {(each.launch, each.turn) for each in case.rounds} == set(product(range(2), turns))
    assert [(each.launch, each.turn) for each in rounds] == sorted((each.launch, each.turn) for each in rounds)


@two_cpus
@pytest.mark.alone
def test_the_length_of_blocks_is_found_with_all_other_workers_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to another worker, small steps can take a hundred times as long: a round was thousands of short blocks."""
    running, others = [], set(psutil.Process().children())

    def at_work() -> int:
        workers = set(psutil.Process().children()) - others
        resting = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        return len([each for each in workers if each.is_running() and each.status() not in resting])

    def observed(*arguments: Any) -> int:
        end = time.monotonic() + 0.2
        while at_work() > 1 and time.monotonic() < end:  # a stop takes effect when its process has the CPU again
            time.sleep(0.01)
        running.append(at_work())
        return steps_for(*arguments)

    monkeypatch.setattr("samenet.rounds.steps_for", observed)
    measured = plan(cpus=choose_cpus(2))
    campaign(measured, entries("a", "b") + entries("c", "d", role=Role.BOUND)).run()
    assert len(running) >= 3
    assert set(running) == {1}


def test_each_launch_is_a_new_process_with_phases_of_its_own() -> None:
    """Two launches leave two sets of phases, and parity was checked in both."""
    launches = campaign(plan(launches=2), entries("a")).run()["a"].launches
    assert [each.launch for each in launches] == [0, 1]
    assert all(each.parity and each.parity.verified for each in launches)
    assert all(len(each.phases) == 4 and min(each.phases) >= 0 < each.phases[0] for each in launches)


def test_the_members_of_a_group_start_together_after_the_first_launch() -> None:
    """They share the CPUs, so that only the first launch has phases; parity is checked in all."""
    pair = [replace(entry, group="pair") for entry in entries("a", "b")]
    for result in campaign(plan(launches=3), pair).run().values():
        assert [len(each.phases) for each in result.launches] == [4, 0, 0]
        assert all(each.parity and each.parity.verified for each in result.launches)
        assert {each.launch for each in result.rounds} == {0, 1, 2}


def test_the_two_of_an_a_a_pair_compile_once() -> None:
    """Unless each launch is to find nothing compiled; another case has what is its own."""
    once, other = entries("a", "b")
    again = replace(once, label="a again", role=Role.TWIN, of="a")
    assert again.cache_name(is_own=False) == once.cache_name(is_own=False) != other.cache_name(is_own=False)
    assert again.cache_name(is_own=True) != once.cache_name(is_own=True)


def test_the_error_along_the_way_is_recorded_once_a_case_and_untimed() -> None:
    """Whole passes, up to half of a round, and both ends; each point is the error of a training of that length."""
    measured = replace(plan(launches=2), marks=marks(plan()))
    twin = replace(entries("twin")[0], role=Role.TWIN, of="a")
    results = campaign(measured, [*entries("a"), twin]).run()
    result = results["a"]
    assert [point.updates for point in result.curve] == [0, 10, 20, 50]
    assert [point.updates for point in results["twin"].curve] == [0, 50]
    assert result.curve[-1].error_percent == result.error_rates["validation"]
    assert {each.launch for each in result.rounds} == {0, 1}
    split = measured.dataset.train
    for point in result.curve[1:3]:
        _, params = train(measured.workload, split, initial_params(measured.workload), point.updates, Exact())
        error = error_rate(measured.workload, params, measured.dataset.validation)
        assert point.error_percent == pytest.approx(error, abs=0.5)


def test_the_clocks_of_worker_and_harness_agree() -> None:
    """The harness's own wall time for a round includes the worker's, and in the best round little else."""
    result = campaign(plan(rounds=5, iterations=2000), entries("a")).run()["a"]
    excess = [each.harness_seconds / each.wall_seconds - 1 for each in result.rounds]
    assert 0 <= min(excess) < 0.05


@pytest.mark.alone
def test_neighbours_make_a_case_contended() -> None:
    """With a burner on each CPU most blocks are disturbed, and those that show it alone are repeated."""
    measured = plan(rounds=3, iterations=1000)
    with burners(measured.cpus):
        result = campaign(measured, entries("a")).run()["a"]
    assert result.state is State.CONTENDED
    assert "turns were disturbed; most recently, other processes held its CPUs for" in result.reason
    assert sum(bool(each.disturbance) for each in result.rounds) > len(result.rounds) / 2
    assert max(each.attempt for each in result.rounds) == 2


@two_cpus
@pytest.mark.alone
def test_one_thread_means_one_cpu(bench: Bench, tmp_path: Path) -> None:
    """With ``--threads 1`` no case uses more than one CPU, XLA's included."""
    options = ("-k", "numpy-cpu or [jax-cpu]", "--threads", "1", "--iterations", "500", "--benchmark-save=one")
    bench(*options, *HIDDEN, frameworks=("numpy", "jax"))
    results = records(tmp_path)
    assert len(results) == 2
    for name, result in results.items():
        assert result["rounds"], result["reason"]
        for each in result["rounds"]:
            assert each["cpu_seconds"] / each["wall_seconds"] <= 1.05, name


def test_a_campaign_continues_with_the_entries_that_are_wanted() -> None:
    """The question is asked after each launch, and its answer is obeyed: one case leaves early, then the last."""

    def wanted(results: Mapping[str, CaseResult]) -> set[str]:
        done = len(results["a"].launches)
        return {label for label, launches in (("a", 3), ("b", 1)) if done < launches}

    results = campaign(plan(launches=9), entries("a", "b"), wanted=wanted).run()
    assert {label: len(result.launches) for label, result in results.items()} == {"a": 3, "b": 1}


def test_by_default_launches_follow_until_the_budget_is_spent(small_mnist: Path) -> None:
    """Or until the speedups are clear, which takes some launches; the rounds continue from one to the next."""
    settings = Settings(workload="model=linear,batch_size=100", budget_seconds=3, data=small_mnist)
    for _ in range(TRIES):
        result = measure(["numpy-cpu"], settings)["numpy-cpu"]
        if result.state is State.VALID:
            break
    else:
        pytest.skip(result.reason)
    assert 3 <= len(result.launches) <= 12
    assert {each.launch for each in result.rounds} == {each.launch for each in result.launches}
    assert result.confidence == SEQUENTIAL_CONFIDENCE
    assert set(result.error_rates) == {"train", "validation", "test"}


def test_a_round_continues_in_the_next_launch() -> None:
    """Its blocks follow each other, each update is done once, and a round that is complete ends in the error rates."""
    split = plan(iterations=4000, rounds=None, launches=2, budget_seconds=2.0)
    result = campaign(split, entries("a")).run()["a"]
    blocks = [(each.first, each.steps) for each in result.rounds]
    assert {each.launch for each in result.rounds} == {0, 1}
    assert {each.lead_in for each in result.rounds} == {LEAD_IN_STEPS}  # asked for with the block
    for (first, steps), (following, _) in pairwise(blocks):
        end = first + (steps or 0)
        assert following == LEAD_IN_STEPS + (0 if end == 4000 else end)
    assert len(result.losses) == 4000
    _, params = train(split.workload, split.dataset.train, initial_params(split.workload), 4000, Exact())
    error = error_rate(split.workload, params, split.dataset.validation)
    assert result.error_rates["validation"] == pytest.approx(error, abs=0.5)


def shown(progress: Mock) -> list[list[int]]:
    """Return how many blocks each case had in each preview, the fewest first."""
    previews = [call.args[0] for call in progress.preview.call_args_list]
    return [sorted(len(result.rounds) for result in results.values()) for results in previews]


def test_first_figures_come_while_other_cases_are_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """When 1, 2 and 4 cases of the first launch have started; their blocks are not in the results."""
    monkeypatch.setattr("samenet.launch.PREVIEW_SECONDS", 60.0)
    progress = Mock(NullProgress)
    measured = plan(iterations=4000, rounds=None, launches=2, entry_seconds=0.1)
    options: dict[str, Any] = {"progress": progress, "assemble": Campaign.results}
    results = campaign(measured, entries("a", "b", "c", "d", "e"), **options).run()
    assert shown(progress) == [[0, 0, 0, 0, 5], [0, 0, 0, 5, 5], [0, 5, 5, 5, 5]]
    assert progress.show.call_count == 2
    turns = [{each.turn for each in result.rounds if each.launch == 0} for result in results.values()]
    assert all(each == set(range(len(each))) and len(turns[0]) - len(each) <= 1 for each in turns)


def test_first_figures_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a block takes; where there is no block there is nothing to show."""
    progress = Mock(NullProgress)
    monkeypatch.setattr("samenet.launch.PREVIEW_SECONDS", 0.0)
    measured = plan(iterations=4000, rounds=None, launches=1, entry_seconds=0.1)
    options: dict[str, Any] = {"progress": progress, "assemble": Campaign.results}
    campaign(measured, entries("a", "b"), **options).run()
    assert not progress.preview.called
    assert progress.show.call_count == 1


def test_verdicts_have_no_first_figures() -> None:
    """Nor has a campaign whose rounds are counted."""
    progress = Mock(NullProgress)
    options: dict[str, Any] = {"progress": progress, "assemble": Campaign.results}
    pair = [replace(entry, group="pair") for entry in entries("a", "b")]
    campaign(plan(rounds=None, entry_seconds=0.1), pair, **options).run()
    campaign(plan(), entries("a"), **options).run()
    assert not progress.preview.called
    assert progress.show.call_count == 2


def test_ctrl_c_during_first_figures_leaves_a_campaign_to_continue(tmp_path: Path) -> None:
    """Which has first figures too, since nothing is compiled."""
    measured = plan(iterations=4000, rounds=None, launches=1, entry_seconds=0.1)
    options: dict[str, Any] = {"assemble": Campaign.results}
    impatient = Mock(NullProgress, preview=Mock(side_effect=KeyboardInterrupt))
    first = campaign(measured, entries("a", "b"), tmp_path, progress=impatient, **options)
    first.run()
    assert (first.interrupted, first.measured_seconds) == (True, 0.0)
    (path,) = tmp_path.iterdir()
    patient = Mock(NullProgress)
    journal = Journal.reopen(path, header(measured))
    second = Campaign(plan=measured, entries=entries("a", "b"), journal=journal, progress=patient, **options)
    assert {result.state for result in second.run().values()} <= {State.VALID, State.CONTENDED, State.THROTTLED}
    assert [len(each) for each in shown(patient)] == [2, 2]


def test_a_comparison_of_revisions_measures_many_short_rounds() -> None:
    """The settings decide how much is measured; the protocol knows what they leave open."""
    assert Iterations.effort(Settings()) == (1000, None, None, 120.0)
    assert Iterations.effort(Settings(against="main", budget_seconds=45.0)) == (100, None, None, 45.0)
    assert Iterations.effort(Settings(iterations=7, rounds=3, launches=2)) == (7, 3, 2, float("inf"))
    assert Iterations.effort(Settings(launches=2)) == (1000, 1, 2, float("inf"))
