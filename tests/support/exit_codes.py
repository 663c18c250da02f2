"""Every situation in which a command ends, and its exit code: docs/ci.md and the tests take both from here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Command(StrEnum):
    """What ends."""

    BENCH = "`pytest bench/`"
    AGAINST = "`pytest bench/ --against`"
    COMPARE = "`reports compare`"
    BUILD = "`reports build`"
    HISTORY = "`reports history`"


@dataclass(frozen=True)
class Situation:
    """What happens, in the words of the docs, and each command's exit code in the order of ``Command``.

    None is a situation that a command cannot be in. ``says`` is in what a command that fails prints.
    """

    name: str
    text: str
    codes: tuple[int | None, int | None, int | None, int | None, int | None]
    says: str = ""


SITUATIONS = (
    Situation("fine", "nothing is wrong", (0, 0, 0, 0, 0)),
    Situation("skipped", "a case is skipped: its framework, or its device, is not here", (0, None, None, 0, 0)),
    Situation("slower", "a case became slower", (None, 1, 1, 0, 0), "slower"),
    Situation("failed", "a case fails, or no longer does the work", (1, 1, 1, 0, 0), "failed"),
    Situation("failed twice", "the same, and an output fails too", (1, 1, 1, None, None), "No space left on device"),
    Situation("empty", "no case could be judged", (None, 4, 2, None, None), "nothing was compared"),
    Situation("allowed", "no case could be judged, with `--allow-empty`", (None, 0, 0, None, None)),
    Situation("nothing", "no case is selected, or no run is found", (5, 5, 2, 2, 2)),
    Situation("option", "an option is wrong", (4, 4, 2, 2, 2), "error: "),
    Situation("library", "a library is missing", (4, 4, 2, 2, 2), "No module named"),
    Situation("output", "an output cannot be opened; nothing is measured or read", (4, 4, 2, 2, 2), "cannot write"),
    Situation("full", "an output fails later, such as on a full disk", (4, 4, 2, 2, 2), "No space left on device"),
    Situation("stdout", "standard output fails, such as in a closed pipe", (4, 4, 2, 2, 2), "cannot write the output"),
    Situation("busy", "another campaign is measuring; try again later", (75, 75, None, None, None), "another campaign"),
    Situation("plugin", "an option of pytest would split, repeat or skip the cases", (4, 4, None, None, None), "leave"),
    Situation(
        "bug", "an error that samenet did not expect", (3, 3, 70, 70, 70), "this is a bug in samenet: ValueError"
    ),
    Situation("interrupted", "Ctrl-C", (2, 2, 130, 130, 130)),
)


def table() -> str:
    """Return the exit codes as Markdown."""
    head = ["situation", *Command]
    rows = [[each.text, *("" if code is None else str(code) for code in each.codes)] for each in SITUATIONS]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
