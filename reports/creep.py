"""Slow trends: many small changes in one direction, none of which is a change by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import kendalltau

from reports.levels import SMALLEST
from samenet.verdicts import ERROR_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.levels import Array, Levels

KNOTS = 40  # places in a history at which a trend may begin or end
SHORTEST_RAMP = 6  # runs: two levels of the shortest kind, and less is a step
FEWEST_STEPS = 2  # between two levels: one step is a change, which is reported as such
# Standard errors that a trend must be worth: the largest of 800 correlated ones is compared. Of 2,000 simulated flat
# histories of 90 runs, at most 7 have one where neighbours are correlated by 0.7, none up to 0.5: docs/evidence.md.
CLEAR = 5.0
# The largest probability of such a rank correlation without a rise. Of 1,000 simulated flat histories of independent
# errors at most one has a trend, with noise of up to 0.08 points and up to 500 runs. It takes seven runs or more.
RANDOM_RISE = 0.0005
TINY = 1e-12  # of log time: equal runs have no misfit


@dataclass(frozen=True)
class Ramp:
    """What is flat until the run ``begin``, rises steadily and is flat from the run ``end`` on.

    ``errors`` is the rise in standard errors, ``misfit`` the sum of the absolute residuals.
    """

    begin: int
    end: int
    errors: float
    misfit: float


@dataclass(frozen=True)
class Trend:
    """A slow trend that begins after the run ``begin`` and lasts until the run ``end``; ``level`` is the one before."""

    begin: int
    end: int
    level: int = 0


def best_ramp(logs: Array, slow_spread: float) -> Ramp:
    """Return the ramp that fits best, by least squares.

    The standard error of its rise grows with the correlation of neighbouring runs, which is in ``slow_spread``
    (Weatherhead et al., *Factors affecting the detection of trends*, Journal of Geophysical Research 103(D14), 1998).
    """
    runs = np.arange(len(logs))
    knots = np.unique(np.linspace(0, len(logs) - 1, min(len(logs), KNOTS + 1)).round().astype(int))
    pairs = [pair for pair in combinations(knots.tolist(), 2) if pair[1] - pair[0] >= SHORTEST_RAMP]
    begins, ends = np.array(pairs).T
    shapes = np.clip((runs - begins[:, None]) / (ends - begins)[:, None], 0, 1)
    shapes -= shapes.mean(axis=1, keepdims=True)
    projected, squares = shapes @ (logs - logs.mean()), (shapes**2).sum(axis=1)
    number = int(np.argmax(projected**2 / squares))
    residuals = logs - logs.mean() - projected[number] / squares[number] * shapes[number]
    errors = float(projected[number] / math.sqrt(squares[number]) / slow_spread)
    return Ramp(int(begins[number]), int(ends[number]), errors, float(np.abs(residuals).sum()))


def slow_trend(levels: Levels) -> Trend | None:
    """Return the slow trend that led to the newest level, from the best one or from the first.

    It is reported where the newest level differs by ``SMALLEST`` or more, more than one step lies between, a ramp is
    ``CLEAR`` of noise, and the steps that are reported as changes do not explain it: they add up to too little, or the
    ramp fits better.
    """
    last = len(levels.heights) - 1
    for level, worse in ((levels.best, True), (0, True), (0, False)):
        rise = levels.heights[last] - levels.heights[level]
        if last - level < FEWEST_STEPS or (rise if worse else -rise) < math.log1p(SMALLEST):
            continue
        begin = levels.edges[level]
        ramp = best_ramp(levels.clipped[begin:], levels.slow_spread)
        clear = ramp.errors > CLEAR if worse else ramp.errors < -CLEAR
        if clear and not explained(levels, level, ramp):
            return Trend(begin + ramp.begin, begin + ramp.end, level)
    return None


def explained(levels: Levels, level: int, ramp: Ramp) -> bool:
    """Return whether the changes that are reported since a ``level`` describe the history better than the ``ramp``."""
    steps = [after - before for before, after in pairwise(levels.heights[level:])]
    large = [abs(step) >= math.log1p(SMALLEST) for step in steps]
    rest = sum(step for step, is_large in zip(steps, large, strict=True) if not is_large)
    if math.copysign(rest, rest * ramp.errors) >= math.log1p(SMALLEST):
        return False
    inner = levels.edges[level + 1 : -1]
    edges = [levels.edges[level], *(edge for edge, is_large in zip(inner, large, strict=True) if is_large)]
    parts = np.split(levels.clipped[edges[0] :], [edge - edges[0] for edge in edges[1:]])
    misfit = sum(float(np.abs(part - np.median(part)).sum()) for part in parts)
    runs = len(levels.logs) - edges[0]
    # The Bayesian information criterion: a step has a place and a height, the ramp two places and a height.
    cost = (2 * (len(parts) - 1) - 3) * math.log(runs)
    return runs * math.log(max(misfit, TINY) / max(ramp.misfit, TINY)) + cost <= 0


def rising_error(errors: Sequence[float]) -> Trend | None:
    """Return the slow rise of validation ``errors`` (percent) above the lowest one, which no reported step shows.

    Every run is the same training, so that one is enough to know a level. But where equal runs vary by half of the
    tolerance, two of them can differ by all of it: the errors since the lowest one have to rise with the runs too, by
    Kendall's rank correlation.
    """
    known = [place for place, error in enumerate(errors) if not math.isnan(error)]
    if not known:
        return None
    best = min(known, key=lambda place: errors[place])
    near = [place for place in known if place >= best and errors[place] <= errors[best] + ERROR_TOLERANCE / 2]
    begin, last = near[-1], known[-1]
    since = [place for place in known if place >= begin]
    steps = [errors[after] - errors[before] for before, after in pairwise(since)]
    small = sum(step for step in steps if abs(step) <= ERROR_TOLERANCE)
    rise = errors[last] - errors[best]
    if min(rise, small) <= ERROR_TOLERANCE:
        return None
    later = [place for place in known if place >= best]
    ranks = kendalltau(later, [errors[place] for place in later])
    return Trend(begin, last, best) if ranks.statistic > 0 and ranks.pvalue < RANDOM_RISE else None
