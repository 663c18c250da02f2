"""A fleet: each case over the hosts of a kind, how much they differ, and what each host is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.document import Column, Picture, Role, Section, Table, plain_rows
from reports.numbers import UNKNOWN, figure, moment
from reports.svg import INK, render_svg, styles
from samenet.hosts import Across, across
from samenet.records import State
from samenet.speedups import choose_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from samenet.conditions import Conditions
    from samenet.storage import Group, Slice


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The groups of hosts with the same hardware that measured under the same conditions, at one commit."""

    conditions: Conditions
    groups: tuple[Group, ...]
    baseline: str

    @property
    def name(self) -> str:
        """What its hosts have in common."""
        run = self.groups[0].newest
        return f"{run.machine.hardware.get('cpu') or f'CPU {UNKNOWN}'}, {run.cases[0].threads} threads"

    @property
    def cases(self) -> list[str]:
        """The cases that have a number on any of its hosts."""
        found = {case.case: None for group in self.groups for case in group.newest.cases if case.state is State.VALID}
        return list(found)

    def seconds(self, case: str) -> dict[str, float]:
        """Return the time of a case by host: the geometric mean of its runs."""
        return self._by_host(lambda times: times[case], {case})

    def speedups(self, case: str) -> dict[str, float]:
        """Return the speedup of a case over the baseline by host, likewise."""
        return self._by_host(lambda times: times[self.baseline] / times[case], {case, self.baseline})

    def _by_host(self, value: Callable[[Mapping[str, float]], float], needed: set[str]) -> dict[str, float]:
        found = {}
        for group in self.groups:
            runs = [times(run) for run in group.slices if run.commit == group.newest.commit]
            logs = [math.log(value(each)) for each in runs if needed <= each.keys()]
            if logs:
                found[group.conditions.host] = math.exp(sum(logs) / len(logs))
        return found


def times(run: Slice) -> dict[str, float]:
    """Return the seconds of each valid case of a run."""
    return {case.case: case.timed.value for case in run.cases if case.state is State.VALID}


def kinds(groups: Sequence[Group]) -> list[Kind]:
    """Return the kinds of hosts in ``groups``, those with a host's name; runs of other commits are left out."""
    alike: dict[Conditions, list[Group]] = {}
    for group in groups:
        if group.conditions.host:
            alike.setdefault(replace(group.conditions, host=""), []).append(group)
    found = []
    for conditions, every in alike.items():
        newest = max(every, key=lambda group: group.newest.when).newest
        same = sorted(
            (group for group in every if group.newest.commit == newest.commit), key=lambda group: group.conditions.host
        )
        baseline = choose_baseline(newest.cases)
        found.append(Kind(conditions=conditions, groups=tuple(same), baseline=baseline))
    return found


def section(groups: Sequence[Group]) -> Section | None:
    """Return the section of the fleet, if a fleet has measured."""
    found = kinds(groups)
    if not found:
        return None
    over = [(kind, case, across(seconds)) for kind in found for case in kind.cases if (seconds := kind.seconds(case))]
    return Section(
        name="fleet",
        title="Fleet: each case over the hosts of a kind",
        verdict=verdict(found, over),
        tables=(cases_table(over), hosts_table(found)),
        pictures=tuple(drawn for number, kind in enumerate(found, 1) if (drawn := picture(number, kind))),
    )


def verdict(found: Sequence[Kind], over: Sequence[tuple[Kind, str, Across]]) -> str:
    """Say how many hosts there are, and which of them are odd."""
    count = sum(len(kind.groups) for kind in found)
    of_kinds = "one kind" if len(found) == 1 else f"{len(found)} kinds, which are never merged"
    odd: dict[str, list[str]] = {}
    for _, case, each in over:
        for host in each.odd:
            odd.setdefault(host, []).append(case)
    named = [f"{host} differs from the others of its kind in {', '.join(cases)}." for host, cases in odd.items()]
    return " ".join([f"{count} host{'' if count == 1 else 's'} of {of_kinds}.", *named])


def cases_table(over: Sequence[tuple[Kind, str, Across]]) -> Table:
    """Return one row for each case on each kind."""
    columns = (
        Column("kind", "kind", rank=0),
        Column("case", "case", rank=0),
        Column("hosts", "kind", numeric=True),
        Column("time over hosts (s)", "over-hosts", numeric=True),
        Column("speedup over hosts", "over-hosts", numeric=True),
        Column("between hosts (%)", "between-hosts", numeric=True),
        Column("odd hosts", "odd-host"),
    )
    rows, numbers = [], []
    for kind, case, each in over:
        speedups = kind.speedups(case)
        ratio = across(speedups).typical if speedups and case != kind.baseline else None
        spread = "" if math.isnan(each.spread) else f"{100 * each.spread:.2g}"
        count = len(kind.seconds(case))
        over_baseline = f"1 ({kind.baseline})" if case == kind.baseline else figure(ratio)
        rows.append((kind.name, case, str(count), figure(each.typical), over_baseline, spread, ", ".join(each.odd)))
        typical = each.typical
        numbers.append((kind.conditions.hardware, case, count, typical.value, typical.low, typical.high, each.spread))
    names = ["kind", "case", "hosts", "seconds", "seconds_low", "seconds_high", "spread"]
    return Table(
        name="fleet",
        title="Cases over hosts",
        columns=columns,
        rows=plain_rows(columns, rows),
        numbers=pd.DataFrame(numbers, columns=names),
        role=Role.MAIN,
    )


def hosts_table(found: Sequence[Kind]) -> Table:
    """Return one row for each host: its newest run, and which of its cases have a number."""
    columns = (
        Column("host", "kind", rank=0),
        Column("kind", "kind"),
        Column("runs", numeric=True),
        Column("newest run"),
        Column("valid cases", "state", numeric=True),
        Column("without a number", "state"),
    )
    rows = []
    for kind in found:
        for group in kind.groups:
            run = group.newest
            lost = [f"{case.case}: {case.state}" for case in run.cases if case.state is not State.VALID]
            valid = str(len(times(run)))
            host, when = group.conditions.host, moment(run.when)
            rows.append((host, kind.conditions.hardware, str(len(group.slices)), when, valid, ", ".join(lost)))
    return Table(name="hosts", title="Hosts", columns=columns, rows=plain_rows(columns, rows))


def picture(number: int, kind: Kind) -> Picture | None:
    """Draw the time of each case on each host over that of all hosts of the kind."""
    if len(kind.groups) < 2:
        return None
    relative = {
        case: {host: value / across(seconds).typical.value for host, value in seconds.items()}
        for case in kind.cases
        if (seconds := kind.seconds(case))
    }
    data = pd.DataFrame(
        [(case, host, value) for case, hosts in relative.items() for host, value in hosts.items()],
        columns=["case", "host", "ratio"],
    )

    def draw(axes: Axes) -> None:
        looks = styles(relative)
        for place, (case, hosts) in enumerate(reversed(relative.items())):
            look = looks[case] | {"linestyle": "none"}
            axes.plot(list(hosts.values()), np.full(len(hosts), place), alpha=0.7, **look)
        axes.set_yticks(range(len(relative)), list(relative)[::-1])
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xlabel("time on a host over that of all hosts of the kind")

    alt = f"Times of {len(relative)} cases on {len(kind.groups)} hosts of a kind, over that of all of them."
    svg = render_svg(draw, height=1.1 + 0.34 * len(relative))
    title = f"Hosts of a kind: {kind.name}"
    return Picture(name=f"hosts-{number}", title=title, alt=alt, term="between-hosts", svg=svg, data=data)
