"""What a report consists of, as data: columns, tables, pictures, sections; the renderers and writers take these."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Role(Enum):
    """What a table is for in its section."""

    MAIN = auto()  # the answer: it comes first, and a terminal shows it
    DETAIL = auto()


@dataclass(frozen=True)
class Column:
    """A column: ``term`` names the definition that explains it, a ``numeric`` one is aligned to the right.

    Where a terminal is too narrow for all columns, those of the highest ``rank`` are left out first, and 0 never.
    """

    name: str
    term: str = ""
    numeric: bool = False
    rank: int = 1


@dataclass(frozen=True)
class Row:
    """The text of one row by column name; a column that it has no entry for is empty.

    A ``pinned`` row stays above the others however they are sorted; a ``marked`` one is a case without a number.
    """

    cells: Mapping[str, str]
    pinned: bool = False
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text; ``numbers`` holds the same facts unrounded, for other programs.

    ``instead`` has the sentences below the table that replace a column, by its name, where a terminal has no room for
    it. A table that ``is_split`` leaves no column out: a terminal shows parts of it, one below the other.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)
    role: Role = Role.DETAIL
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_split: bool = False

    @property
    def cells(self) -> list[tuple[Row, tuple[str, ...]]]:
        """Each row with its texts in the order of the columns."""
        return [(row, tuple(row.cells.get(column.name, "") for column in self.columns)) for row in self.rows]

    @property
    def frame(self) -> pd.DataFrame:
        """The texts as a frame, without a missing value."""
        return pd.DataFrame([texts for _, texts in self.cells], columns=[column.name for column in self.columns])


def plain_rows(columns: Sequence[Column], values: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    """Return rows of texts that are in the order of ``columns``."""
    names = [column.name for column in columns]
    return tuple(Row(dict(zip(names, texts, strict=True))) for texts in values)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture: ``alt`` says in words what it shows, ``term`` which definition explains it, ``data`` its numbers."""

    name: str
    title: str
    alt: str
    term: str
    svg: str
    data: pd.DataFrame

    def _repr_svg_(self) -> str:
        """Return what a notebook displays."""
        return self.svg


@dataclass(frozen=True, kw_only=True)
class Section:
    """The tables and pictures of a group; ``verdict`` is its answer in one sentence."""

    name: str
    title: str
    verdict: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]

    @property
    def main(self) -> Table:
        """The table that has the answer."""
        return next(table for table in self.tables if table.role is Role.MAIN)

    @property
    def details(self) -> tuple[Table, ...]:
        """The other tables."""
        return tuple(table for table in self.tables if table.role is Role.DETAIL)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report; ``sections`` has the group with the newest run first, and ``feed`` is the Atom feed's text."""

    verdict: str
    summary: str
    sections: tuple[Section, ...]
    scaling: tuple[Picture, ...]
    changes: Table
    levels: Table
    feed: str
    groups: Table
    rejected: Table | None

    @property
    def last_tables(self) -> list[Table]:
        """The tables that belong to no section."""
        return [table for table in (self.changes, self.levels, self.groups, self.rejected) if table]

    @property
    def tables(self) -> Iterator[tuple[str, Table]]:
        """Each table with the name of its files."""
        for section in self.sections:
            for table in section.tables:
                yield f"{section.name}-{table.name}", table
        yield from ((table.name, table) for table in self.last_tables)

    @property
    def pictures(self) -> Iterator[tuple[str, Picture]]:
        """Each picture with the name of its files."""
        for section in self.sections:
            for picture in section.pictures:
                yield f"{section.name}-{picture.name}", picture
        yield from ((picture.name, picture) for picture in self.scaling)


@dataclass(frozen=True, kw_only=True)
class HistoryReport:
    """Where the histories of a storage changed; ``pictures`` has one of each group by file name."""

    changes: Table
    levels: Table
    rejected: Table | None
    notes: tuple[str, ...]
    pictures: tuple[tuple[str, Picture], ...]
    feed: str

    @property
    def tables(self) -> list[Table]:
        """All its tables."""
        return [table for table in (self.changes, self.levels, self.rejected) if table]
