"""Where a case's history changed: from many saved runs to steps and slow trends, with their commits and versions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.creep import rising_error, slow_trend
from reports.document import Column, Table, plain_rows
from reports.levels import FEWEST_RUNS, SMALLEST, percent
from reports.numbers import moment
from reports.settings import changes, settings, variables
from samenet.verdicts import ERROR_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reports.histories import CaseHistory, Observed
    from reports.levels import Levels
    from samenet.storage import Group, Slice

COLUMNS = (
    Column("case", "case", rank=0),
    Column("since", "history"),
    Column("what", "change", rank=0),
    Column("change", "change", numeric=True),
    Column("before", "change", numeric=True, rank=3),
    Column("after", "change", numeric=True, rank=3),
    Column("commits", "commits", rank=2),
    Column("versions that changed", "versions", rank=4),
    Column("group", "conditions", rank=5),
    Column("verdict", "verdict", rank=0),
)


class What(StrEnum):
    """What changed: a slow trend has no single run in which it happened."""

    TIME = "time"
    TIME_TREND = "slow trend of time"
    ERROR = "validation error"
    ERROR_TREND = "slow trend of error"

    @property
    def is_trend(self) -> bool:
        """Whether it came in small steps."""
        return self in {What.TIME_TREND, What.ERROR_TREND}

    @property
    def is_time(self) -> bool:
        """Whether it is of the time."""
        return self in {What.TIME, What.TIME_TREND}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A case's time or validation error moved between two runs; ``before`` and ``after`` are the levels (s, or %).

    ``last`` is the last run of the old level and ``first`` the first of the new one: the cause lies between them. A
    slow trend lies between ``last`` and ``until``, and ``accumulated`` is its size in words.
    """

    history: CaseHistory
    what: What
    before: float
    after: float
    last: Slice
    first: Slice
    until: Slice
    versions: str
    accumulated: str = ""

    @property
    def case(self) -> str:
        """The case's id."""
        return self.history.case

    @property
    def label(self) -> str:
        """What changed, and since when."""
        return f"{self.case}, {self.what} since {moment(self.first.when)}"

    @property
    def group(self) -> Group:
        """The runs that it is a change among."""
        return self.history.group

    @property
    def regression(self) -> bool:
        """Whether the case became worse."""
        return self.after > self.before

    @property
    def size(self) -> str:
        """The change in words: of the time relative, of the error in percentage points."""
        if self.accumulated:
            return self.accumulated
        if self.what.is_time:
            return f"{100 * (self.after / self.before - 1):+.1f} %"
        return f"{self.after - self.before:+.2f} points"

    @property
    def commits(self) -> str:
        """The range of commits that it lies in."""
        old, new = self.last.commit, self.until.commit
        if old.label != new.label:
            return f"{old.label}..{new.label}"
        return f"both {new.label}" if new.id else new.label

    def level(self, value: float) -> str:
        """Return ``before`` or ``after`` with its unit."""
        return f"{value:.4g} {'s' if self.what.is_time else '%'}"


def changed_versions(old: Observed, new: Observed) -> str:
    """Name what else than the commit is not the same in two runs: packages, settings, variables."""
    (old_slice, old_case), (new_slice, new_case) = old, new
    parts = (old_slice, new_slice)
    before, after = (settings(part) | rest for part, rest in zip(parts, variables(old_slice, new_slice), strict=True))
    texts = (
        changes(old_case.versions, new_case.versions, word="to"),
        changes(before, after, absent="unset", word="to"),
    )
    return ", ".join(filter(None, texts))


def of_history(history: CaseHistory) -> Iterator[Change]:
    """Yield the changes of one case: of its time in the order of its runs, then of its validation error."""
    runs = history.runs

    def change(what: What, places: tuple[int, int], heights: tuple[float, float], size: str = "") -> Change:
        first, last = places
        old, new = runs[first], runs[last]
        return Change(
            history=history,
            what=what,
            before=heights[0],
            after=heights[1],
            last=old[0],
            first=runs[first + 1][0],
            until=new[0],
            versions=changed_versions(old, new),
            accumulated=size,
        )

    if levels := history.levels:
        seconds = [math.exp(height) for height in levels.heights]
        for place, (before, after) in zip(levels.edges[1:-1], pairwise(seconds), strict=True):
            if abs(math.log(after) - math.log(before)) >= math.log1p(SMALLEST):
                yield change(What.TIME, (place - 1, place), (before, after))
        if trend := slow_trend(levels):
            places, heights = (trend.begin, trend.end), (seconds[trend.level], seconds[-1])
            yield change(What.TIME_TREND, places, heights, accumulated(levels, trend.level))
    errors = history.errors
    for place, (before, after) in enumerate(pairwise(errors), 1):
        if abs(after - before) > ERROR_TOLERANCE:  # the same training each time: one run is enough to know
            yield change(What.ERROR, (place - 1, place), (before, after))
    if trend := rising_error(errors):
        yield change(What.ERROR_TREND, (trend.begin, trend.end), (errors[trend.level], errors[trend.end]))


def accumulated(levels: Levels, reference: int) -> str:
    """Return how far the newest level is from the one that a trend is measured from, and from the first one."""
    ratios = [levels.newest_over(level) for level in dict.fromkeys((reference, 0))]
    texts = [percent(ratio) for ratio in ratios if ratio]
    return "; ".join(f"{text}{end}" for text, end in zip(texts, ("", " over the first level"), strict=False))


def of_histories(every: Sequence[CaseHistory]) -> list[Change]:
    """Return every change of every history, the newest first."""
    found = [change for history in every for change in of_history(history)]
    return sorted(found, key=lambda change: change.first.when, reverse=True)


def table(changes: Sequence[Change], groups: Sequence[Group]) -> Table:
    """Return one row a change; the numbers have its levels unrounded and the files on both sides."""
    rows = [
        (
            change.case,
            moment(change.first.when),
            str(change.what),
            change.size,
            change.level(change.before),
            change.level(change.after),
            change.commits,
            change.versions or "none",
            str(groups.index(change.group) + 1),
            "regression" if change.regression else "improvement",
        )
        for change in changes
    ]
    longest = max((len(group.slices) for group in groups), default=0)
    short = f"No history has {FEWEST_RUNS} runs yet, the fewest that show a change of time."
    notes = [short] * (longest < FEWEST_RUNS) + ["No change was found."] * (not changes)
    return Table(
        name="changes",
        title="Changes over time",
        columns=COLUMNS,
        rows=plain_rows(COLUMNS, rows),
        notes=tuple(notes),
        numbers=pd.DataFrame([numbers(change, groups) for change in changes]),
        instead={
            "change": tuple(f"{change.label}: {change.size}" for change in changes),
            "versions that changed": tuple(f"{each.label}: {each.versions}" for each in changes if each.versions),
        },
    )


def numbers(change: Change, groups: Sequence[Group]) -> dict[str, Any]:
    """Return a change for other programs."""
    return {
        "case": change.case,
        "since": change.first.when,
        "what": str(change.what),
        "before": change.before,
        "after": change.after,
        "last_commit": change.last.commit.id,
        "first_commit": change.first.commit.id,
        "until": change.until.when,
        "until_commit": change.until.commit.id,
        "last_file": str(change.last.path),
        "first_file": str(change.first.path),
        "until_file": str(change.until.path),
        "versions": change.versions,
        "group": groups.index(change.group) + 1,
        "regression": change.regression,
    }
