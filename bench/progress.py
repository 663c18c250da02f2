"""Shows what runs, how far it is and what is left, on a terminal and in a log."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Self

from rich import progress
from rich.console import Console

LOG_SECONDS = 30.0  # a log gets a line no more often than this


class Display:
    """A bar with the time left on a terminal, a line now and then elsewhere; a context manager."""

    def __enter__(self) -> Self:
        """Begin to draw on standard output, as it is now."""
        self._console = Console()
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left:"),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            refresh_per_second=1,  # the display may not take CPU from what is measured
        )
        self._console.line()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the bar."""
        self._bar.stop()

    def start(self, total: int | None) -> None:
        """``total`` pieces of work lie ahead, or nobody knows how many."""
        self._done, self._total = 0, total
        self._begin = self._last = time.monotonic()
        self._task = self._bar.add_task("", total=total)

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""
        self._bar.update(self._task, description=text, completed=self._done)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last > LOG_SECONDS or not self._done):
            elapsed = now - self._begin
            left = ""
            if self._total and self._done:
                seconds = elapsed / self._done * (self._total - self._done)
                left = f", about {timedelta(seconds=round(seconds))} left"
            count = f"{self._done}/{self._total} " if self._total else ""
            self._console.print(f"{count}{text} ({elapsed:.0f} s{left})", highlight=False)
            self._last = now
        self._done += 1

    def skip(self) -> None:
        """One piece of work turned out to have been done before: it takes no time, and says nothing of the others'."""
        if self._total:
            self._total -= 1
            self._bar.update(self._task, total=self._total)


class Silent:
    """Shows nothing, and remembers in ``texts`` what it was told."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self, total: int | None) -> None:
        """Ignore how much there is."""

    def advance(self, text: str) -> None:
        """Remember what comes next."""
        self.texts.append(text)

    def skip(self) -> None:
        """Ignore what has been done before."""
