"""Every implementation trains the same network and has done so when it returns; one that does not is noticed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from impls.lanes import Case, Device, Implementation
from impls.registry import bounds
from impls.workload import CHOICES, Workload, initial_params
from samenet.environments import ROOT, find_interpreter
from samenet.machine.counters import Watch
from samenet.machine.cpus import choose_cpus
from samenet.reference import Exact, Reference, Rounded, error_rate, train
from samenet.workers import Worker
from tests.support.data import make_split
from tests.support.workers import CASES, assert_agreement

if TYPE_CHECKING:
    from pathlib import Path

    from impls.interface import Float32, Params

# Besides the default one and one with odd sizes, each of which a test below trains for more than parity.
WORKLOADS = [
    Workload(inputs=17, hidden=1, classes=3, batch_size=64, seed=2, learning_rate=0.5),
    Workload(inputs=5, hidden=101, classes=7, batch_size=1, seed=3, init="book"),
]

LOWER = [
    pytest.param(case, precision, id=f"{case.id}-{precision}")
    for case in CASES
    for precision in CHOICES["precision"][1:]
    if not case.unsupported(Workload(precision=precision))
]

AUDIT_SECONDS = 0.25  # of each CPU in a run, about
LEAST_RATIO = 1.3  # of the CPU time of twice the steps
LEFT_OVER = 0.4  # share of a run's CPU time after it, between BLAS threads that look for work and half of the work

UNFINISHED = Case(
    Implementation(
        name="unfinished", trainer="faulty_trainers:Unfinished", environment="numpy", packages=(("numpy", "numpy"),)
    ),
    Device("cpu"),
)


def describe(workload: Workload) -> str:
    """Return a test id."""
    return f"{workload.inputs}-{workload.hidden}-{workload.classes}-{workload.batch_size}-{workload.init}"


@pytest.mark.parametrize("workload", WORKLOADS, ids=describe)
def test_implementation_agrees_with_the_reference(worker: Worker, workload: Workload) -> None:
    """Losses and weights are within float32's own rounding of the float64 run, past a wrap-around."""
    assert_agreement(worker, workload, rows=1500)


@pytest.mark.parametrize(("worker", "precision"), LOWER, indirect=["worker"])
def test_a_lower_precision_has_a_tolerance_of_its_own(worker: Worker, precision: str) -> None:
    """What float32 would not allow is within it."""
    workload = Workload(hidden=100, batch_size=100, precision=precision)
    split, initial = make_split(1000), initial_params(workload)
    reference, strict = (Reference(each, split, initial) for each in (workload, replace(workload, precision="float32")))
    worker.build(workload, split, initial)
    losses = worker.run(reference.steps).losses
    parity = reference.judge(losses, worker.params())
    assert parity.verified, parity.sentence
    assert not strict.judge(losses, worker.params()).verified


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_mistakes_are_noticed_in_every_precision(precision: str) -> None:
    """A parameter that is not updated fails parity in bfloat16 too, and so does a wrong learning rate."""
    workload = Workload(batch_size=100, precision=precision)
    truth = Reference(workload, make_split(1000), initial_params(workload))
    losses, params = in_float64(workload, truth.steps)
    assert truth.judge(losses, params).verified
    assert not truth.judge(*in_float64(workload, truth.steps, learning_rate=0.015)).verified
    for index, initial in enumerate(initial_params(workload)):
        kept = list(params)
        kept[index] = initial
        assert not truth.judge(losses, tuple(kept)).verified, list(workload.shapes)[index]


def test_a_run_starts_from_the_initial_weights_or_continues(worker: Worker) -> None:
    """Nothing is left over from an earlier run, and one run or two are the same training: that of the reference.

    Also where the second begins amid a pass or past the first one.
    """
    assert_agreement(worker, Workload(hidden=33, batch_size=49, learning_rate=0.1), rows=525)
    whole = worker.run(20).losses
    np.testing.assert_allclose(worker.run(15).losses, whole[:15], rtol=1e-6)
    for first in (7, 13):
        parts = [worker.run(first).losses, worker.run(20 - first, first, worker.params()).losses]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)


class Audit(NamedTuple):
    """Of some runs: how often the CPU time of twice the steps, the shares used afterwards, and the most CPUs busy."""

    ratio: float
    after: list[float]
    cpus: float


def audit(worker: Worker) -> Audit:
    """Compare a run with one of twice the steps, by CPU time: neighbours lengthen the wall time far more.

    Once more where the first two do not look as they should.
    """
    worker.run(5)  # which is where some compile
    five = min(worker.run(5).cpu_seconds for _ in range(3))
    steps = max(5, int(5 * AUDIT_SECONDS * len(worker.cpus) / five))
    once, twice, after = [], [], []
    for _ in range(2):
        once.append(worker.run(steps))
        worked_afterwards(worker)  # or it would count for the next run
        twice.append(double := worker.run(2 * steps))
        after.append(worked_afterwards(worker) / double.cpu_seconds)
        if after[-1] < LEFT_OVER and double.cpu_seconds > LEAST_RATIO * once[-1].cpu_seconds:
            break
    ratio = min(run.cpu_seconds for run in twice) / min(run.cpu_seconds for run in once)
    return Audit(ratio, after, max(run.cpu_seconds / run.wall_seconds for run in once + twice))


def worked_afterwards(worker: Worker) -> float:
    """Return the CPU seconds that ``worker`` uses without a request, until it uses none for a while."""
    used = 0.0
    for _ in range(20):
        watch = Watch(worker.pid, worker.cpus)
        time.sleep(0.1)  # more than the 60 ms for which OpenBLAS's threads look for work
        more = watch.stop().worker_seconds or 0.0
        used += more
        if more < 0.001:
            break
    return used


