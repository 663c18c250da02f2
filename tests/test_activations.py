"""Every activation and both models are the same in every framework, with odd sizes and at kinks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from impls.lanes import Lane
from impls.registry import implementations
from impls.workload import CHOICES, Workload, initial_params
from samenet.reference import Exact, train
from tests.support.data import make_split
from tests.support.workers import CASES, assert_agreement, marks_of, training

if TYPE_CHECKING:
    from samenet.workers import Worker

NETWORKS: list[dict[str, Any]] = [{"activation": name} for name in CHOICES["activation"]] + [{"model": "linear"}]
SIZES = Workload(inputs=31, hidden=15, batch_size=7, n_pool=3, init="glorot_normal", leak=0.875, learning_rate=0.5)
ROWS = 100
KINKS = np.array([-1, -0.5, 0, 0.5, 1], np.float32)
KINKED = [name for name in CHOICES["activation"] if name not in {"tanh", "sigmoid"}]

# tests/test_parity.py has the other lanes: numba compiles too long for a test of every network.
plain_lanes = pytest.mark.parametrize(
    "worker",
    [
        pytest.param(case, id=case.id, marks=marks_of(case))
        for case in CASES
        if case.implementation.lane is Lane.PLAIN and case.implementation.name != "pytensor"
    ],
    indirect=True,
)


@plain_lanes
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: "-".join(network.values()))
def test_every_network_agrees_with_the_reference(worker: Worker, network: dict[str, Any]) -> None:
    """Losses and weights are within float32's own rounding, with odd sizes, another initialisation and a slope.

    At kinks, where weights of zero leave each unit at its bias, the slope is the reference's.
    """
    workload = replace(SIZES, **network)
    assert_agreement(worker, workload, ROWS)
    if network.get("activation") not in KINKED:
        return
    split, initial, _ = training(workload, ROWS)
    w1, b1, *others = initial
    kinked = (np.zeros_like(w1), np.repeat(KINKS, len(b1) // len(KINKS)), *others)
    _, expected = train(workload, split, kinked, 1, Exact())
    worker.run(1, weights=kinked)
    for found, true in zip(worker.params(), expected, strict=True):
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_the_slopes_of_the_reference_are_derivatives(activation: str) -> None:
    """One step of the reference is that of central differences of its own loss, in float64."""
    workload = Workload(inputs=4, hidden=3, classes=3, batch_size=5, activation=activation, n_pool=3, learning_rate=1.0)
    split, initial = make_split(5, 4, 3), list(initial_params(workload))
    initial[1] = np.linspace(-0.7, 0.9, len(initial[1]), dtype=np.float32)  # or a blank image would stand on a kink
    _, updated = train(workload, split, tuple(initial), 1, Exact())
    for index, weights in enumerate(initial):
        for place in np.ndindex(weights.shape):
            difference = 0.0
            for sign in (1, -1):
                moved = [value.astype(np.float64) for value in initial]
                moved[index][place] += sign * 1e-6
                difference += sign * train(workload, split, tuple(moved), 1, Exact())[0][0] / 2e-6
            assert weights[place] - updated[index][place] == pytest.approx(difference, abs=1e-8)


def test_zeros_learn_nothing_but_the_share_of_each_class() -> None:
    """With tanh, no gradient reaches a weight that is zero: only the last bias moves."""
    workload = Workload(hidden=5, batch_size=10, init="zeros")
    _, (w1, b1, w2, b2) = train(workload, make_split(100), initial_params(workload), 20, Exact())
    assert not w1.any()
    assert not b1.any()
    assert not w2.any()
    assert b2.any()


def test_a_lane_that_is_written_for_one_network_says_so() -> None:
    """The reason names the lane, the field and the value that it has."""
    lanes = {each.name: each for each in implementations()}
    reason = lanes["numpy-tuned"].unsupported(Workload(activation="relu"))
    assert reason == "unsupported: numpy-tuned supports only activation tanh"
    assert not lanes["numpy"].unsupported(Workload(activation="relu"))
    assert not lanes["numpy-tuned"].unsupported(Workload())
