"""Writes reports into folders: the page, Markdown, CSV, LaTeX, SVG and the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.markdown import markdown_history, markdown_report
from reports.page import render

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reports.document import HistoryReport, Picture, Report, Table

WRITTEN = ".written-by-samenet"  # lists the files that the next report in the same folder may remove


def latex(name: str, table: Table) -> str:
    """Return a table for LaTeX; it needs the package booktabs."""
    sides = "".join("r" if column.numeric else "l" for column in table.columns)
    label = f"tab:{name}"
    text = table.frame.to_latex(index=False, escape=True, column_format=sides, caption=table.title, label=label)
    return text.replace("\\begin{table}\n", "\\begin{table}\n\\centering\n", 1)


def write(report: Report, out: Path) -> Path:
    """Write every format into ``out`` and return the page.

    Raises:
        OSError: the folder cannot be written.
    """
    write_parts(report.tables, report.pictures, out)
    (out / "report.md").write_text(markdown_report(report), encoding="utf-8")
    (out / "regressions.xml").write_text(report.feed, encoding="utf-8")
    target = out / "report.html"
    target.write_text(render(report), encoding="utf-8")
    return target


def write_history(history: HistoryReport, out: Path) -> Path:
    """Write the table of changes, the pictures and the feed into ``out``; return the Markdown file.

    Raises:
        OSError: the folder cannot be written.
    """
    write_parts([(table.name, table) for table in history.tables], history.pictures, out)
    target = out / "history.md"
    target.write_text(markdown_history(history), encoding="utf-8")
    (out / "regressions.xml").write_text(history.feed, encoding="utf-8")
    return target


def write_parts(tables: Iterable[tuple[str, Table]], pictures: Iterable[tuple[str, Picture]], out: Path) -> None:
    """Write CSV, LaTeX and SVG files into their folders below ``out``, and remove those of an earlier report."""
    texts = {}
    for name, table in tables:
        data = table.frame if table.numbers.empty else table.numbers
        texts[f"csv/{name}.csv"] = data.to_csv(index=False)
        texts[f"tex/{name}.tex"] = latex(name, table)
    for name, picture in pictures:
        texts[f"csv/{name}-data.csv"] = picture.data.to_csv(index=False)
        texts[f"figures/{name}.svg"] = picture.svg
    remove_earlier(out)
    (out / WRITTEN).write_text("".join(f"{path}\n" for path in sorted(texts)), encoding="utf-8")
    for path, text in texts.items():
        (out / path).write_text(text, encoding="utf-8")


def remove_earlier(out: Path) -> None:
    """Remove what an earlier report, which may have had more groups, listed in ``WRITTEN``; make the folders.

    Whatever is not listed belongs to the user and stays.
    """
    listed = out / WRITTEN
    earlier = listed.read_text(encoding="utf-8", errors="replace").splitlines() if listed.exists() else []
    for folder in ("csv", "tex", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for path in (out / folder).iterdir():
            if f"{folder}/{path.name}" in earlier:
                path.unlink()
