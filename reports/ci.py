"""What a CI shows of a comparison next to its log: annotations and a step summary, where it is GitHub's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reports.verdicts import as_markdown
from samenet.errors import SettingsError
from samenet.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from samenet.verdicts import Comparison

LEVELS = {
    Outcome.SLOWER: "error",
    Outcome.LARGER: "error",
    Outcome.UNVERIFIED: "error",
    Outcome.INCONCLUSIVE: "warning",
    Outcome.FASTER: "notice",
    Outcome.SMALLER: "notice",
}


def escape(text: str, *, value: bool = False) -> str:
    """Return ``text`` as a workflow command takes it: one line, and in a property's ``value`` no separators.

    Source: ``escapeData`` and ``escapeProperty`` in actions/toolkit, packages/core/src/command.ts.
    """
    for sign in "%\r\n" + (":," if value else ""):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def workflow_commands(comparison: Comparison, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a workflow command for each verdict that needs attention; none outside of GitHub's runners."""
    for verdict in comparison.verdicts if environment.get("GITHUB_ACTIONS") == "true" else ():
        if verdict.word in LEVELS:
            level = "error" if verdict.regression else LEVELS[verdict.word].replace("error", "warning")
            title = escape(f"{verdict.subject} is {verdict.word}", value=True)
            yield f"::{level} title={title}::{escape(verdict.sentence)}"


def append_summary(text: str, environment: Mapping[str, str]) -> None:
    """Add ``text`` to the step's summary, where there is one; with no text this checks, before the work, that it can.

    Raises:
        SettingsError: the file that the environment names cannot be written.
    """
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"cannot write the step summary {path}: {getattr(error, 'strerror', None) or error};"
                " point GITHUB_STEP_SUMMARY to a file that can be written, or unset it"
            ) from None


def announce(comparison: Comparison, environment: Mapping[str, str]) -> Iterator[str]:
    """Add the comparison to the step's summary and yield the annotations to print.

    Raises:
        SettingsError: the summary cannot be written.
    """
    append_summary(as_markdown(comparison), environment)
    yield from workflow_commands(comparison, environment)
