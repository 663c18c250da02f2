"""From a storage to a report, and from a report to Markdown, HTML, CSV, LaTeX and SVG files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import changes, chapter, page, plots, tables
from reports.load import StorageError
from reports.markdown import alignment, inert, markdown_table
from reports.terms import TERMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from reports.changes import Change
    from reports.load import Group, Storage
    from reports.plots import Picture
    from reports.tables import Table

SECTIONS = 4  # groups with tables and pictures of their own: the page has to stay small


@dataclass(frozen=True)
class Section:
    """A group's tables and pictures; ``verdict`` is its answer in one sentence."""

    name: str
    title: str
    verdict: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Report:
    """Everything that is told, in the order in which it is told."""

    verdict: str
    summary: str
    sections: tuple[Section, ...]
    scaling: tuple[Picture, ...]
    changes: Table
    feed: str
    groups: Table
    rejected: Table | None

    @property
    def tables(self) -> Iterator[tuple[str, Table]]:
        """Each table with the name of its files."""
        for section in self.sections:
            for table in section.tables:
                yield f"{section.name}-{table.name}", table
        yield from ((table.name, table) for table in (self.changes, self.groups, self.rejected) if table)

    @property
    def pictures(self) -> Iterator[tuple[str, Picture]]:
        """Each picture with the name of its files."""
        for section in self.sections:
            for picture in section.pictures:
                yield f"{section.name}-{picture.name}", picture
        yield from ((picture.name, picture) for picture in self.scaling)


def assemble(storage: Storage, baseline: str | None = None) -> Report:
    """Return the report on everything in ``storage``, with speedups over ``baseline`` where a group has it.

    Raises:
        StorageError: no group has a valid case of that name.
    """
    # One size of many says little by itself: the scaling pictures put them together.
    compared = [group for group in storage.groups if group.conditions.protocol not in {"scaling", "epochs"}]
    trained = [group.newest.cases for group in storage.groups if group.conditions.protocol == "epochs"]
    chosen = (compared or [group for group in storage.groups if group.conditions.protocol == "scaling"])[:SECTIONS]
    known = {case.case for group in chosen for case in tables.valid_cases(group.newest.cases)}
    if baseline and baseline not in known:
        raise StorageError(
            f"no valid case {baseline} in {len(chosen)} groups; choose one of: {', '.join(sorted(known))}"
        )
    ordered = [*chosen, *(group for group in storage.groups if group not in chosen)]
    found = changes.of_groups(compared)
    sections = tuple(assemble_section(number, group, baseline, found) for number, group in enumerate(chosen, 1))
    if trained:
        title = "The book's chapter, trained to its end"
        told = (chapter.table(trained), tables.manifest(trained[0]))
        sections += (Section("chapter", title, chapter.verdict(trained), told, tuple(chapter.pictures(trained))),)
    files = {part.path for group in storage.groups for part in group.parts}
    summary = f"Saved runs: {len(files):,}; groups of runs that may be compared: {len(storage.groups):,}."
    if len(compared) > len(chosen):
        summary += (
            f" The {len(chosen)} newest groups are shown; build a report of the others from folders of their own."
        )
    if storage.rejected:
        summary += f" Files left out, with their reasons below: {len(storage.rejected):,}."
    return Report(
        sections[0].verdict,
        summary,
        sections,
        tuple(plots.scaling(storage.groups)),
        changes.table(found, ordered),
        changes.feed(found),
        tables.groups(ordered),
        tables.rejected(storage.rejected) if storage.rejected else None,
    )


def assemble_section(number: int, group: Group, wanted: str | None, found: Sequence[Change]) -> Section:
    """Return what is told of one group; ``found`` are the changes of all."""
    part = group.newest
    baseline = tables.choose_baseline(part.cases, wanted)
    case, hardware = part.cases[0], part.machine.hardware
    title = (
        f"{hardware.get('cpu', 'unknown CPU')}, {case.threads} threads · {case.data.name} · {case.workload.network},"
        f" init {case.workload.init}, batch {case.workload.batch_size} · {group.conditions.precision}"
        f" · {case.iterations:,} iterations (workload {case.fingerprint})"
    )
    every = (
        tables.comparison(part.cases, baseline),
        tables.gpu(part.cases),
        tables.phases(part.cases, baseline),
        tables.errors(part.cases),
        tables.manifest(part.cases),
        tables.circumstances(part),
        tables.history(group),
    )
    pictures = (
        plots.speedups(part.cases, baseline),
        plots.phases(part.cases, baseline),
        plots.errors(part.cases),
        plots.learning(part.cases),
        plots.drift(part.cases),
        plots.history(group, found),
    )
    return Section(
        f"group-{number}",
        f"Group {number}: {title}",
        tables.verdict(part.cases, baseline),
        tuple(table for table in every if len(table.frame)),
        tuple(picture for picture in pictures if picture),
    )


