"""A comparison as a table, as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.document import Column, Role, Row, Table, plain_rows
from reports.markdown import escape_markdown, markdown_table
from reports.numbers import figure
from samenet import storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from samenet.results import CaseResult, Verdict
    from samenet.verdicts import Comparison

COLUMNS = (
    Column("case", "case", rank=0),
    Column("verdict", "verdict", rank=0),
    Column("after / before", "ratio", numeric=True, rank=0),
    Column("reason", "state"),
)


def table(comparison: Comparison) -> Table:
    """Return one row a case: the outcome, the ratio with its interval, the reason."""
    reasons = tuple(f"{each.subject}: {each.reason}" for each in comparison.verdicts if each.reason)
    return Table(
        name="verdicts",
        title=comparison.title,
        columns=COLUMNS,
        rows=rows(comparison.verdicts),
        notes=tuple(comparison.notes),
        role=Role.MAIN,
        instead={COLUMNS[-1].name: reasons},
    )


def of_cases(cases: Sequence[CaseResult]) -> Table:
    """Return the verdicts on the cases of a run that compares them; it has no row for another run."""
    verdicts = [each for case in cases if case.verdict for each in (case.verdict, *case.other_verdicts)]
    return Table(name="against", title="Verdicts", columns=COLUMNS, rows=rows(verdicts))


def rows(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    """Return one row a verdict."""
    texts = [(verdict.subject, str(verdict.word), figure(verdict.ratio), verdict.reason) for verdict in verdicts]
    return plain_rows(COLUMNS, texts)


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as a comment on a pull request."""
    heading, *lines = markdown_table(table(comparison))
    return "\n".join([heading, "", f"**{escape_markdown(comparison.summary)}**", *lines])


def as_builtins(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison for other programs."""
    return {
        "before": comparison.before,
        "after": comparison.after,
        "tolerance": comparison.tolerance,
        "regression": comparison.regression,
        "summary": comparison.summary,
        "verdicts": [storage.as_builtins(verdict) for verdict in comparison.verdicts],
        "notes": list(comparison.notes),
    }
