"""The levels of a case's history: where a new one begins, how runs vary around them, and how the newest compares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from ruptures import KernelCPD

from samenet.stats import CONFIDENCE, Estimate, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

WIDTH = 3.0  # standard deviations that the kernel is wide: what is farther off is an outlier, however far
PENALTY = 4.0  # twice the Bayesian information criterion's 2 log n (Yao, 1988): a history is looked at again and again
FEWEST_RUNS = 10  # of eight runs without a change, 5 % of the histories would have one
SHORTEST = 3  # runs between two changes: what one or two runs show is an outlier
LEAST_SPREAD = 0.002  # of log time: a few runs that happen to agree do not make the next one a change
SMALLEST = 0.02  # a change that is reported: --tolerance's default
CLIPPED = 2.5  # standard deviations at which a difference of two runs is clipped
MOST_MEMORY = 0.9  # beyond it, a flat history and one that wanders look alike
LONGEST = 709.0  # of log time: the exponential of more is not a number


def breaks(log_seconds: Sequence[float]) -> list[int]:
    """Return the places at which a new level begins.

    Kernel change-point detection (Arlot, Celisse and Harchaoui, JMLR 20(162), 2019) in ``ruptures``' exact dynamic
    programming. The Gaussian kernel bounds what one value can cost, as the loss of Fearnhead and Rigaill (JASA
    114(525), 2019) does, so that an outlier is never cheaper as a level of its own. Near its centre the kernel is a
    parabola: there the costs are squared errors in units of (``WIDTH`` x noise)², and so is the penalty. The noise is
    estimated from the differences of neighbours, which a few changes of level hardly affect.
    """
    signal = np.asarray(log_seconds, dtype=float)
    if len(signal) < FEWEST_RUNS:
        return []
    width = WIDTH * max(LEAST_SPREAD, deviation(np.diff(signal)) / math.sqrt(2))
    search = KernelCPD(kernel="rbf", min_size=SHORTEST, params={"gamma": 1 / (2 * width**2)})
    *places, _ = search.fit_predict(signal[:, None], pen=PENALTY * math.log(len(signal)) / WIDTH**2)
    return list(map(int, places))


def deviation(values: Array) -> float:
    """Return the median absolute deviation, scaled to be a normal distribution's standard deviation."""
    return float(np.median(np.abs(values - np.median(values)))) / 0.6745  # a normal distribution's quartile


def clipped_variance(values: Array) -> float:
    """Return the variance around the median, in which no value counts as more than ``CLIPPED`` deviations."""
    reach = CLIPPED * deviation(values)
    return float(np.mean(np.clip(values - np.median(values), -reach, reach) ** 2))


def memory(logs: Array) -> float:
    """Return the correlation of neighbouring runs around their levels, from 0 to ``MOST_MEMORY``.

    From the differences of neighbours and of second neighbours, whose variances in a first-order autoregression are as
    1 to 1 + the correlation, and which neither a few changes of level nor a slow trend affect (Chakar, Lebarbier,
    Lévy-Leduc and Robin, *A robust approach for estimating change-points in the mean of an AR(1) process*, Bernoulli
    23(2), 2017; they take medians where this takes clipped variances).
    """
    near, far = clipped_variance(np.diff(logs)), clipped_variance(logs[2:] - logs[:-2])
    return min(MOST_MEMORY, max(0.0, far / near - 1)) if near else 0.0


@dataclass(frozen=True)
class Levels:
    """The levels of a history of ``logs``, log seconds in the order of the runs; it has at least ``FEWEST_RUNS``."""

    logs: Array

    @cached_property
    def edges(self) -> list[int]:
        """Where each level begins, and behind the last run."""
        return [0, *breaks(self.logs.tolist()), len(self.logs)]

    @cached_property
    def heights(self) -> list[float]:
        """The median log seconds of each level."""
        return [float(np.median(self.logs[begin:end])) for begin, end in pairwise(self.edges)]

    @property
    def best(self) -> int:
        """The number of the fastest level."""
        return int(np.argmin(self.heights))

    @cached_property
    def memory(self) -> float:
        """The correlation of neighbouring runs."""
        return memory(self.logs)

    @cached_property
    def spread(self) -> float:
        """The standard deviation of log seconds around their level."""
        near = deviation(np.diff(self.logs)) / math.sqrt(2)
        return max(LEAST_SPREAD, near) / math.sqrt(1 - self.memory)

    @property
    def slow_spread(self) -> float:
        """The standard deviation that, over √n, is that of the mean of n runs: neighbours are alike."""
        return self.spread * math.sqrt((1 + self.memory) / (1 - self.memory))

    @cached_property
    def clipped(self) -> Array:
        """The log seconds, of which none is farther from its level than ``WIDTH`` deviations."""
        middles = np.repeat(self.heights, np.diff(self.edges))
        return np.clip(self.logs, middles - WIDTH * self.spread, middles + WIDTH * self.spread)

    def newest_over(self, level: int) -> Estimate | None:
        """Return the newest level's seconds over those of a ``level``, with its interval; None for itself.

        A level is a median, whose variance is π / 2 times that of a mean, of runs that are alike, and at most that of
        one run. The selection of the best level is not corrected for.
        """
        if level == len(self.heights) - 1:
            return None
        sizes = [self.edges[place + 1] - self.edges[place] for place in (level, -2)]
        variance = sum(min(self.spread**2, math.pi / 2 * self.slow_spread**2 / size) for size in sizes)
        degrees = len(self.logs) - len(self.heights)
        reach = t_quantile(degrees, (1 + CONFIDENCE) / 2) * math.sqrt(variance)
        middle = self.heights[-1] - self.heights[level]
        value, low, high = (math.exp(min(LONGEST, middle + side * reach)) for side in (0, -1, 1))
        return Estimate(value, min(value, low), max(value, high)) if low > 0 else None


def percent(ratio: Estimate) -> str:
    """Return a ratio of levels as a change, such as ``+17.3 % (+16.7 to +17.9)``."""
    half = 50 * (ratio.high - ratio.low)
    places = max(0, min(4, -math.floor(math.log10(half)))) if half > 0 else 1
    value, low, high = (f"{100 * (number - 1):+.{places}f}" for number in (ratio.value, ratio.low, ratio.high))
    return f"{value} % ({low} to {high})"
