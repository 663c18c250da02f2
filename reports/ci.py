"""What a CI shows of a comparison beside its log: annotations and a step summary, where it is GitHub's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reports.verdicts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reports.verdicts import Comparison

LEVELS = {Word.SLOWER: "error", Word.UNVERIFIED: "error", Word.INCONCLUSIVE: "warning", Word.FASTER: "notice"}


def escape(text: str, *, value: bool = False) -> str:
    """Return ``text`` as a workflow command takes it: one line, and in a property's ``value`` no separators.

    Source: ``escapeData`` and ``escapeProperty`` in actions/toolkit, packages/core/src/command.ts.
    """
    for sign in "%\r\n" + (":," if value else ""):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def commands(comparison: Comparison) -> Iterator[str]:
    """Yield a workflow command for each verdict that somebody has to see."""
    for verdict in comparison.verdicts:
        if verdict.word in LEVELS:
            title = escape(f"{verdict.case} is {verdict.word}", value=True)
            yield f"::{LEVELS[verdict.word]} title={title}::{escape(verdict.sentence)}"


def announce(comparison: Comparison, environment: Mapping[str, str]) -> Iterator[str]:
    """Add the comparison to the step's summary and yield the lines to print; nothing but where GitHub runs it."""
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(comparison.as_markdown())
    if environment.get("GITHUB_ACTIONS") == "true":
        yield from commands(comparison)
