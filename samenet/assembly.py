"""From the results of entries to the results of a campaign, and from those of several campaigns to one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from samenet.acceptance import accept_all
from samenet.errors import JournalError
from samenet.journal import read
from samenet.plan import Role
from samenet.records import State
from samenet.results import CampaignRecord, NoiseFloor, Results
from samenet.saved import BROKEN, Run
from samenet.speedups import speedup

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from samenet.comparison import PairedComparison
    from samenet.events import Header, Log
    from samenet.results import CaseResult


def assemble(
    header: Header,
    log: Log,
    results: Mapping[str, CaseResult],
    campaign: CampaignRecord,
    *,
    comparison: PairedComparison | None = None,
    absent: Collection[str] = (),
    selected: Collection[str] | None = None,
) -> Results:
    """Return the results of one campaign, of all entries or of those that are ``selected``.

    Cases in ``absent`` get no verdict, since no change here affects them.
    """
    entries = {label: seen.entry for label, seen in log.entries.items() if selected is None or label in selected}
    by_role = {role: [label for label, entry in entries.items() if entry.role is role] for role in Role}
    cases = [results[label] for label in by_role[Role.CASE]]
    against = None
    if comparison:
        judged = {case.case: comparison.verdicts(case.case, results) for case in cases if case.case not in absent}
        verdicts = {case: found for case, found in judged.items() if found}
        cases = [
            replace(case, verdict=verdicts[case.case][0], other_verdicts=tuple(verdicts[case.case][1:]))
            if case.case in verdicts
            else case
            for case in cases
        ]
        against = comparison.record([each for found in verdicts.values() for each in found], results)
    twin = next(iter(by_role[Role.TWIN]), None)
    return Results(
        machine=header.machine,
        campaign=campaign,
        cases=tuple(cases),
        noise_floor=noise_floor(results[entries[twin].of], results[twin]) if twin else None,
        against=against,
        bound=next((results[label] for label in by_role[Role.BOUND]), None),
        peak=next((results[label] for label in by_role[Role.PEAK]), None),
        again=results[twin] if twin else None,
    )


def noise_floor(once: CaseResult, again: CaseResult) -> NoiseFloor:
    """Return the ratio of a case to itself, which the campaign measured as it measured every other pair."""
    valid = once.state is again.state is State.VALID
    return NoiseFloor(case=once.case, ratio=speedup(again, once) if valid else None)


def merge(parts: Sequence[Results]) -> Results:
    """Return several campaigns as one: all cases, the sum of the seconds, and no bound or noise floor of all."""
    first, *others = parts
    if not others:
        return first
    campaigns = [part.campaign for part in parts]
    campaign = replace(
        first.campaign,
        iterations=max(each.iterations for each in campaigns),
        interrupted=any(each.interrupted for each in campaigns),
        wall_seconds=sum(each.wall_seconds for each in campaigns),
        startup_seconds=sum(each.startup_seconds for each in campaigns),
        measured_seconds=sum(each.measured_seconds for each in campaigns),
    )
    cases = tuple(case for part in parts for case in part.cases)
    return Results(machine=first.machine, campaign=campaign, cases=cases)


def read_unfinished(path: Path) -> Run:
    """Return what the journal of an unfinished campaign holds, as a run that is marked as such.

    Raises:
        JournalError: it cannot be read; the message is about the file and does not name it.
    """
    try:
        header, log, _ = read(path)
        return unfinished(path, header, log)
    except BROKEN as error:
        raise JournalError(f"cannot be judged: {type(error).__name__} {error}; delete it") from None
    except JournalError as error:
        raise JournalError(str(error).removeprefix(f"{path} ")) from None


def unfinished(path: Path, header: Header, log: Log) -> Run:
    """Return what a journal's ``log`` amounts to, as a run that is marked as unfinished."""
    seconds = sum(timed.round.harness_seconds for seen in log.entries.values() for timed in seen.timed)
    campaign = CampaignRecord(
        id=header.id,
        iterations=header.context.iterations,
        rounds=header.rounds,
        launches=header.launches,
        seed=header.seed,
        unfinished=True,
        wall_seconds=seconds,
        measured_seconds=seconds,
    )
    results = assemble(header, log, accept_all(log, header), campaign)
    return Run(path=path, when=header.when, commit=header.commit, results=results)
