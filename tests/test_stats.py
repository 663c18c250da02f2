"""Medians, paired ratios and their intervals, held against what they estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samenet.campaign import MOST_LAUNCHES
from samenet.plan import FEWEST_LAUNCHES
from samenet.speedups import SHARP
from samenet.stats import CONFIDENCE, SEQUENTIAL_CONFIDENCE, median, paired_ratio


def rounds(values: np.ndarray) -> dict[tuple[int, int], float]:
    """Key ``values`` (launches, turns) as a campaign does."""
    return {(launch, turn): float(value) for (launch, turn), value in np.ndenumerate(values)}


def drifting(rng: np.random.Generator, launches: int, turns: int, between: float) -> np.ndarray:
    """Return values around 1 whose launches differ and whose neighbours are alike, noisy as on a shared machine."""
    noise = rng.normal(0, 0.05, (launches, turns))
    for turn in range(1, turns):
        noise[:, turn] += 0.5 * noise[:, turn - 1]
    return np.exp(rng.normal(0, between, (launches, 1)) + noise)


@pytest.mark.parametrize(("launches", "between"), [(3, 0.01), (6, 0.0), (6, 0.03), (12, 0.01)])
def test_the_interval_holds_the_truth_as_often_as_it_claims(launches: int, between: float) -> None:
    """Of 400 seeded campaigns about 95 % cover it, though neighbours in time are alike and launches differ."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        estimate = median(rounds(drifting(rng, launches, 25, between)))
        hits += estimate.low <= 1.0 <= estimate.high
    # Binomial with p = 0.95 and n = 400: fewer than 366 happens once in 500 tries, all 400 never.
    assert 366 <= hits < 400


def ended(between: float, confidence: float) -> int:
    """Return how many of 400 intervals hold the truth that end their campaign by being narrow."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        values = np.exp(rng.normal(0, between, (MOST_LAUNCHES, 1)))
        for launches in range(FEWEST_LAUNCHES, MOST_LAUNCHES + 1):
            estimate = median(rounds(values[:launches]), confidence)
            if estimate.half_width <= SHARP:
                break
        hits += estimate.low <= 1.0 <= estimate.high
    return hits


def test_an_interval_that_ends_a_campaign_holds_the_truth_too() -> None:
    """A look after each launch stops when the interval happens to be narrow; a higher confidence makes up for that."""
    spreads = (0.015, 0.02, 0.03)
    expected = 1125  # of 1200, of which 95 % are 1140, give or take 8
    assert sum(ended(between, SEQUENTIAL_CONFIDENCE) for between in spreads) >= expected
    assert sum(ended(between, CONFIDENCE) for between in spreads) < expected


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extremes", [(5e-324, 1e300), (1e300, 5e-324)])
def test_a_ratio_that_no_float_holds_is_no_pair(extremes: tuple[float, float]) -> None:
    """In a damaged file: the others count, and without any there is no ratio."""
    numerator, denominator = (dict.fromkeys(((0, turn) for turn in range(20)), value) for value in extremes)
    assert paired_ratio(numerator, denominator) is None
    some = paired_ratio(numerator | {(0, 0): 2.0}, denominator | {(0, 0): 1.0})
    assert some
    assert some.value == 2


def test_one_round_has_no_interval() -> None:
    """A single value has no spread, and none is invented."""
    estimate = median({(0, 0): 3.0})
    assert estimate.value == 3.0
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_a_launch_that_was_cut_off_weighs_nothing_next_to_whole_ones() -> None:
    """Ctrl-C after its first block would make that block as important as all of another launch."""
    whole = rounds(np.random.default_rng(4).normal(1, 0.01, (4, 10)))
    assert median(whole | {(4, 0): 2.0}) == median(whole)


def test_the_same_rounds_give_the_same_interval() -> None:
    """They do not depend on the order in which rounds are listed."""
    values = rounds(np.random.default_rng(3).normal(1, 0.1, (3, 3)))
    assert median(values) == median(dict(reversed(values.items())))
