"""Estimates with intervals: typical values and paired ratios of positive quantities, and how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Key = tuple[int, int]  # launch, turn

CONFIDENCE = 0.95
# Of the intervals that a campaign computes after each launch until they are narrow enough: of those at its end 95 %
# hold, since one that is narrow by chance ends it (tests/test_stats.py simulates it).
SEQUENTIAL_CONFIDENCE = 0.97
FEWEST_LAUNCHES = 3  # that are taken for independent values
FEWEST_VALUES = 5  # of fewer launches
PARTS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A positive figure with an interval of the case's ``confidence``, in the same unit.

    A verdict's interval is corrected for the number of cases.

    Attributes:
        value: what is typical of all.
        low: the lower end; nan, which is saved as null, for fewer than five blocks in one or two launches, and for a
            training.
        high: the upper end; likewise.
        error: the standard error of the value's logarithm; nan where there is none, and in files of samenet 0.1.

    Raises:
        ValueError: the value is not a positive number, or not 0 < low <= value <= high.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    error: float = math.nan

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
        return Estimate(factor * self.value, factor * self.low, factor * self.high, self.error)

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


def by_launch(values: Mapping[Key, float]) -> list[list[float]]:
    """Return the ``values``, keyed by (launch, turn), of each launch, in the order of its turns."""
    launches: dict[int, list[float]] = {}
    for (launch, _), value in sorted(values.items()):
        launches.setdefault(launch, []).append(value)
    return list(launches.values())


def median(values: Mapping[Key, float], confidence: float = CONFIDENCE) -> Estimate:
    """Return what is typical of positive ``values``, keyed by (launch, turn), with its interval.

    It is the geometric mean of the launches' medians, with Student's t over the launches: blocks of one process are
    more alike than those of two, and neighbours in time more than others, so that only launches are independent
    (Kalibera and Jones, *Rigorous benchmarking in reasonable time*, ISMM 2013). A launch that was cut off does not
    count where there are three others. Of fewer than three launches it is the same over ten parts of the measured
    time: then the interval does not know how much launches differ. It is on the log scale, so that it never reaches
    0.
    """
    groups = [np.array(group) for group in by_launch(values)]
    long = [group for group in groups if len(group) >= FEWEST_VALUES]
    if len(long) >= FEWEST_LAUNCHES:
        groups = long
    if len(groups) < FEWEST_LAUNCHES:
        if len(values) < FEWEST_VALUES:
            return Estimate(float(np.median(list(values.values()))))
        parts = max(1, PARTS // len(groups))
        groups = [part for group in groups for part in np.array_split(group, min(parts, len(group)))]
    return geometric_mean([math.log(np.median(group)) for group in groups], confidence)


def t_quantile(degrees: float, probability: float) -> float:
    """Return what a value of Student's t distribution with so many degrees of freedom is below with ``probability``."""
    from scipy.special import stdtrit  # noqa: PLC0415  # a third of the time of import samenet

    return float(stdtrit(degrees, probability))


def geometric_mean(logs: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the geometric mean of values with these logarithms, with Student's t; one alone has no interval."""
    middle = math.exp(np.mean(logs))
    if len(logs) < 2:
        return Estimate(middle)
    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    half = t_quantile(len(logs) - 1, (1 + confidence) / 2) * error
    return Estimate(middle, middle * math.exp(-half), middle * math.exp(half), error)


def paired_ratio(
    numerator: Mapping[Key, float],
    denominator: Mapping[Key, float],
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Return what is typical of the ratios of blocks with the same key, with its interval; None without a pair.

    Paired, because the machine's drift moves both blocks of a pair and cancels. A pair whose ratio is beyond what a
    float can hold, as in a damaged file, is none.
    """
    every = {key: numerator[key] / denominator[key] for key in numerator if key in denominator}
    ratios = {key: ratio for key, ratio in every.items() if 0 < ratio < math.inf}
    return median(ratios, confidence) if ratios else None
