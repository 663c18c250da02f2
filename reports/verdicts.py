"""Whether a change made a case slower: from a paired ratio and a tolerance to a word with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.tables import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.stats import Estimate

CONFIDENCE = 0.95
# Percentage points of validation error. Equal arithmetic moves it by 0.02 or so on 10,000 images.
ERROR_TOLERANCE = 0.1


class Word(StrEnum):
    """What is said of a case after a change."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    UNVERIFIED = "unverified"
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True)
class Verdict:
    """What became of one case: ``ratio`` is its time after the change over that before, where both have one."""

    case: str
    word: Word
    ratio: Estimate | None = None
    reason: str = ""

    @property
    def regression(self) -> bool:
        """Tell whether a build should fail for it."""
        return self.word in {Word.SLOWER, Word.UNVERIFIED}

    @property
    def sentence(self) -> str:
        """The verdict in words, with its ratio and its reason."""
        ratio = f", {figure(self.ratio)} times the time" if self.ratio else ""
        return f"{self.case} is {self.word}{ratio}" + (f": {self.reason}" if self.reason else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as it is saved."""
        return {
            "case": self.case,
            "word": str(self.word),
            "ratio": self.ratio.as_dict() if self.ratio else None,
            "reason": self.reason,
            "regression": self.regression,
            "sentence": self.sentence,
        }


def confidence(cases: int) -> float:
    """Return the confidence of each of ``cases`` intervals with which all of them hold at 95 % (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, cases)


def judge(
    case: str,
    ratio: Estimate | None,
    tolerance: float,
    errors: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {}),
) -> Verdict:
    """Return the verdict on a case from the interval of its ``ratio``, time after over time before.

    ``slower`` and ``faster`` need the whole interval beyond ``tolerance`` (0.02 is 2 %), ``same`` the whole interval
    within it. ``errors`` are the error rates before and after, in percent: a faster step that learns less is a
    regression.
    """
    before, after = errors
    rise = after.get("validation", 0.0) - before.get("validation", math.inf)
    if rise > ERROR_TOLERANCE:
        reason = f"its validation error rose from {before['validation']:.2f} to {after['validation']:.2f} %"
        return Verdict(case, Word.UNVERIFIED, ratio, reason)
    if ratio is None or math.isnan(ratio.low):
        return Verdict(case, Word.INCONCLUSIVE, ratio, "there are too few pairs of undisturbed rounds")
    if ratio.low > 1 + tolerance:
        return Verdict(case, Word.SLOWER, ratio)
    if ratio.high < 1 - tolerance:
        return Verdict(case, Word.FASTER, ratio)
    if ratio.low >= 1 - tolerance and ratio.high <= 1 + tolerance:
        return Verdict(case, Word.SAME, ratio)
    return Verdict(case, Word.INCONCLUSIVE, ratio, f"its interval reaches beyond {100 * tolerance:g} % and back")


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return one row a case: the word, the ratio with its interval, the reason."""
    rows = [(each.case, str(each.word), figure(each.ratio), each.reason) for each in verdicts]
    return pd.DataFrame(rows, columns=["case", "verdict", "time after / before", "reason"])
