"""Tables and reports as Markdown, in which the text of a saved run is shown and has no other effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.terms import TERMS

if TYPE_CHECKING:
    from reports.document import Column, HistoryReport, Picture, Report, Table


def markdown_table(table: Table) -> list[str]:
    """Return a table with its title and notes."""
    texts = [list(map(cell, table.columns, row)) for _, row in table.cells]
    frame = pd.DataFrame(texts, columns=[escape_markdown(column.name) for column in table.columns])
    sides = ["right" if column.numeric else "left" for column in table.columns]
    # Without disable_numparse, text that looks like a number would be rewritten, and its digits mean something.
    text = frame.to_markdown(index=False, disable_numparse=True, colalign=sides) if len(frame) else "None."
    return [
        f"### {escape_markdown(table.title)}",
        "",
        text,
        "",
        *(f"{escape_markdown(note)}\n" for note in table.notes),
    ]


def cell(column: Column, text: str) -> str:
    """Return the text of a cell; a figure and its interval stay on one line, however narrow the reader's window is."""
    escaped = escape_markdown(text)
    return escaped.replace(" ", "&nbsp;") if column.numeric else escaped


def escape_markdown(text: str) -> str:
    """Return ``text`` so that Markdown shows it and does nothing else with it."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`|[]*":
        flat = flat.replace(sign, f"\\{sign}")
    return flat.replace("@", "@\u200b")  # GitHub would notify the user of that name


def markdown_report(report: Report, *, pictures: bool = True) -> str:
    """Return the report as Markdown; without pictures it can be a comment on a pull request."""
    verdict = escape_markdown(report.verdict)
    lines = ["# The same network in every framework", "", f"**{verdict}**", "", escape_markdown(report.summary), ""]
    for section in report.sections:
        lines += [f"## {escape_markdown(section.title)}", "", escape_markdown(section.verdict), ""]
        for table in section.tables:
            lines += markdown_table(table)
        for picture in section.pictures if pictures else ():
            lines += markdown_picture(f"{section.name}-{picture.name}", picture)
    for picture in report.scaling if pictures else ():
        lines += markdown_picture(picture.name, picture)
    for table in report.last_tables:
        lines += markdown_table(table)
    lines += ["### Definitions", ""] + [f"- **{name}**: {text}" for name, text in TERMS.items()]
    return "\n".join(lines) + "\n"


def markdown_history(history: HistoryReport, *, pictures: bool = True) -> str:
    """Return the tables and the pictures of the histories; without pictures it can be a comment on a pull request."""
    lines = ["# History", "", *(f"{escape_markdown(note)}\n" for note in history.notes)]
    lines += [line for table in history.tables for line in markdown_table(table)]
    lines += [line for name, picture in history.pictures if pictures for line in markdown_picture(name, picture)]
    return "\n".join(lines) + "\n"


def markdown_picture(name: str, picture: Picture) -> list[str]:
    """Return a link to a picture's file and to its data."""
    alt = escape_markdown(picture.alt)
    return [f"![{alt}](figures/{name}.svg)", "", f"{escape_markdown(picture.title)} ([data](csv/{name}-data.csv))", ""]
