"""What a terminal shows: the progress of a campaign, and its tables at the end."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import singledispatch
from typing import TYPE_CHECKING, Self, TextIO, cast

from rich import progress
from rich.console import Console

from reports import chapter, sentences, tables, verdicts
from reports.cases import choose_baseline
from reports.terminal import as_text
from samenet import Epochs, Results, Scaling
from samenet.verdicts import Comparison

if TYPE_CHECKING:
    from reports.streams import Output
    from samenet.protocols import Protocol

LOG_SECONDS = 30.0  # a log gets a line no more often than this


class Display:
    """A bar with the time left on a terminal, a line now and then elsewhere; a context manager."""

    def __init__(self, output: Output) -> None:
        """Draw on ``output``."""
        self._output = output

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._console = Console(file=cast("TextIO", self._output))
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
        """A campaign of ``total`` pieces of work begins; None if their number is unknown."""
        self._done, self._total = 0, total
        self._begin = self._last = time.monotonic()
        self._task = self._bar.add_task("", total=total)

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""
        self._bar.update(self._task, description=text, completed=self._done)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last > LOG_SECONDS or not self._done):
            self._console.print(f"{self._count} {text} ({self._elapsed(now)})".lstrip(), highlight=False)
            self._last = now
        self._done += 1

    @property
    def _count(self) -> str:
        return f"{self._done}/{self._total}" if self._total else ""

    def _elapsed(self, now: float) -> str:
        elapsed = now - self._begin
        if not (self._total and self._done):
            return f"{elapsed:.0f} s"
        left = elapsed / self._done * (self._total - self._done)
        return f"{elapsed:.0f} s, about {timedelta(seconds=round(left))} left"

    def skip(self) -> None:
        """One piece of work had been done before: it takes no time, and says nothing of the others'."""
        if self._total:
            self._total -= 1
            self._bar.update(self._task, total=self._total)


@singledispatch
def render(protocol: Protocol, results: Results) -> tuple[str, list[str]]:
    """Return the title and the lines that a terminal shows of ``results``."""
    del protocol
    if results.against:
        compared = Comparison.saved(results.against)
        return compared.title, [as_text(verdicts.table(compared)), *compared.notes, compared.summary]
    baseline = choose_baseline(results.cases)
    comparison = tables.comparison(results.cases, baseline, results.bound)
    lines = [as_text(comparison, drop=tables.DETAIL), *comparison.notes]
    phases = tables.phases(results.cases, baseline)
    if phases.rows:
        lines.append(as_text(phases))
    if results.noise_floor:
        lines.append(sentences.noise_sentence(results.noise_floor))
    if results.campaign.interrupted:
        lines.append("interrupted: the rounds measured until then were kept; rerun with --resume to complete them")
    return f"{results.campaign.iterations:,} iterations of the same network", lines


@render.register
def _(protocol: Epochs, results: Results) -> tuple[str, list[str]]:
    table = chapter.table([results.cases])
    lines = [as_text(table), *table.notes, chapter.verdict([results.cases])]
    if results.campaign.interrupted:
        lines.append("interrupted: rerun the same command to resume")
    workload = results.cases[0].workload
    return f"{protocol.passes(workload):,} epochs of the same network", lines


@render.register
def _(protocol: Scaling, results: Results) -> tuple[str, list[str]]:
    del protocol
    return "milliseconds of a step", [as_text(tables.scaling(results.cases))]
