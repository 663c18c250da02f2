"""Where a case's history changed: from many saved runs to change points, each with its commits and its versions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
from ruptures import KernelCPD

from bench.records import State
from reports.tables import CONTROLS, Table
from reports.verdicts import ERROR_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.load import Case, Group, Part

WIDTH = 3.0  # standard deviations that the kernel is wide: what is farther off is an outlier, however far
PENALTY = 4.0  # twice the Bayesian information criterion's 2 log n (Yao, 1988): a history is looked at again and again
FEWEST_RUNS = 10  # of eight runs without a change, 5 % of the histories would have one
SHORTEST = 3  # runs between two changes: what one or two runs show is an outlier
LEAST_SPREAD = 0.002  # of log time: a few runs that happen to agree do not make the next one a change
SMALLEST = 0.02  # a change that is reported: --tolerance's default
ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True)
class Change:
    """A case's time or validation error moved between two runs; ``before`` and ``after`` are the levels (s, or %).

    ``last`` is the last run of the old level and ``first`` the first of the new one: what did it lies between them.
    """

    group: Group
    case: str
    what: str
    before: float
    after: float
    last: Part
    first: Part
    versions: str

    @property
    def regression(self) -> bool:
        """Whether it is one for the worse."""
        return self.after > self.before

    @property
    def size(self) -> str:
        """The change in words: of the time relative, of the error in percentage points."""
        if self.what == "time":
            return f"{100 * (self.after / self.before - 1):+.1f} %"
        return f"{self.after - self.before:+.2f} points"

    @property
    def commits(self) -> str:
        """The commit range that it lies in."""
        old, new = self.last.commit.label, self.first.commit.label
        return f"{old}..{new}" if old != new else f"both {new}"


def breaks(log_seconds: Sequence[float]) -> list[int]:
    """Return the places at which a new level begins.

    Kernel change-point detection (Arlot, Celisse and Harchaoui, JMLR 20(162), 2019) in ``ruptures``' exact dynamic
    programming. The Gaussian kernel bounds what one value can cost, as the loss of Fearnhead and Rigaill (JASA
    114(525), 2019) does, so that an outlier is never cheaper as a level of its own. Near its centre the kernel is a
    parabola: there the costs are squared errors in units of (``WIDTH`` x noise)², and so is the penalty. The noise is
    told by the differences of neighbours, which a few changes of level hardly touch.
    """
    signal = np.asarray(log_seconds, dtype=float)
    if len(signal) < FEWEST_RUNS:
        return []
    steps = np.diff(signal)
    spread = float(np.median(np.abs(steps - np.median(steps)))) / 0.6745 / math.sqrt(2)  # 0.6745: a normal's quartile
    width = WIDTH * max(LEAST_SPREAD, spread)
    search = KernelCPD(kernel="rbf", min_size=SHORTEST, params={"gamma": 1 / (2 * width**2)})
    *found, _ = search.fit_predict(signal[:, None], pen=PENALTY * math.log(len(signal)) / WIDTH**2)
    return list(map(int, found))


def changed_versions(old: tuple[Part, Case], new: tuple[Part, Case]) -> str:
    """Name what else is not the same in two runs: packages, the system, the governor."""
    found = []
    (old_part, old_case), (new_part, new_case) = old, new
    for name in dict.fromkeys([*old_case.versions, *new_case.versions]):
        former, present = (case.versions.get(name, "none") for case in (old_case, new_case))
        if former != present:
            found.append(f"{name} {former} to {present}")
    for name in ("system", "governor"):
        former, present = getattr(old_part.machine, name), getattr(new_part.machine, name)
        if former != present:
            found.append(f"{name} {former} to {present}")
    return ", ".join(found)


def of_case(group: Group, name: str) -> list[Change]:
    """Return the changes of one case in the order of its runs."""
    runs = [
        (part, case) for part in group.parts for case in part.cases if case.case == name and case.state is State.VALID
    ]
    seconds = [case.timed.value for _, case in runs]
    found: list[tuple[int, str, float, float]] = []
    edges = [0, *breaks(np.log(seconds).tolist()), len(runs)]
    levels = [float(np.median(seconds[begin:end])) for begin, end in pairwise(edges) if end > begin]
    for place, (before, after) in zip(edges[1:-1], pairwise(levels), strict=True):
        if abs(math.log(after / before)) >= math.log1p(SMALLEST):
            found.append((place, "time", before, after))
    errors = [case.error_rates.get("validation", math.nan) for _, case in runs]
    for place, (before, after) in enumerate(pairwise(errors), 1):
        if abs(after - before) > ERROR_TOLERANCE:  # the same training each time: one run is enough to tell
            found.append((place, "validation error", before, after))
    return [
        Change(group, name, what, before, after, old[0], new[0], changed_versions(old, new))
        for place, what, before, after in found
        for old, new in [runs[place - 1 : place + 1]]
    ]


def of_groups(groups: Sequence[Group]) -> list[Change]:
    """Return every change of every case, the newest first; different conditions are different groups, never merged."""
    found = [
        change
        for group in groups
        for name in sorted({case.case for part in group.parts for case in part.cases})
        for change in of_case(group, name)
    ]
    return sorted(found, key=lambda change: change.first.when, reverse=True)


def table(changes: Sequence[Change], groups: Sequence[Group]) -> Table:
    """Return one row a change; the numbers have its levels unrounded and the files on both sides."""
    terms = {"case": "case", "since": "history", "what": "change", "change": "change", "before": "change"}
    terms |= {"after": "change", "commits": "commits", "versions that changed": "versions", "group": "conditions"}
    terms |= {"verdict": "verdict"}
    numbers = [
        {
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
        for change in changes
    ]
    rows = [
        (
            change.case,
            f"{change.first.when:%Y-%m-%d %H:%M}",
            change.what,
            change.size,
            *(f"{level:.4g} {'s' if change.what == 'time' else '%'}" for level in (change.before, change.after)),
            change.commits,
            change.versions or "none",
            str(groups.index(change.group) + 1),
            "regression" if change.regression else "improvement",
        )
        for change in changes
    ]
    longest = max((len(group.parts) for group in groups), default=0)
    short = f"No history has {FEWEST_RUNS} runs yet, which a change of time takes." if longest < FEWEST_RUNS else ""
    notes = tuple(filter(None, [short, "" if changes else "No change was found."]))
    frame = pd.DataFrame(rows, columns=list(terms))
    return Table("changes", "Changes over time", frame, terms, notes, numbers=pd.DataFrame(numbers))


def feed(changes: Sequence[Change]) -> str:
    """Return the regressions as an Atom feed (RFC 4287); an entry's id stays when later runs are added."""
    root = ET.Element(f"{{{ATOM}}}feed")
    bad = [change for change in changes if change.regression]
    about = {"title": "samenet: regressions", "id": "urn:samenet:regressions"}
    about |= {"updated": bad[0].first.when.isoformat() if bad else "1970-01-01T00:00:00+00:00"}
    for name, text in about.items():
        ET.SubElement(root, f"{{{ATOM}}}{name}").text = text
    ET.SubElement(ET.SubElement(root, f"{{{ATOM}}}author"), f"{{{ATOM}}}name").text = "samenet"
    for change in bad:
        entry = ET.SubElement(root, f"{{{ATOM}}}entry")
        where = change.group.conditions
        key = f"{where.hardware}:{where.workload}:{change.case}:{change.what}:{change.first.when:%Y%m%dT%H%M%S}"
        versions = f" Versions that changed: {change.versions}." if change.versions else ""
        about = {"title": f"{change.case}: {change.what} {change.size}", "id": f"urn:samenet:{key.replace(' ', '-')}"}
        about |= {"updated": change.first.when.isoformat(), "summary": f"In {change.commits}.{versions}"}
        for name, text in about.items():
            ET.SubElement(entry, f"{{{ATOM}}}{name}").text = text.translate(CONTROLS)
    ET.register_namespace("", ATOM)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
