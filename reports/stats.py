"""Medians, paired ratios and their intervals: numbers in, numbers out."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Key = tuple[int, int]  # launch, turn

RESAMPLES = 2000
CONFIDENCE = 0.95
FEWEST = (
    5  # values: between the extremes of five the true median lies in 94 % of cases, of four in 88 %, of two in 50 %
)


class Estimate(NamedTuple):
    """A figure and the ends of its interval, in the same unit; without an interval both ends are nan, in JSON null."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width over the value: 0.02 reads as plus or minus 2 %."""
        return (self.high - self.low) / 2 / self.value

    def as_dict(self) -> dict[str, float | None]:
        """Return the estimate as it is saved."""
        return {name: None if math.isnan(value) else value for name, value in self._asdict().items()}

    @classmethod
    def read(cls, saved: Mapping[str, float | None]) -> Self:
        """Return the estimate that was saved as ``saved``."""
        return cls(**{name: math.nan if value is None else value for name, value in saved.items()})


def median(values: Mapping[Key, float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of ``values``, keyed by (launch, turn), with a percentile bootstrap interval.

    Launches are drawn with replacement, then rounds within each drawn launch: rounds of one process are more alike
    than rounds of two, and an interval that ignored it would be too narrow (Kalibera and Jones, *Rigorous benchmarking
    in reasonable time*, ISMM 2013). The generator is seeded: the same rounds give the same interval.
    """
    groups: dict[int, list[float]] = {}
    for (launch, _), value in sorted(values.items()):
        groups.setdefault(launch, []).append(value)
    middle = float(np.median(list(values.values())))
    if len(values) < FEWEST:
        return Estimate(middle, float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    sizes = np.array([len(group) for group in groups.values()])
    table = np.full((len(sizes), sizes.max()), np.nan)  # (launches, rounds), the shorter launches filled up with nan
    for row, group in zip(table, groups.values(), strict=True):
        row[: len(group)] = group
    launches = rng.integers(0, len(sizes), (RESAMPLES, len(sizes), 1))
    rounds = rng.integers(0, sizes[launches], (RESAMPLES, len(sizes), sizes.max()))
    sample = np.where(np.arange(sizes.max()) < sizes[launches], table[launches, rounds], np.nan)
    medians = np.nanmedian(sample.reshape(RESAMPLES, -1), axis=1)
    ends = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
    # Drawing n launches from n shows n - 1 over n of the variance between them (Efron and Tibshirani, 1993, ch. 2).
    few = math.sqrt(len(sizes) / (len(sizes) - 1)) if len(sizes) > 1 else 1.0
    low, high = middle + few * (ends - middle)
    return Estimate(middle, float(low), float(high))


def paired_ratio(
    numerator: Mapping[Key, float],
    denominator: Mapping[Key, float],
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Return the median of the ratios of rounds with the same key, with its interval; None without a pair.

    Paired, because the machine's drift moves both rounds of a pair and cancels.
    """
    ratios = {key: numerator[key] / denominator[key] for key in numerator if key in denominator}
    return median(ratios, confidence) if ratios else None


def within_run(estimate: Estimate) -> float:
    """Return the standard error of the logarithm of a run's median, from its 95 % interval; nan without one."""
    return math.log(estimate.high / estimate.low) / 2 / NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Variation(NamedTuple):
    """How far medians of one case lie apart from run to run, as a standard deviation of their logarithms.

    ``between`` is what the runs' own intervals do not explain; it is known with so many ``degrees`` of freedom.
    """

    between: float
    degrees: int


def run_to_run(histories: Sequence[Sequence[Estimate]]) -> Variation:
    """Return the variation between the runs within each of ``histories``; what the histories differ by is no part.

    Random effects, by moments (DerSimonian and Laird, *Meta-analysis in clinical trials*, 1986, without weights): the
    variance of the log medians, less the mean variance within runs, or 0 where that is larger.
    """
    squares, degrees = 0.0, sum(max(0, len(history) - 1) for history in histories)
    for history in histories:
        logs = [math.log(each.value) for each in history]
        squares += len(logs) * float(np.var(logs)) if logs else 0.0
    if not degrees:
        return Variation(math.nan, 0)
    within = [0.0 if math.isnan(each) else each**2 for history in histories for each in map(within_run, history)]
    return Variation(math.sqrt(max(0.0, squares / degrees - float(np.mean(within)))), degrees)


def stored_ratio(
    numerator: Estimate, denominator: Estimate, variation: Variation, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the ratio of the medians of two runs, whose interval knows how much runs differ by themselves.

    The variance of its logarithm is that within both runs and twice that between runs; Student's t with the history's
    degrees of freedom widens it where the history is short. Without any of these both ends are nan.
    """
    value = numerator.value / denominator.value
    variance = within_run(numerator) ** 2 + within_run(denominator) ** 2 + 2 * variation.between**2
    if math.isnan(variance):
        return Estimate(value, math.nan, math.nan)
    reach = float(stdtrit(variation.degrees, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(value, value * math.exp(-reach), value * math.exp(reach))
