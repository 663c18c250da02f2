"""Tables for a terminal, and as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.document import Row, Table

WIDTH = 1000  # a line that the terminal wraps is better than a figure that is cut


def as_rich(table: Table, *, drop: Sequence[str] = ()) -> RichTable:
    """Return the table for a terminal, without the columns to ``drop``.

    It is as wide as it needs to be, since a wrapped figure misleads.
    """
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    kept = [place for place, column in enumerate(table.columns) if column.name not in drop]
    for place in kept:
        shown.add_column(Text(table.columns[place].name), no_wrap=True, style="" if place else "bold")
    for row, texts in table.cells:
        shown.add_row(*(Text(texts[place]) for place in kept), style=style(row))
    return shown


def style(row: Row) -> str:
    """Return how a row looks: what is pinned steps back, a case without a number is red."""
    return "dim" if row.pinned else "red" if row.marked else ""


def as_text(table: Table, *, drop: Sequence[str] = ()) -> str:
    """Return the table as aligned plain text, without the columns to ``drop``."""
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(as_rich(table, drop=drop))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
