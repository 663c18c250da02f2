"""The results of a campaign that goes on: a small table for a terminal, a sentence for a log, and the time left."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from reports import tables, verdicts
from reports.cases import without_number
from reports.numbers import figure
from samenet.records import State
from samenet.speedups import choose_baseline, speedup, valid_cases
from samenet.verdicts import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.document import Table
    from samenet.results import CaseResult, ComparisonRecord, Results, Verdict
    from samenet.stats import Estimate


def measured(results: Results) -> list[CaseResult]:
    """Return the cases but for those that are skipped, of which a campaign learns nothing more."""
    return [case for case in results.cases if case.state is not State.SKIPPED]


def decided(results: Results, record: ComparisonRecord) -> tuple[Verdict, ...]:
    """Return the verdicts on the cases that are measured."""
    names = {case.case for case in measured(results)}
    return tuple(verdict for verdict in record.verdicts if verdict.case in names)


def launches(results: Results) -> int:
    """Return how many launches there were."""
    return max((len(case.launches) for case in results.cases), default=0)


def table(results: Results) -> Table:
    """Return the verdicts of ``--against``, or else the time and the speedup of each case."""
    if results.against:
        return verdicts.table(Comparison.saved(replace(results.against, verdicts=decided(results, results.against))))
    cases = measured(results) or results.cases
    full = tables.comparison(cases, choose_baseline(cases))
    columns = tuple(column for column in full.columns if column.rank == 0 or column.name == tables.STATE.name)
    return replace(full, columns=columns, rows=tuple(row for row in full.rows if not row.pinned))


def sentence(results: Results, what: str = "") -> str:
    """Return one line on all cases, such as ``launch 3, 74 s: jax-cpu 1.08 (1.06 to 1.10) times as fast as ...``.

    It begins with ``what`` it is about, if that is not the launch.
    """
    cases = measured(results)
    if results.against:
        found, ratios = of_revision(results.against.revision, decided(results, results.against))
        missing = []
    else:
        found, ratios = of_cases(cases)
        missing = [f"{case.case} {case.state}" for case in without_number(cases)]
    widths = [ratio.half_width for ratio in ratios if ratio.has_interval]
    widest = [f"widest ±{100 * max(widths):.1f} %"] if widths else []
    facts = "; ".join(filter(None, (found, *missing, *widest))) or "no case has a number"
    return f"{what or f'launch {launches(results)}'}, {results.campaign.wall_seconds:.0f} s: {facts}"


def of_cases(cases: Sequence[CaseResult]) -> tuple[str, list[Estimate]]:
    """Return the speedups in words and as numbers; the time of a case that is alone."""
    valid, name = valid_cases(cases), choose_baseline(cases)
    base = next((case for case in valid if case.case == name), None)
    if base is None:
        return "", []
    pairs = {case.case: speedup(base, case) for case in valid if case is not base}
    ratios = {case: ratio for case, ratio in pairs.items() if ratio}
    if not ratios:
        return f"{name} {figure(base.timed, ' s')}", [base.timed]
    texts = ", ".join(f"{case} {figure(ratio)}" for case, ratio in ratios.items())
    return f"{texts} times as fast as {name}", list(ratios.values())


def of_revision(revision: str, found: Sequence[Verdict]) -> tuple[str, list[Estimate]]:
    """Return the verdicts in words, and their ratios."""
    texts = [f"{each.subject} {each.word} {figure(each.ratio)}".rstrip() for each in found]
    return f"time over that at {revision}: {', '.join(texts)}", [each.ratio for each in found if each.ratio]


def seconds_left(results: Results, budget_seconds: float, shown: int) -> float | None:
    """Return how long the campaign goes on at most, if the launches to come take as long as the ``shown`` ones took.

    It ends after the launches that were asked for, or when it has measured for ``budget_seconds``. None if it is not
    known: what was resumed does not say how long its first launches took.
    """
    campaign = results.campaign
    if not shown or launches(results) > shown:
        return None
    done = shown / campaign.launches if campaign.launches else 0
    share = max(done, campaign.measured_seconds / budget_seconds)
    return campaign.wall_seconds * (1 / share - 1) if 0 < share < math.inf else None
