"""Kinds of hosts: what those with the same hardware have measured of the same work, together."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from reports.numbers import UNKNOWN
from samenet.hosts import OverHosts, judge_hosts, over_hosts
from samenet.records import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from samenet.conditions import Conditions
    from samenet.results import ComparisonRecord, Verdict
    from samenet.storage import Group, Slice


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The groups of hosts with the same hardware that measured under the same conditions, at one commit.

    Attributes:
        hardware: its text, which no other kind's hardware has.
        figures: how many the report has of this hardware, among which a host may be odd.
    """

    conditions: Conditions
    groups: tuple[Group, ...]
    hardware: str = ""
    figures: int = 1

    @property
    def name(self) -> str:
        """What its hosts and their runs have in common."""
        return f"{self.hardware} · {work(self.groups[0])}"

    @property
    def cases(self) -> list[str]:
        """The cases that have a number on any of its hosts."""
        every = (case for runs in self.runs.values() for run in runs for case in run.cases)
        return list(dict.fromkeys(case.case for case in every if case.state is State.VALID))

    @cached_property
    def runs(self) -> dict[str, list[Slice]]:
        """The runs of each host at the newest commit: those of a sweep may have other cases each."""
        tree = tree_of(self.groups[0].newest)
        return {group.conditions.host: [run for run in group.slices if tree_of(run) == tree] for group in self.groups}

    @cached_property
    def baseline(self) -> str:
        """The case that speedups are over in most runs: some hosts may have no number of it."""
        return Counter(run.baseline for runs in self.runs.values() for run in runs).most_common(1)[0][0]

    @cached_property
    def over(self) -> dict[str, tuple[dict[str, float], OverHosts]]:
        """The times of each case by host, and what they say of the kind."""
        every = {case: seconds for case in self.cases if (seconds := self.seconds(case))}
        return {case: (seconds, over_hosts(seconds, figures=self.figures)) for case, seconds in every.items()}

    @property
    def odd(self) -> list[tuple[str, str]]:
        """The hosts that are unlike the others, each with a case."""
        return [(host, case) for case, (_, over) in self.over.items() for host in over.odd]

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
        usual = self.usual_versions
        hosts = {
            case: [host for host, runs in self.runs.items() if other_versions(runs[-1], case, usual)] for case in usual
        }
        return {case: found for case, found in hosts.items() if found}

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What the newest comparison found on its hosts together, by the newest verdicts of each host."""
        compared = [(run.when, run.against) for runs in self.runs.values() for run in runs if run.against]
        if not compared:
            return []
        _, newest = max(compared, key=lambda each: each[0])
        records: dict[str, ComparisonRecord] = {}
        for host, runs in self.runs.items():
            for record in (run.against for run in runs if run.against):
                if (record.revision, record.commit) == (newest.revision, newest.commit):
                    before = records[host].verdicts if host in records else ()
                    every = {(each.case, each.quantity): each for each in (*before, *record.verdicts)}
                    records[host] = replace(record, verdicts=tuple(every.values()))
        return judge_hosts(records)

    def seconds(self, case: str) -> dict[str, float]:
        """Return the time of a case by host: the geometric mean of its runs."""
        return self._by_host({case}, lambda run: times(run).get(case))

    def speedups(self, case: str) -> dict[str, float]:
        """Return the speedup of a case over the baseline by host, likewise, from pairs of blocks."""
        both = {case, self.baseline}
        return self._by_host(both, lambda run: run.speedups.get(case) if run.baseline == self.baseline else None)

    def deviation(self, case: str, host: str) -> float:
        """Return how much longer a case takes on a host than on the others, as a share."""
        others = {other: value for other, value in self.over[case][0].items() if other != host}
        return self.over[case][0][host] / over_hosts(others).typical.value - 1

    def _by_host(self, cases: set[str], value: Callable[[Slice], float | None]) -> dict[str, float]:
        found = {}
        for host, runs in self.runs.items():
            usual = [run for run in runs if not any(other_versions(run, each, self.usual_versions) for each in cases)]
            if logs := [math.log(figure) for run in usual if (figure := value(run))]:
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


def tree_of(run: Slice) -> tuple[str | None, bool | None]:
    """Return what was measured: the commit, and whether it had changes; hosts may call their branches as they like."""
    return run.commit.id, run.commit.dirty


def other_versions(run: Slice, name: str, usual: Mapping[str, Mapping[str, str]]) -> bool:
    """Return whether a run has measured this case with other versions of its packages than the usual ones."""
    return any(case.case == name and case.versions != usual[name] for case in run.cases)


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
        same = [group for group in every if tree_of(group.newest) == tree_of(newest)]
        same.sort(key=lambda group: group.conditions.host)
        found.append(Kind(conditions=conditions, groups=tuple(same)))
    figures: Counter[str] = Counter()
    texts: dict[str, set[str]] = {}
    for kind in found:
        figures[kind.conditions.hardware] += len(kind.cases)
        texts.setdefault(hardware(kind.groups[0]), set()).add(kind.conditions.hardware)

    def text(kind: Kind) -> str:
        same_text = hardware(kind.groups[0])
        return f"{same_text} ({kind.conditions.hardware})" if len(texts[same_text]) > 1 else same_text

    return [replace(kind, hardware=text(kind), figures=figures[kind.conditions.hardware]) for kind in found]