def test_run_returns_only_when_the_work_is_done(worker: Worker) -> None:
    """The work is the reference's, twice the steps take more, and nothing is left to do afterwards.

    No more CPUs were busy than the worker has, which is one where tests run in two processes. A neighbour can only add
    to the CPU time and take from the CPUs.
    """
    assert_agreement(worker, Workload(), rows=1800)
    found = audit(worker)
    assert found.ratio > LEAST_RATIO
    assert min(found.after) < LEFT_OVER
    assert found.cpus <= 1.05 * len(worker.cpus)


def test_the_audit_notices_work_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that returns half-way continues without a request, unless a neighbour keeps it from running."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "plugin"))
    python = find_interpreter(UNFINISHED.implementation, {}, ROOT)
    with Worker(UNFINISHED, python, ROOT, cpus=choose_cpus(None), folder=tmp_path) as worker:
        worker.load_framework()
        worker.build(Workload(), make_split(1800), initial_params(Workload()))
        found = audit(worker)
    assert max(found.after) > LEFT_OVER


@pytest.fixture(scope="module")
def reference() -> tuple[Workload, Reference]:
    """Return the reference of the default workload on a small split."""
    workload = Workload(batch_size=100)
    return workload, Reference(workload, make_split(1000), initial_params(workload))


def in_float64(workload: Workload, steps: int, **changes: Any) -> tuple[Float32, Params]:
    """Return losses and weights of a run with a mistake in it: another workload than the one that is judged."""
    changed = replace(workload, **changes)
    losses, params = train(changed, make_split(1000), initial_params(workload), steps, Exact())
    return losses.astype(np.float32), tuple(value.astype(np.float32) for value in params)


@pytest.mark.parametrize("change", [{"learning_rate": 0.010001}, {"batch_size": 99}], ids=str)
def test_a_slightly_different_training_is_noticed(
    reference: tuple[Workload, Reference], change: dict[str, Any]
) -> None:
    """A learning rate that is off by 1e-4 of itself and a minibatch with one image less fail parity."""
    workload, truth = reference
    assert truth.judge(*in_float64(workload, truth.steps)).verified
    assert not truth.judge(*in_float64(workload, truth.steps, **change)).verified


@pytest.mark.parametrize("name", Workload().shapes)
def test_a_parameter_that_is_not_updated_is_noticed(reference: tuple[Workload, Reference], name: str) -> None:
    """Each of the four parameters left as it was fails parity, and is named."""
    workload, truth = reference
    losses, params = in_float64(workload, truth.steps)
    kept = list(params)
    index = list(workload.shapes).index(name)
    kept[index] = initial_params(workload)[index]
    parity = truth.judge(losses, tuple(kept))
    assert not parity.verified
    assert name in parity.sentence


@pytest.mark.parametrize(("bits", "verified"), [(24, True), (11, False), (8, False)], ids=["float32", "tf32", "bf16"])
def test_precision_below_float32_is_noticed(
    reference: tuple[Workload, Reference], bits: int, *, verified: bool
) -> None:
    """Rounding errors of float32's size pass; those of TF32 and bfloat16 do not."""
    workload, truth = reference
    rounded = Rounded(2.0**-bits, seed=99)
    losses, params = train(workload, make_split(1000), initial_params(workload), truth.steps, rounded)
    assert truth.judge(losses.astype(np.float32), params).verified is verified


def test_error_rate_counts_wrong_predictions() -> None:
    """Weights that always predict class 0 are wrong on every image of another class."""
    split = make_split(1000)
    params = np.zeros((784, 2), "f4"), np.zeros(2, "f4"), np.zeros((2, 10), "f4"), np.eye(10, dtype="f4")[0]
    assert error_rate(Workload(hidden=2), params, split) == pytest.approx(100 * np.mean(split.labels != 0))


@pytest.mark.parametrize("bound", bounds(), ids=lambda bound: bound.name)
def test_the_bound_does_all_five_products(bound: Implementation, tmp_path: Path) -> None:
    """The two weight-shaped products, which the three others feed, are those of a linear network in float64."""
    workload = Workload(hidden=33, batch_size=50)
    split, initial = make_split(125), initial_params(workload)
    python = find_interpreter(bound, {}, ROOT)
    with Worker(Case(bound, Device("cpu")), python, ROOT, cpus=choose_cpus(None), folder=tmp_path) as worker:
        worker.load_framework()
        worker.build(workload, split, initial)
        worker.run(4)  # two minibatches: the last step sees the second one again
        d_w1, _, d_w2, _ = worker.params()
    w1, _, w2, _ = initial
    x = split.images[50:100] / 256.0
    hidden = x @ w1.astype(np.float64)
    logits = hidden @ w2
    # A float32 product of length n is off by n·2⁻²⁴ at most, relative to the sum of magnitudes; three in a row.
    scale = (np.abs(x).T @ (np.abs(logits) @ np.abs(w2.T))).max()
    np.testing.assert_allclose(d_w1, x.T @ (logits @ w2.T), atol=scale * 900 * 2.0**-24)
    np.testing.assert_allclose(d_w2, hidden.T @ logits, atol=np.abs(hidden.T @ logits).max() * 900 * 2.0**-24)


def test_updates_that_are_left_out_after_the_first_hundred_are_noticed() -> None:
    """A round that trains to its end passes; one that repeats its losses from then on does not."""
    workload = Workload(hidden=50, batch_size=100)
    split, initial = make_split(1000), initial_params(workload)
    truth = Reference(workload, split, initial)
    losses = train(workload, split, initial, 300, Exact())[0].astype(np.float32)
    assert truth.follows_round(losses)
    idle = np.concatenate([losses[:100], np.resize(losses[90:100], 200)])
    assert truth.follows(idle)
    assert not truth.follows_round(idle)
