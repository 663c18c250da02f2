"""From a storage to a report: which groups are shown, and what each section consists of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports import (
    changes,
    chapter,
    charts,
    histories,
    history_charts,
    hosts,
    overhead,
    release_charts,
    run_tables,
    sentences,
    tables,
    verdicts,
)
from reports.document import HistoryReport, Report, Role, Section
from reports.feed import feed
from reports.kinds import hardware, work
from samenet.errors import StorageError
from samenet.speedups import choose_baseline, valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.changes import Change
    from samenet.storage import Group, Slice, Storage

SECTIONS = 4  # groups with tables and pictures of their own: the page has to stay small


def assemble(storage: Storage, baseline: str | None = None) -> Report:
    """Return the report on everything in ``storage``, with speedups over ``baseline`` where a group has it.

    Raises:
        StorageError: no group has a valid case of that name.
    """
    # One size of many says little by itself: the scaling pictures put them together.
    compared = [group for group in storage.groups if group.conditions.protocol not in {"scaling", "epochs"}]
    trained = [group.newest for group in storage.groups if group.conditions.protocol == "epochs"]
    chosen = (compared or [group for group in storage.groups if group.conditions.protocol == "scaling"])[:SECTIONS]
    check_baseline(chosen, baseline)
    ordered = [*chosen, *(group for group in storage.groups if group not in chosen)]
    every = histories.histories(compared)
    changed = changes.of_histories(every)
    sections = [group_section(number, group, baseline, changed) for number, group in enumerate(chosen, 1)]
    sections += [chapter_section(trained)] if trained else []
    sections += [fleet] if (fleet := hosts.section(compared)) else []
    return Report(
        verdict=sections[0].verdict,
        summary=summary(storage, len(compared) - len(chosen)),
        sections=tuple(sections),
        scaling=tuple(history_charts.scaling(storage.groups)),
        changes=changes.table(changed, ordered),
        levels=histories.table(every, ordered),
        feed=feed(changed),
        groups=run_tables.groups(ordered),
        rejected=run_tables.rejected(storage.rejected) if storage.rejected else None,
    )


def check_baseline(groups: Sequence[Group], baseline: str | None) -> None:
    """Refuse a baseline that no group can have speedups over.

    Raises:
        StorageError: no group has a valid case of that name.
    """
    names = {case.case for group in groups for case in valid_cases(group.newest.cases)}
    if baseline and baseline not in names:
        raise StorageError(
            f"no valid case {baseline} in {len(groups)} groups; choose one of: {', '.join(sorted(names))}"
        )


def summary(storage: Storage, hidden: int) -> str:
    """Say how much the storage holds; so many groups are not shown."""
    files = {run.path for group in storage.groups for run in group.slices}
    text = f"Saved runs: {len(files):,}; groups of runs that may be compared: {len(storage.groups):,}."
    if hidden > 0:
        text += f" The {SECTIONS} newest groups are shown; build a report of the others from folders of their own."
    if storage.rejected:
        text += f" Files left out, with their reasons below: {len(storage.rejected):,}."
    return " ".join([text, *sentences.from_the_future(sentences.dates(storage))])


def title(group: Group) -> str:
    """Return what the runs of a group have in common."""
    case = group.newest.cases[0]
    of_versions = f" · versions of {group.conditions.package}" if group.conditions.package else ""
    host = f"{group.conditions.host} · " if group.conditions.host else ""
    return f"{host}{hardware(group)} · {case.data.name} · {work(group)} (workload {case.fingerprint}){of_versions}"


def group_section(number: int, group: Group, wanted: str | None, changed: Sequence[Change]) -> Section:
    """Return the section of one group; ``changed`` are the changes of all."""
    run = group.newest
    baseline = choose_baseline(run.cases, wanted)
    every = (
        tables.comparison(run.cases, baseline, run.bound, run.peak),
        verdicts.of_cases(run.cases),
        tables.gpu(run.cases),
        overhead.table(run.cases),
        tables.phases(run.cases, baseline),
        tables.errors(run.cases),
        tables.manifest(run.cases),
        run_tables.circumstances(run),
        run_tables.history(group),
    )
    pictures = (
        charts.speedups(run.cases, baseline),
        overhead.picture(run.cases),
        release_charts.releases(run.cases),
        charts.phases(run.cases, baseline),
        charts.errors(run.cases),
        charts.learning(run.cases),
        charts.drift(run.cases),
        history_charts.history(group, changed),
    )
    return Section(
        name=f"group-{number}",
        title=f"Group {number}: {title(group)}",
        verdict=" ".join([*warnings([run]), sentences.verdict(run.cases, baseline)]),
        tables=tuple(table for table in every if table.rows or table.role is Role.MAIN),
        pictures=tuple(picture for picture in pictures if picture),
    )


def chapter_section(runs: Sequence[Slice]) -> Section:
    """Return the section of the trainings in epochs, of each workload the newest run."""
    trained = [run.cases for run in runs]
    about = (
        replace(
            run_tables.circumstances(run),
            name=f"machine-{number}",
            title=f"{run.cases[0].workload.network}: Machine and data",
        )
        for number, run in enumerate(runs, 1)
    )
    every = (chapter.table(trained), tables.manifest(trained[0]), *about)
    verdict = " ".join([*warnings(runs), chapter.verdict(trained)])
    pictures = tuple(charts.chapter_errors(trained))
    return Section(
        name="chapter", title="The book's chapter, trained to its end", verdict=verdict, tables=every, pictures=pictures
    )


def warnings(runs: Sequence[Slice]) -> list[str]:
    """Return a sentence for each run whose campaign did not run to its end."""
    return [sentence for sentence in map(sentences.progress_sentence, runs) if sentence]


def assemble_history(storage: Storage) -> HistoryReport:
    """Return the changes in every history of ``storage``, each drawn in full."""
    groups = [group for group in storage.groups if group.conditions.protocol != "scaling"]
    every = histories.histories(groups)
    changed = changes.of_histories(every)
    pictures = [
        (f"group-{number}-history", history_charts.history(group, changed, len(group.slices)))
        for number, group in enumerate(groups, 1)
    ]
    drawn = tuple((name, picture) for name, picture in pictures if picture)
    return HistoryReport(
        changes=changes.table(changed, groups),
        levels=histories.table(every, groups),
        rejected=run_tables.rejected(storage.rejected) if storage.rejected else None,
        notes=tuple(sentences.from_the_future(sentences.dates(storage))),
        pictures=drawn,
        feed=feed(changed),
    )
