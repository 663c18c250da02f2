"""A fleet: each case over the hosts of a kind, how much they differ, and what each host is."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.document import Column, Picture, Role, Section, Table, plain_rows
from reports.numbers import UNKNOWN, figure, moment
from reports.svg import INK, render_svg, styles
from reports.verdicts import COLUMNS
from reports.verdicts import rows as verdict_rows
from samenet.hosts import OverHosts, judge_hosts, over_hosts
from samenet.progress import counted
from samenet.records import State
from samenet.speedups import choose_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from samenet.conditions import Conditions
    from samenet.results import ComparisonRecord, Verdict
    from samenet.storage import Group, Slice


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The groups of hosts with the same hardware that measured under the same conditions, at one commit."""

    conditions: Conditions
    groups: tuple[Group, ...]
    baseline: str

    @property
    def name(self) -> str:
        """What its hosts and their runs have in common."""
        return f"{hardware(self.groups[0])} · {work(self.groups[0])}"

    @property
    def cases(self) -> list[str]:
        """The cases that have a number on any of its hosts."""
        every = (case for runs in self.runs.values() for run in runs for case in run.cases)
        return list(dict.fromkeys(case.case for case in every if case.state is State.VALID))

    @cached_property
    def runs(self) -> dict[str, list[Slice]]:
        """The runs of each host at the newest commit: those of a sweep may have other cases each."""
        commit = self.groups[0].newest.commit
        return {group.conditions.host: [run for run in group.slices if run.commit == commit] for group in self.groups}

    @cached_property
    def over(self) -> dict[str, tuple[dict[str, float], OverHosts]]:
        """The times of each case by host, and what they say of the kind."""
        every = {case: seconds for case in self.cases if (seconds := self.seconds(case))}
        return {case: (seconds, over_hosts(seconds, figures=len(every))) for case, seconds in every.items()}

    @cached_property
    def usual_versions(self) -> dict[str, dict[str, str]]:
        """The versions of each case's packages on most hosts."""
        found: dict[str, Counter[tuple[tuple[str, str], ...]]] = {}
        for runs in self.runs.values():
            for name, case in {case.case: case for run in runs for case in run.cases}.items():  # each host's last one
                found.setdefault(name, Counter())[tuple(sorted(case.versions.items()))] += 1
        return {case: dict(counts.most_common(1)[0][0]) for case, counts in found.items()}

    @property
    def with_other_versions(self) -> dict[str, list[str]]:
        """The hosts that have measured a case with other versions than most, by case; they do not count for it."""
        return {
            case: found
            for case, usual in self.usual_versions.items()
            if (found := [host for host, runs in self.runs.items() if other_versions(runs[-1], case, usual)])
        }

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What comparisons with each revision found on its hosts together, by the newest verdicts of each host."""
        newest: dict[str, dict[str, ComparisonRecord]] = {}
        for host, runs in self.runs.items():
            for record in (run.against for run in runs if run.against):
                records = newest.setdefault(record.revision, {})
                before = records[host].verdicts if host in records else ()
                every = {(each.case, each.quantity): each for each in (*before, *record.verdicts)}
                records[host] = replace(record, verdicts=tuple(every.values()))
        return [verdict for records in newest.values() for verdict in judge_hosts(records)]

    def seconds(self, case: str) -> dict[str, float]:
        """Return the time of a case by host: the geometric mean of its runs."""
        return self._by_host(lambda times: times[case], {case})

    def speedups(self, case: str) -> dict[str, float]:
        """Return the speedup of a case over the baseline by host, likewise."""
        return self._by_host(lambda times: times[self.baseline] / times[case], {case, self.baseline})

    def _by_host(self, value: Callable[[Mapping[str, float]], float], needed: set[str]) -> dict[str, float]:
        found = {}
        for host, runs in self.runs.items():
            logs = [
                math.log(value(seconds))
                for run in runs
                if needed <= (seconds := times(run)).keys()
                and not any(other_versions(run, case, self.usual_versions[case]) for case in needed)
            ]
            if logs:
                found[host] = math.exp(sum(logs) / len(logs))
        return found


def hardware(group: Group) -> str:
    """Return the CPU and the threads of a group's runs."""
    run = group.newest
    return f"{run.machine.hardware.get('cpu') or f'CPU {UNKNOWN}'}, {run.cases[0].threads} threads"


def work(group: Group) -> str:
    """Return what a group's runs have computed."""
    case = group.newest.cases[0]
    workload = f"{case.workload.network}, init {case.workload.init}, batch {case.workload.batch_size}"
    return f"{workload} · {group.conditions.precision} · {case.iterations:,} iterations"


def other_versions(run: Slice, name: str, usual: Mapping[str, str]) -> bool:
    """Return whether a run has measured this case with other versions of its packages."""
    return any(case.case == name and case.versions != usual for case in run.cases)


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
    for case, host in ((case, host) for kind in found for case, (_, over) in kind.over.items() for host in over.odd):
        odd.setdefault(host, []).append(case)
    return " ".join(
        [
            f"{counted(count, 'host')} of {of_kinds}.",
            *(f"{host} differs from the others of its kind in {', '.join(cases)}." for host, cases in odd.items()),
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
            kind_of_hosts, computed = hardware(kind.groups[0]), work(kind.groups[0])
            rows.append((kind_of_hosts, computed, case, str(count), figure(typical), over_baseline, spread, odd))
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
            valid = str(len(times(run)))
            about = (group.conditions.host, kind.conditions.hardware, work(group))
            rows.append((*about, str(len(group.slices)), moment(run.when), valid, ", ".join(lost)))
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
