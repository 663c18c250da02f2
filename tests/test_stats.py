"""Medians, paired ratios and their intervals, held against what they estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samenet.stats import median, paired_ratio


def rounds(values: np.ndarray) -> dict[tuple[int, int], float]:
    """Key ``values`` (launches, turns) as a campaign does."""
    return {(launch, turn): float(value) for (launch, turn), value in np.ndenumerate(values)}


def test_the_interval_holds_the_true_median_as_often_as_it_claims() -> None:
    """Of 200 seeded campaigns with a spread between launches and within them, about 95 % cover the truth."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = np.exp(rng.normal(0, 0.01, (10, 1)) + rng.normal(0, 0.01, (10, 2)))
        estimate = median(rounds(values))
        hits += estimate.low <= 1.0 <= estimate.high
    # Binomial with p = 0.95: fewer than 180 happens once in 400 tries.
    assert hits >= 180


def test_launches_that_differ_widen_the_interval() -> None:
    """Twenty rounds of four processes say less than twenty rounds alike: the interval knows who is who."""
    rng = np.random.default_rng(2)
    values = 1 + rng.normal(0, 0.001, (4, 5)) + np.array([[0.0], [0.05], [0.1], [0.15]])
    shuffled = rng.permutation(values.ravel()).reshape(4, 5)
    assert median(rounds(values)).half_width > 1.5 * median(rounds(shuffled)).half_width


def test_drift_cancels_in_pairs() -> None:
    """Two cases on a machine that slows down to a half: the ratio of neighbours stays exact."""
    drift = np.linspace(1, 2, 12).reshape(3, 4)
    ratio = paired_ratio(rounds(3 * drift), rounds(2 * drift))
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_only_rounds_with_a_partner_are_compared() -> None:
    """A round whose neighbour was lost has nothing to be held against."""
    ratio = paired_ratio({(0, 0): 2.0, (0, 1): 9.0}, {(0, 0): 1.0, (1, 0): 9.0})
    assert ratio is not None
    assert ratio.value == 2.0
    assert paired_ratio({(0, 0): 1.0}, {(1, 0): 1.0}) is None


def test_one_round_has_no_interval() -> None:
    """A single value has no spread, and none is invented."""
    estimate = median({(0, 0): 3.0})
    assert estimate.value == 3.0
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_the_same_rounds_give_the_same_interval() -> None:
    """The bootstrap is seeded, and does not depend on the order in which rounds are listed."""
    values = rounds(np.random.default_rng(3).normal(1, 0.1, (3, 3)))
    assert median(values) == median(dict(reversed(values.items())))
