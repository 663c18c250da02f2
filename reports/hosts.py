"""A fleet: each case over the hosts of a kind, how much they differ, and what each host is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.document import Column, Picture, Role, Section, Table, plain_rows
from reports.kinds import kinds, times, work
from reports.numbers import figure, moment
from reports.svg import INK, render_svg, styles
from reports.verdicts import COLUMNS
from reports.verdicts import rows as verdict_rows
from samenet.hosts import over_hosts
from samenet.progress import counted
from samenet.records import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.kinds import Kind
    from samenet.storage import Group


def section(groups: Sequence[Group]) -> Section | None:
    """Return the section of the fleet, if a fleet has measured."""
    found = kinds(groups)
    if not found:
        return None
    compared = [
        Table(name=f"hosts-verdicts-{number}", title=f"Verdicts over hosts: {kind.name}", columns=COLUMNS, rows=rows)
        for number, kind in enumerate(found, 1)
        if (rows := verdict_rows(kind.verdicts))
    ]
    return Section(
        name="fleet",
        title="Fleet: each case over the hosts of a kind",
        verdict=summary(found),
        tables=(cases_table(found), *compared, hosts_table(found)),
        pictures=tuple(drawn for number, kind in enumerate(found, 1) if (drawn := picture(number, kind))),
    )


def summary(found: Sequence[Kind]) -> str:
    """Say how many hosts there are, and which of them are unlike the others."""
    count = len({(kind.conditions.hardware, group.conditions.host) for kind in found for group in kind.groups})
    kinds_of_hosts = len({kind.conditions.hardware for kind in found})
    of_kinds = "one kind" if kinds_of_hosts == 1 else f"{kinds_of_hosts} kinds, which are never merged"
    odd: dict[str, list[str]] = {}
    for kind in found:
        for host, case in kind.odd:
            own = f" with {work(kind.groups[0])}" if kind.figures > len(kind.cases) else ""
            off = kind.deviation(case, host)
            takes = f"takes {100 * abs(off):.1f} % {'more' if off > 0 else 'less'} time"
            odd.setdefault(host, []).append(f"{case}{own} {takes}")
    unfinished = {group.conditions.host for kind in found for group in kind.groups if group.newest.campaign.unfinished}
    return " ".join(
        [
            f"{counted(count, 'host')} of {of_kinds}.",
            *(f"Not finished: the campaign on {host}." for host in sorted(unfinished)),
            *(f"{host} differs from the others of its kind: {', '.join(cases)}." for host, cases in odd.items()),
            *(
                f"{', '.join(hosts)} measured {case} with other versions of its packages, which are left out."
                for kind in found
                for case, hosts in kind.with_other_versions.items()
            ),
            *(f"{each.sentence}." for kind in found for each in kind.verdicts if each.regression),
        ]
    )


def cases_table(found: Sequence[Kind]) -> Table:
    """Return one row for each case on each kind."""
    columns = (
        Column("kind", "kind", rank=0),
        Column("workload"),
        Column("case", "case", rank=0),
        Column("hosts", "kind", numeric=True),
        Column("time over hosts (s)", "over-hosts", numeric=True),
        Column("speedup over hosts", "over-hosts", numeric=True),
        Column("between hosts (%)", "between-hosts", numeric=True),
        Column("odd hosts", "odd-host"),
    )
    rows, numbers = [], []
    for kind in found:
        for case, (seconds, over) in kind.over.items():
            typical, speedups = over.typical, kind.speedups(case)
            ratio = over_hosts(speedups).typical if speedups and case != kind.baseline else None
            over_baseline = f"1 ({kind.baseline})" if case == kind.baseline else figure(ratio)
            spread = "" if math.isnan(over.spread) else f"{100 * over.spread:.2g}"
            odd, count = ", ".join(over.odd), len(seconds)
            computed = work(kind.groups[0])
            rows.append((kind.hardware, computed, case, str(count), figure(typical), over_baseline, spread, odd))
            ends = (typical.value, typical.low, typical.high)
            numbers.append((kind.conditions.hardware, kind.conditions.workload, case, count, *ends, over.spread))
    names = ["kind", "workload", "case", "hosts", "seconds", "seconds_low", "seconds_high", "spread"]
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
        Column("workload"),
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
            valid, when = str(len(times(run))), moment(run.when)
            about = (group.conditions.host, kind.conditions.hardware, work(group))
            newest = f"{when} (not finished)" if run.campaign.unfinished else when
            rows.append((*about, str(len(group.slices)), newest, valid, ", ".join(lost)))
    return Table(name="hosts", title="Hosts", columns=columns, rows=plain_rows(columns, rows))


def picture(number: int, kind: Kind) -> Picture | None:
    """Draw the time of each case on each host over that of all hosts of the kind."""
    if len(kind.groups) < 2:
        return None
    relative = {
        case: {host: value / over.typical.value for host, value in seconds.items()}
        for case, (seconds, over) in kind.over.items()
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
