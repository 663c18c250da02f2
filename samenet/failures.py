"""Why a worker failed: the one line that says it, of a traceback or of the log of a process that has ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from impls.worker import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUEST_ERROR = re.escape(f"{RequestError.__module__}.{RequestError.__qualname__}")
# In a worker's log: Python's last words, and those of the library that XLA logs with, which begin with F and the date.
# Warnings come before them, and the place in the code after them.
FATAL = re.compile(r"Fatal|^F\d{4} ")
# Between the tracebacks of chained exceptions, of which the last one counts.
CHAIN = re.compile(
    r"^(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$",
    re.MULTILINE,
)


def first_line(formatted: str) -> str:
    """Return the type and the first line of the exception that ``formatted``, a traceback, ends with.

    A worker's own RequestError has them as its text. Otherwise the text is Python's: frames are indented, and those of
    an exception group have a bar in front.
    """
    sent = re.findall(rf"^{REQUEST_ERROR}: (.+)$", formatted, re.MULTILINE)
    if sent:
        return str(sent[-1])
    last = CHAIN.split(formatted)[-1]
    lines = [line.removeprefix("  | ") for line in last.splitlines()]
    own = [line for line in lines if line.strip() and not line.startswith((" ", "Traceback (most recent call last):"))]
    return own[0] if own else "an unknown error"


def last_words(written: Sequence[str]) -> str:
    """Return the line of a log that says why its process ended: a fatal error, or else the last one."""
    return next(filter(FATAL.search, written), written[-1]).strip()
