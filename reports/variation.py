"""How runs of one case differ by themselves, and what that leaves of the ratio of two saved runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from samenet.stats import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 709.0  # of log time: the exponential of more is not a number


def within_run(estimate: Estimate) -> float:
    """Return the standard error of the logarithm of a run's time, or else from its 95 % interval; nan without one."""
    if not math.isnan(estimate.error):
        return estimate.error
    # Not the logarithm of a quotient, which can be out of range where both ends are in it.
    return (math.log(estimate.high) - math.log(estimate.low)) / 2 / NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Variation:
    """How far medians of one case lie apart from run to run, as a standard deviation of their logarithms.

    ``between`` is what the runs' own intervals do not explain, with so many ``degrees`` of freedom; nan if unknown.
    """

    between: float = math.nan
    degrees: int = 0

    @property
    def is_known(self) -> bool:
        """Whether there were enough runs."""
        return not math.isnan(self.between)


def run_to_run(histories: Sequence[Sequence[Estimate]]) -> Variation:
    """Return the variation between the runs within each of ``histories``, apart from how these differ from each other.

    Random effects, by moments (DerSimonian and Laird, *Meta-analysis in clinical trials*, 1986, without weights): the
    variance of the log medians, less the mean variance within runs, or 0 where that is larger.
    """
    squares, degrees = 0.0, sum(max(0, len(history) - 1) for history in histories)
    for history in histories:
        logs = [math.log(estimate.value) for estimate in history]
        squares += len(logs) * float(np.var(logs)) if logs else 0.0
    if not degrees:
        return Variation()
    errors = [within_run(estimate) for history in histories for estimate in history]
    within = [0.0 if math.isnan(error) else error**2 for error in errors]
    return Variation(math.sqrt(max(0.0, squares / degrees - float(np.mean(within)))), degrees)


def stored_ratio(
    numerator: Estimate, denominator: Estimate, variation: Variation, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return the ratio of the medians of two runs, with an interval that includes how much runs differ by themselves.

    The variance of its logarithm is that within both runs and twice that between runs; Student's t with the history's
    degrees of freedom widens it where the history is short. It has no interval without any of these, or where one
    leaves the range of numbers, and there is no ratio where the ratio itself does.
    """
    value = numerator.value / denominator.value
    if not 0 < value < math.inf:
        return None
    variance = within_run(numerator) ** 2 + within_run(denominator) ** 2 + 2 * variation.between**2
    if math.isnan(variance):
        return Estimate(value)
    reach = min(LONGEST, float(stdtrit(variation.degrees, (1 + confidence) / 2)) * math.sqrt(variance))
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return Estimate(value, low, high) if 0 < low <= value <= high < math.inf else Estimate(value)
