"""Whether a change made a case slower: from a paired ratio and a tolerance to a word with its reason."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pandas as pd

from bench.records import State
from reports.markdown import inert, markdown_table
from reports.tables import Table, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reports.stats import Estimate

CONFIDENCE = 0.95
# Percentage points of validation error. Equal arithmetic moves it by 0.02 or so on 10,000 images.
ERROR_TOLERANCE = 0.1
FAULTS = {State.UNVERIFIED, State.FAILED, State.OVERSUBSCRIBED}  # a case's own; the others are the machine's


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


class Measured(Protocol):
    """What is known of a case whether it has a number or not."""

    @property
    def case(self) -> str:
        """Its id."""

    @property
    def state(self) -> State:
        """Whether it has earned its number."""

    @property
    def reason(self) -> str:
        """Why it has not."""

    @property
    def error_rates(self) -> Mapping[str, float]:
        """What it has learned, in percent, by split."""


Either = TypeVar("Either", bound=Measured)


def judge_case(
    after: Either,
    before: Either | None,
    former: str,
    ratio: Callable[[Either, Either], Estimate | None],
    tolerance: float,
) -> Verdict:
    """Return the verdict on a case that may lack a number now, or in ``former``; with both, ``ratio`` is asked.

    A case that lost its number by its own fault is a regression, whatever the clock says.
    """
    if after.state is not State.VALID:
        lost = after.state in FAULTS and (before is None or before.state is State.VALID)
        word = Word.UNVERIFIED if lost or after.state is State.UNVERIFIED else Word.INCONCLUSIVE
        return Verdict(after.case, word, reason=f"{after.state}: {after.reason}")
    if before is None:
        return Verdict(after.case, Word.NEW, reason=f"{former} has no such case")
    if before.state is not State.VALID:
        return Verdict(after.case, Word.INCONCLUSIVE, reason=f"at {former} it is {before.state}: {before.reason}")
    return judge(after.case, ratio(after, before), tolerance, (before.error_rates, after.error_rates))


@dataclass(frozen=True)
class Comparison:
    """What became of every case from ``before`` to ``after``; ``tolerance`` (0.02 is 2 %) is what may change."""

    before: str
    after: str
    tolerance: float
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        """Tell whether a build should fail."""
        return any(verdict.regression for verdict in self.verdicts)

    @property
    def title(self) -> str:
        """What is compared."""
        return f"{self.after} against {self.before}"

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        counts = Counter(verdict.word for verdict in self.verdicts)
        found = ", ".join(f"{counts[word]} {word}" for word in Word if counts[word])
        return f"{'Regression' if self.regression else 'No regression'} beyond {100 * self.tolerance:g} %: {found}."

    @property
    def table(self) -> Table:
        """One row a case: the word, the ratio with its interval, the reason."""
        rows = [(each.case, str(each.word), figure(each.ratio), each.reason) for each in self.verdicts]
        terms = {"case": "case", "verdict": "state", "time after / before": "speedup", "reason": "state"}
        return Table("verdicts", self.title, pd.DataFrame(rows, columns=list(terms)), terms, self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for other programs."""
        return {
            "before": self.before,
            "after": self.after,
            "tolerance": self.tolerance,
            "regression": self.regression,
            "summary": self.summary,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "notes": list(self.notes),
        }

    def as_markdown(self) -> str:
        """Return the comparison as a comment on a pull request."""
        heading, *table = markdown_table(self.table)
        return "\n".join([heading, "", f"**{inert(self.summary)}**", *table])
