"""Estimates with intervals: medians and paired ratios of positive quantities, and how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Key = tuple[int, int]  # launch, turn

RESAMPLES = 2000
CONFIDENCE = 0.95
# Values: between the extremes of five the true median lies in 94 % of cases, of four in 88 %, of two in 50 %.
FEWEST_VALUES = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A positive figure with its 95 % interval, in the same unit.

    Attributes:
        value: the median.
        low: the lower end; nan, which is saved as null, for fewer than five rounds and for a training.
        high: the upper end; likewise.

    Raises:
        ValueError: the value is not a positive number, or not 0 < low <= value <= high.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        """Check the order of the three numbers."""
        if not 0 < self.value < math.inf:
            raise ValueError(f"an estimate of {self.value:g} is not a positive number")
        known = not (math.isnan(self.low) and math.isnan(self.high))
        if known and not 0 < self.low <= self.value <= self.high < math.inf:
            raise ValueError(f"the interval {self.low:g} to {self.high:g} does not hold its estimate {self.value:g}")

    @property
    def has_interval(self) -> bool:
        """Whether the ends are known."""
        return not math.isnan(self.low)

    @property
    def half_width(self) -> float:
        """Half the interval's width over the value: 0.02 reads as plus or minus 2 %; nan without an interval."""
        return (self.high - self.low) / 2 / self.value

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)

    @property
    def decimals(self) -> int:
        """How many decimals it deserves: its interval's half width has one digit, or two from 10 to 19.

        Five significant digits are the most: no clock here knows more, however narrow the interval of a few rounds is.
        """
        half = (self.high - self.low) / 2
        if not 0 < half < math.inf:  # no interval, or one of no width: three digits of the value
            return significant(self.value, 3)
        exponent = math.floor(math.log10(half))
        return min(max(0, -exponent + int(half < 2 * 10.0**exponent)), significant(self.value, 5))

    def text(self, suffix: str = "") -> str:
        """Return it as ``9.83 (9.71 to 9.95)``; without an interval it says so."""
        places = self.decimals
        value = f"{self.value:.{places}f}{suffix}"
        if not self.has_interval:
            return f"{value} (no interval)"
        return f"{value} ({self.low:.{places}f} to {self.high:.{places}f})"


def significant(value: float, count: int) -> int:
    """Return how many decimals show ``count`` significant digits of ``value``."""
    return max(0, count - 1 - math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0


def median(values: Mapping[Key, float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of positive ``values``, keyed by (launch, turn), with a percentile bootstrap interval.

    Launches are drawn with replacement, then rounds within each drawn launch: rounds of one process are more alike
    than rounds of two, and an interval that ignored it would be too narrow (Kalibera and Jones, *Rigorous benchmarking
    in reasonable time*, ISMM 2013). The interval is widened on the log scale, so that it never reaches 0. The
    generator is seeded: the same rounds give the same interval.
    """
    groups: dict[int, list[float]] = {}
    for (launch, _), value in sorted(values.items()):
        groups.setdefault(launch, []).append(value)
    middle = float(np.median(list(values.values())))
    if len(values) < FEWEST_VALUES:
        return Estimate(middle)
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
    low, high = middle * (ends / middle) ** few
    return Estimate(middle, min(middle, float(low)), max(middle, float(high)))


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
