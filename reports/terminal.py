"""Tables and sentences that fit a terminal, and the same as plain text for a pipe or a log."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.document import Column, Row, Table
    from reports.streams import Output

LOG_WIDTH = 100  # of a pipe or a CI log, which has no width of its own
NARROWEST = 40  # a narrower terminal wraps the lines by itself
GAP = 2  # spaces between two columns
INTERVAL = re.compile(r"\S+ \(\S+ to \S+\)")


def open_console(stream: TextIO | Output) -> Console:
    """Return a console on ``stream``: as wide as the terminal or COLUMNS says, else, as for a log, 100 columns."""
    console = Console(file=cast("TextIO", stream), soft_wrap=True)
    is_log = not stream.isatty() and not os.environ.get("COLUMNS", "").isdigit()
    width = max(NARROWEST, LOG_WIDTH if is_log else console.width)
    if width != console.width:  # a width that was set does not follow the window any more
        console.width = width
    return console


@dataclass(frozen=True)
class Fitted:
    """A table with as many of its ``columns`` as are no wider than ``width`` together.

    Columns of rank 0 are always there, and no cell is wrapped or cut: headings are wrapped instead.
    """

    table: Table
    columns: tuple[Column, ...]
    width: int

    @cached_property
    def rows(self) -> list[list[str]]:
        """The texts of each row; one without a number has its state in its first empty cell if there is no other."""
        gone = [column for column in self.table.columns if column not in self.columns]
        state = next((column.name for column in gone if column.term == "state"), "")
        rows = [[row.cells.get(column.name, "") for column in self.columns] for row in self.table.rows]
        for row, texts in zip(self.table.rows, rows, strict=True):
            if row.marked and state and "" in texts:
                texts[texts.index("")] = row.cells.get(state, "")
        return rows

    @cached_property
    def heads(self) -> list[str]:
        """The headings, on two lines where the table would be too wide otherwise."""
        names = [column.name for column in self.columns]
        if self._total(names) <= self.width:
            return names
        return [on_two_lines(name, cells) for name, cells in zip(names, self._cell_widths, strict=True)]

    @cached_property
    def _cell_widths(self) -> list[int]:
        rows = self.rows or [[""] * len(self.columns)]
        return [max(map(cell_len, texts)) for texts in zip(*rows, strict=True)]

    def _total(self, heads: Sequence[str]) -> int:
        wide = [max(map(cell_len, head.split("\n"))) for head in heads]
        return sum(map(max, wide, self._cell_widths)) + GAP * (len(heads) - 1)

    @property
    def needed(self) -> int:
        """How wide it is."""
        return self._total(self.heads)

    def narrower(self) -> Fitted | None:
        """Return it without its least important column, the last one of the highest rank; None if all must stay."""
        rank = max(column.rank for column in self.columns)
        if not rank:
            return None
        place = max(place for place, column in enumerate(self.columns) if column.rank == rank)
        return Fitted(self.table, (*self.columns[:place], *self.columns[place + 1 :]), self.width)

    @property
    def rich(self) -> RichTable:
        """The table as rich draws it."""
        shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
        for place, head in enumerate(self.heads):
            shown.add_column(Text(head), no_wrap=True, overflow="ignore", style="" if place else "bold")
        for row, texts in zip(self.table.rows, self.rows, strict=True):
            shown.add_row(*map(Text, texts), style=style(row))
        return shown


def on_two_lines(name: str, cells: int) -> str:
    """Return a heading as it is if it is no wider than the ``cells`` below it, or else on two lines if it has words."""
    words = name.split()
    if cell_len(name) <= cells or len(words) == 1:
        return name
    lines = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words))]
    return "\n".join(min(lines, key=lambda pair: max(map(cell_len, pair))))


def style(row: Row) -> str:
    """Return how a row looks: what is pinned steps back, a case without a number is red."""
    return "dim" if row.pinned else "red" if row.marked else ""


def fit(table: Table, width: int, drop: Sequence[str] = ()) -> list[Fitted]:
    """Return the table, or if it is one that is split its parts, no wider than ``width`` and without ``drop``."""
    columns = tuple(column for column in table.columns if column.name not in drop)
    if table.is_split:
        return parts(table, columns, width)
    fitted = Fitted(table, columns, width)
    while fitted.needed > width and (narrower := fitted.narrower()):
        fitted = narrower
    return [fitted]


def parts(table: Table, columns: tuple[Column, ...], width: int) -> list[Fitted]:
    """Return tables of the first column and as many others as fit, until each has had its place."""
    first, *others = columns
    found: list[Fitted] = []
    while others:
        wider = [Fitted(table, (first, *others[:count]), width) for count in range(1, len(others) + 1)]
        found.append(next((each for each in reversed(wider) if each.needed <= width), wider[0]))
        others = others[len(found[-1].columns) - 1 :]
    return found or [Fitted(table, columns, width)]


def left_out(table: Table, shown: Sequence[Fitted], drop: Sequence[str], where: str) -> list[str]:
    """Return what is said instead of columns that have no room, and which others are missing and ``where`` they are."""
    kept = {column.name for part in shown for column in part.columns} | set(drop)
    gone = [column.name for column in table.columns if column.name not in kept]
    lines = [line for name in gone for line in table.instead.get(name, ())]
    missing = [name for name in gone if name not in table.instead]
    return [*lines, f"Left out here: {'; '.join(missing)}. {where} shows them."] if missing else lines


def wrap(text: str, console: Console) -> str:
    """Return a sentence in lines no longer than a terminal is wide, each interval on one; for a log it is one line."""
    if not console.file.isatty():
        return text
    whole = INTERVAL.sub(lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(whole, console.width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def draw(part: Fitted, console: Console) -> list[str]:
    """Return the lines of a table as plain text; nothing is cut, however narrow the terminal is."""
    plain = Console(file=console.file, width=max(console.width, part.needed), color_system=None)
    with plain.capture() as captured:
        plain.print(part.rich)
    return [line.rstrip() for line in captured.get().splitlines()]


def as_lines(table: Table, console: Console, where: str, *, drop: Sequence[str] = ()) -> list[str]:
    """Return a table and all that is said below it as plain text, without the columns to ``drop``."""
    shown = fit(table, console.width, drop)
    lines = [line for part in shown for line in ("", *draw(part, console))]
    below = (*left_out(table, shown, drop, where), *table.notes)
    return [*lines, "", *(line for sentence in below for line in wrap(sentence, console).split("\n"))]


def show(table: Table, console: Console, where: str) -> None:
    """Print a table and all that is said below it: the table in colours on a terminal."""
    shown = fit(table, console.width)
    for part in shown:
        console.line()
        if console.is_terminal:
            Console(file=console.file, width=max(console.width, part.needed)).print(part.rich)
        else:
            console.print(*draw(part, console), sep="\n", markup=False, highlight=False)
    console.line()
    for line in (*left_out(table, shown, (), where), *table.notes):
        say(line, console)


def say(text: str, console: Console) -> None:
    """Print a sentence."""
    console.print(wrap(text, console), markup=False, highlight=False)