def markdown(report: Report, *, pictures: bool = True) -> str:
    """Return the report as Markdown; without pictures it can be a comment on a pull request."""
    lines = ["# The same network in every framework", "", f"**{inert(report.verdict)}**", "", report.summary, ""]
    for section in report.sections:
        lines += [f"## {inert(section.title)}", "", inert(section.verdict), ""]
        for table in section.tables:
            lines += markdown_table(table)
        for picture in section.pictures if pictures else ():
            lines += markdown_picture(f"{section.name}-{picture.name}", picture)
    for picture in report.scaling if pictures else ():
        lines += markdown_picture(picture.name, picture)
    for table in filter(None, (report.changes, report.groups, report.rejected)):
        lines += markdown_table(table)
    lines += ["### Definitions", ""] + [f"- **{name}**: {text}" for name, text in TERMS.items()]
    return "\n".join(lines) + "\n"


def markdown_picture(name: str, picture: Picture) -> list[str]:
    """Return a link to a picture's file and to its data."""
    alt = inert(picture.alt)
    return [f"![{alt}](figures/{name}.svg)", "", f"{inert(picture.title)} ([data](csv/{name}-data.csv))", ""]


def latex(name: str, table: Table) -> str:
    """Return a table for LaTeX; it wants the package booktabs."""
    sides = "".join(side[0] for side in alignment(table))
    label = f"tab:{name}"
    text = table.frame.to_latex(index=False, escape=True, column_format=sides, caption=table.title, label=label)
    return text.replace("\\begin{table}\n", "\\begin{table}\n\\centering\n", 1)


def write(report: Report, out: Path) -> Path:
    """Write every format into ``out`` and return the page.

    Raises:
        OSError: the folder cannot be written.
    """
    write_parts(report.tables, report.pictures, out)
    (out / "report.md").write_text(markdown(report), encoding="utf-8")
    (out / "regressions.xml").write_text(report.feed, encoding="utf-8")
    target = out / "report.html"
    target.write_text(page.render(report), encoding="utf-8")
    return target


def write_history(table: Table, groups: Sequence[Group], found: Sequence[Change], out: Path) -> Path:
    """Write the table of changes, a picture of each group's whole history and the feed; return the Markdown of it.

    Raises:
        OSError: the folder cannot be written.
    """
    drawn = [(number, plots.history(group, found, len(group.parts))) for number, group in enumerate(groups, 1)]
    pictures = [(f"group-{number}-history", picture) for number, picture in drawn if picture]
    write_parts([(table.name, table)], pictures, out)
    lines = ["# History", "", *markdown_table(table)]
    lines += [line for name, picture in pictures for line in markdown_picture(name, picture)]
    target = out / "history.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "regressions.xml").write_text(changes.feed(found), encoding="utf-8")
    return target


def write_parts(parts: Iterable[tuple[str, Table]], pictures: Iterable[tuple[str, Picture]], out: Path) -> None:
    """Write CSV, LaTeX and SVG files into their folders below ``out``."""
    for folder in ("csv", "tex", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for old in (out / folder).iterdir():
            if old.suffix in {".csv", ".tex", ".svg"}:  # of an earlier report, which may have had more groups
                old.unlink()
    for name, table in parts:
        data = table.frame if table.numbers.empty else table.numbers
        data.to_csv(out / "csv" / f"{name}.csv", index=False)
        (out / "tex" / f"{name}.tex").write_text(latex(name, table), encoding="utf-8")
    for name, picture in pictures:
        picture.data.to_csv(out / "csv" / f"{name}-data.csv", index=False)
        (out / "figures" / f"{name}.svg").write_text(picture.svg, encoding="utf-8")
