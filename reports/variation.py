"""How runs of one case differ by themselves, and what that leaves of the ratio of two saved runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from samenet.stats import CONFIDENCE, Estimate, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

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
    degrees: float = 0

    @property
    def is_known(self) -> bool:
        """Whether there were enough runs."""
        return not math.isnan(self.between)


def run_to_run(histories: Sequence[Sequence[Estimate]]) -> Variation:
    """Return the variation between the runs within each of ``histories``, apart from how these differ from each other.

    Random effects, by weighted moments (DerSimonian and Laird, *Meta-analysis in clinical trials*, 1986): how far the
    log medians lie from their mean, each weighted by ``1 / s²``, beyond what is expected of the intervals alone. So a
    run in noise hides no variation of the others. The degrees of freedom are Satterthwaite's: fewer than the runs less
    one where their weights differ.
    """
    several = [history for history in histories if len(history) > 1]
    if not several:
        return Variation()
    logs = [np.log([estimate.value for estimate in history]) for history in several]
    errors = [np.array([within_run(estimate) for estimate in history]) for history in several]
    within = [np.nan_to_num(error) ** 2 for error in errors]
    known = np.concatenate(within)
    usual = 1 / known[known > 0].min() if known.any() else 1.0  # weight of a run without an interval
    weights = [np.divide(1, square, out=np.full_like(square, usual), where=square > 0) for square in within]
    spreads = sum(_squares(log, weight) for log, weight in zip(logs, weights, strict=True))
    forms = [_form(weight) for weight in weights]
    expected = sum(float(np.diag(form) @ square) for form, square in zip(forms, within, strict=True))
    trace = sum(float(np.trace(form)) for form in forms)
    between = math.sqrt(max(0.0, (spreads - expected) / trace))
    # Of the variation alone: with that of the intervals they would depend on how much was found.
    return Variation(between, trace**2 / sum(float(np.sum(form**2)) for form in forms))


def _squares(logs: Array, weights: Array) -> float:
    """Return the weighted sum of squares about the weighted mean."""
    return float(weights @ (logs - weights @ logs / weights.sum()) ** 2)


def _form(weights: Array) -> Array:
    """Return the matrix of that sum as a quadratic form: its trace is the sum's expectation for a variance of 1."""
    form: Array = -np.outer(weights, weights) / weights.sum()
    # The sum of the others' weights, not what is left of the whole: weights may differ by many orders of magnitude.
    np.fill_diagonal(form, -np.sum(form, axis=1, where=~np.eye(len(weights), dtype=bool)))
    return form


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
    reach = min(LONGEST, t_quantile(variation.degrees, (1 + confidence) / 2) * math.sqrt(variance))
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return Estimate(value, low, high) if 0 < low <= value <= high < math.inf else Estimate(value)
