"""Where a case's history changed: from many saved runs to change points, each with its commits and versions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ruptures import KernelCPD

from reports.document import Column, Table, plain_rows
from reports.numbers import known, moment
from samenet.records import State
from samenet.verdicts import ERROR_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from samenet.results import CaseResult
    from samenet.storage import Group, Slice

    Observed = tuple[Slice, CaseResult]

WIDTH = 3.0  # standard deviations that the kernel is wide: what is farther off is an outlier, however far
PENALTY = 4.0  # twice the Bayesian information criterion's 2 log n (Yao, 1988): a history is looked at again and again
FEWEST_RUNS = 10  # of eight runs without a change, 5 % of the histories would have one
SHORTEST = 3  # runs between two changes: what one or two runs show is an outlier
LEAST_SPREAD = 0.002  # of log time: a few runs that happen to agree do not make the next one a change
SMALLEST = 0.02  # a change that is reported: --tolerance's default
COLUMNS = (
    Column("case", "case"),
    Column("since", "history"),
    Column("what", "change"),
    Column("change", "change", numeric=True),
    Column("before", "change", numeric=True),
    Column("after", "change", numeric=True),
    Column("commits", "commits"),
    Column("versions that changed", "versions"),
    Column("group", "conditions"),
    Column("verdict", "verdict"),
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A case's time or validation error moved between two runs; ``before`` and ``after`` are the levels (s, or %).

    ``last`` is the last run of the old level and ``first`` the first of the new one: the cause lies between them.
    """

    group: Group
    case: str
    what: str
    before: float
    after: float
    last: Slice
    first: Slice
    versions: str

    @property
    def regression(self) -> bool:
        """Whether the case became worse."""
        return self.after > self.before

    @property
    def size(self) -> str:
        """The change in words: of the time relative, of the error in percentage points."""
        if self.what == "time":
            return f"{100 * (self.after / self.before - 1):+.1f} %"
        return f"{self.after - self.before:+.2f} points"

    @property
    def commits(self) -> str:
        """The range of commits that it lies in."""
        old, new = self.last.commit, self.first.commit
        if old.label != new.label:
            return f"{old.label}..{new.label}"
        return f"both {new.label}" if new.id else new.label

    def level(self, value: float) -> str:
        """Return ``before`` or ``after`` with its unit."""
        return f"{value:.4g} {'s' if self.what == 'time' else '%'}"


def breaks(log_seconds: Sequence[float]) -> list[int]:
    """Return the places at which a new level begins.

    Kernel change-point detection (Arlot, Celisse and Harchaoui, JMLR 20(162), 2019) in ``ruptures``' exact dynamic
    programming. The Gaussian kernel bounds what one value can cost, as the loss of Fearnhead and Rigaill (JASA
    114(525), 2019) does, so that an outlier is never cheaper as a level of its own. Near its centre the kernel is a
    parabola: there the costs are squared errors in units of (``WIDTH`` x noise)², and so is the penalty. The noise is
    estimated from the differences of neighbours, which a few changes of level hardly affect.
    """
    signal = np.asarray(log_seconds, dtype=float)
    if len(signal) < FEWEST_RUNS:
        return []
    steps = np.diff(signal)
    spread = float(np.median(np.abs(steps - np.median(steps)))) / 0.6745 / math.sqrt(2)  # 0.6745: a normal's quartile
    width = WIDTH * max(LEAST_SPREAD, spread)
    search = KernelCPD(kernel="rbf", min_size=SHORTEST, params={"gamma": 1 / (2 * width**2)})
    *places, _ = search.fit_predict(signal[:, None], pen=PENALTY * math.log(len(signal)) / WIDTH**2)
    return list(map(int, places))


def changed_versions(old: Observed, new: Observed) -> str:
    """Name what else than the commit is not the same in two runs: packages, the system, the governor."""
    different = []
    (old_slice, old_case), (new_slice, new_case) = old, new
    for name in dict.fromkeys([*old_case.versions, *new_case.versions]):
        former, present = (case.versions.get(name, "absent") for case in (old_case, new_case))
        if former != present:
            different.append(f"{name} {former} to {present}")
    for name in ("system", "governor", "gpu_driver"):
        former, present = (known(getattr(part.machine, name)) for part in (old_slice, new_slice))
        if former != present:
            different.append(f"{name.replace('_', ' ')} {former} to {present}")
    return ", ".join(different)


def of_case(group: Group, name: str) -> Iterator[Change]:
    """Yield the changes of one case: of its time in the order of its runs, then of its validation error."""
    runs = [
        (part, case) for part in group.slices for case in part.cases if case.case == name and case.state is State.VALID
    ]

    def change(place: int, what: str, before: float, after: float) -> Change:
        old, new = runs[place - 1], runs[place]
        return Change(
            group=group,
            case=name,
            what=what,
            before=before,
            after=after,
            last=old[0],
            first=new[0],
            versions=changed_versions(old, new),
        )

    seconds = [case.timed.value for _, case in runs]
    edges = [0, *breaks(np.log(seconds).tolist()), len(runs)]
    levels = [float(np.median(seconds[begin:end])) for begin, end in pairwise(edges) if end > begin]
    for place, (before, after) in zip(edges[1:-1], pairwise(levels), strict=True):
        if abs(math.log(after) - math.log(before)) >= math.log1p(SMALLEST):
            yield change(place, "time", before, after)
    errors = [case.error_rates.get("validation", math.nan) for _, case in runs]
    for place, (before, after) in enumerate(pairwise(errors), 1):
        if abs(after - before) > ERROR_TOLERANCE:  # the same training each time: one run is enough to know
            yield change(place, "validation error", before, after)


def of_groups(groups: Sequence[Group]) -> list[Change]:
    """Return every change of every case, the newest first; different conditions are different groups, never merged."""
    changes = [
        change
        for group in groups
        for name in sorted({case.case for part in group.slices for case in part.cases})
        for change in of_case(group, name)
    ]
    return sorted(changes, key=lambda change: change.first.when, reverse=True)


def table(changes: Sequence[Change], groups: Sequence[Group]) -> Table:
    """Return one row a change; the numbers have its levels unrounded and the files on both sides."""
    rows = [
        (
            change.case,
            moment(change.first.when),
            change.what,
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
    frame = pd.DataFrame([numbers(change, groups) for change in changes])
    return Table("changes", "Changes over time", COLUMNS, plain_rows(COLUMNS, rows), tuple(notes), numbers=frame)


def numbers(change: Change, groups: Sequence[Group]) -> dict[str, Any]:
    """Return a change for other programs."""
    return {
        "case": change.case,
        "since": change.first.when,
        "what": change.what,
        "before": change.before,
        "after": change.after,
        "last_commit": change.last.commit.id,
        "first_commit": change.first.commit.id,
        "last_file": str(change.last.path),
        "first_file": str(change.first.path),
        "versions": change.versions,
        "group": groups.index(change.group) + 1,
        "regression": change.regression,
    }
