"""Medians, paired ratios and their intervals: numbers in, numbers out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

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
