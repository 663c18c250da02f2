"""Standard output and error that cannot fail a build: a character or a stream that is missing is no regression."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO


def prepare() -> None:
    """Make both streams exist, and let the output replace what the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open until the end
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors != "replace":
        sys.stdout.reconfigure(errors="replace")  # flushes, and so can fail once something is buffered


class Output:
    """A stream that is written until it fails, and then discards what comes; ``error`` says why it failed, if so."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self.error = ""

    def write(self, text: str) -> int:
        """Write ``text``."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._end(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        self.error = self.error or sentence(error)
        detach(self._stream)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever else the stream has
        """Return an attribute of the stream."""
        return getattr(self._stream, name)


def complain(text: str) -> None:
    """Write a line to the standard error output."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # it is closed: the exit code is all that is left
        detach(sys.stderr)


def sentence(error: Exception) -> str:
    """Return an error as a sentence on the input or an output."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"cannot use {error.filename}: {reason}" if error.filename else f"cannot write the output: {reason}"
    return str(error)


def detach(stream: TextIO) -> None:
    """Discard what is still buffered in ``stream``, which is closed: writing it at exit would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def flush() -> None:
    """Write what is buffered for the output; where that fails, it has been reported before."""
    try:
        sys.stdout.flush()
    except OSError:
        detach(sys.stdout)
