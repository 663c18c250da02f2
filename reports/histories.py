"""The history of each case: its valid runs under the same conditions, and its newest level next to the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.document import Column, Table, plain_rows
from reports.levels import FEWEST_RUNS, Levels, percent
from reports.numbers import moment
from samenet.records import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.results import CaseResult
    from samenet.stats import Estimate
    from samenet.storage import Group, Slice

    Observed = tuple[Slice, CaseResult]

COLUMNS = (
    Column("case", "case", rank=0),
    Column("runs", "history", numeric=True, rank=2),
    Column("first level", "levels", numeric=True, rank=3),
    Column("best level", "levels", numeric=True, rank=3),
    Column("best since", "levels", rank=4),
    Column("newest level", "levels", numeric=True),
    Column("newest since", "levels", rank=2),
    Column("newest over first", "levels", numeric=True, rank=0),
    Column("newest over best", "levels", numeric=True, rank=0),
    Column("group", "conditions", rank=5),
)


@dataclass(frozen=True)
class CaseHistory:
    """The valid runs of one case in one group, oldest first."""

    group: Group
    case: str
    runs: tuple[Observed, ...]

    @cached_property
    def levels(self) -> Levels | None:
        """The levels of its times; None while it is too short to have one."""
        if len(self.runs) < FEWEST_RUNS:
            return None
        return Levels(np.log([case.timed.value for _, case in self.runs]))

    @property
    def errors(self) -> list[float]:
        """The validation error of each run, in percent; nan where it is unknown."""
        return [case.error_rates.get("validation", math.nan) for _, case in self.runs]


def histories(groups: Sequence[Group]) -> list[CaseHistory]:
    """Return the history of every case in every group."""
    found: dict[tuple[int, str], list[Observed]] = {}
    for number, group in enumerate(groups):
        for part in group.slices:
            for case in part.cases:
                if case.state is State.VALID:
                    found.setdefault((number, case.case), []).append((part, case))
    return [CaseHistory(groups[number], name, tuple(found[number, name])) for number, name in sorted(found)]


def table(every: Sequence[CaseHistory], groups: Sequence[Group]) -> Table:
    """Return one row a case: its newest level next to the first and the best, however small the steps between."""
    rows, numbers = [], []
    for history in every:
        levels = history.levels
        if levels is None:
            continue
        best, newest = levels.best, len(levels.heights) - 1
        since = [history.runs[levels.edges[level]][0].when for level in (best, newest)]
        seconds = [math.exp(levels.heights[level]) for level in (0, best, newest)]
        texts = [f"{number:.4g} s" for number in seconds]
        ratios = [levels.newest_over(level) for level in (0, best)]
        group, runs = groups.index(history.group) + 1, len(history.runs)
        rows.append(
            (
                *(history.case, f"{runs:,}", texts[0], texts[1], moment(since[0]), texts[2], moment(since[1])),
                *("the same level" if ratio is None else percent(ratio) for ratio in ratios),
                str(group),
            )
        )
        names = ("first_level_seconds", "best_level_seconds", "newest_level_seconds")
        about = {"case": history.case, "group": group, "runs": runs} | dict(zip(names, seconds, strict=True))
        about |= {"best_since": since[0], "newest_since": since[1]}
        numbers.append(about | ends("newest_over_first", ratios[0]) | ends("newest_over_best", ratios[1]))
    notes = () if rows else (f"No history has {FEWEST_RUNS} runs yet.",)
    title = "The newest level against the first and the best"
    return Table(
        name="levels",
        title=title,
        columns=COLUMNS,
        rows=plain_rows(COLUMNS, rows),
        notes=notes,
        numbers=pd.DataFrame(numbers),
    )


def ends(name: str, ratio: Estimate | None) -> dict[str, float]:
    """Return a ratio and its interval as columns; a level over itself is exactly 1."""
    value, low, high = (ratio.value, ratio.low, ratio.high) if ratio else (1.0, 1.0, 1.0)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
