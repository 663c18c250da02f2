"""What a terminal shows: what a campaign does, its results so far, and its tables at the end."""

from __future__ import annotations

import math
import time
from functools import singledispatch
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.segment import Segments
from rich.text import Text

from reports import chapter, sentences, so_far, tables, verdicts
from reports.streams import Output
from reports.terminal import as_lines, fit, open_console, say, wrap
from samenet import Epochs, Results, Scaling
from samenet.speedups import choose_baseline
from samenet.verdicts import Comparison

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from reports.document import Table
    from samenet.protocols import Protocol

LOG_SECONDS = 30.0  # a log in which nothing else happens gets a line no more often than this
PAGE = "python -m reports build"


class Display:
    """A line on what is done now and the results so far, or a line for each launch in a log; a context manager.

    ``budget_seconds`` is how long the campaign measures at most.
    """

    def __init__(self, output: Output, budget_seconds: float = math.inf) -> None:
        """Draw on ``output``."""
        self._output, self._budget = output, budget_seconds
        self._text, self._launches, self._end = "", 0, 0.0
        self._table: Table | None = None
        self._drawn: tuple[Table, int, Segments] | None = None  # a table as it looks in so many columns

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._console = open_console(self._output)
        # Nothing is drawn but once a second: the display may not take CPU from what is measured.
        self._live = Live(self, console=self._console, refresh_per_second=1, transient=True, vertical_overflow="crop")
        self._is_log = not self._output.isatty() or self._console.is_dumb_terminal
        self._begin, self._last = time.monotonic(), -math.inf
        self._console.line()
        if not self._is_log:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Clear it."""
        self._table = None  # its lines may be more than the terminal has
        self._live.stop()

    def start(self) -> None:
        """A campaign begins."""
        self._begin = time.monotonic()
        self._launches, self._end, self._table = 0, 0.0, None

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""
        self._text = text
        if self._is_log and time.monotonic() - self._last > LOG_SECONDS:
            self._log(f"{text} ({self._elapsed:.0f} s)")

    def preview(self, results: Results) -> None:
        """Some cases have started, and these are their first figures."""
        self._show(results, "first figures")

    def show(self, results: Results) -> None:
        """A launch has ended, and these are the results so far."""
        self._launches += 1
        left = so_far.seconds_left(results, self._budget, self._launches)
        self._end = self._elapsed + left if left else 0.0
        self._show(results)

    def _show(self, results: Results, what: str = "") -> None:
        if self._is_log:
            self._log(so_far.sentence(results, what))
        else:
            self._table = so_far.table(results)

    def _log(self, line: str) -> None:
        self._last = time.monotonic()
        say(line, self._console)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    @property
    def _line(self) -> str:
        elapsed = self._elapsed
        left = f", at most about {self._end - elapsed:.0f} s left" if self._end > elapsed else ""
        return f"{elapsed:.0f} s{left}: {self._text}" if self._text else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line, and below it the table, if the terminal is wide enough for it."""
        yield Text(wrap(self._line, console))
        table, width, drawn = self._table, options.max_width, self._drawn  # ``show`` is in another thread
        if table is None:
            return
        if drawn is None or drawn[0] is not table or drawn[1] != width:
            (part,) = fit(table, width)
            drawn = table, width, Segments(console.render(part.rich, options) if part.needed <= width else ())
            self._drawn = drawn
        yield Text()
        yield drawn[2]


@singledispatch
def render(protocol: Protocol, results: Results, output: Output) -> tuple[str, list[str]]:
    """Return the title and the lines that the terminal ``output`` shows of ``results``."""
    del protocol
    console = open_console(output)
    if results.against:
        compared = Comparison.saved(results.against)
        lines = [*as_lines(verdicts.table(compared), console, PAGE), wrap(compared.summary, console)]
        if not results.against.commit:  # versions, which differ in more than the step
            phases = tables.phases(results.cases, choose_baseline(results.cases))
            lines += as_lines(phases, console, PAGE) if phases.rows else []
        return compared.title, lines
    baseline = choose_baseline(results.cases)
    comparison = tables.comparison(results.cases, baseline, results.bound, results.peak)
    lines = as_lines(comparison, console, PAGE, drop=tables.IN_PHASES)
    phases = tables.phases(results.cases, baseline)
    if phases.rows:
        lines += as_lines(phases, console, PAGE)
    if results.noise_floor:
        lines.append(wrap(sentences.noise_sentence(results.noise_floor), console))
    if results.campaign.interrupted:
        interrupted = "interrupted: the blocks measured until then were kept; rerun with --resume to complete them"
        lines.append(wrap(interrupted, console))
    return f"{results.campaign.iterations:,} iterations of the same network", lines


@render.register
def _(protocol: Epochs, results: Results, output: Output) -> tuple[str, list[str]]:
    console = open_console(output)
    lines = as_lines(chapter.table([results.cases]), console, PAGE)
    lines.append(wrap(chapter.verdict([results.cases]), console))
    if results.campaign.interrupted:
        lines.append("interrupted: rerun the same command to resume")
    workload = results.cases[0].workload
    return f"{protocol.passes(workload):,} epochs of the same network", lines


@render.register
def _(protocol: Scaling, results: Results, output: Output) -> tuple[str, list[str]]:
    del protocol
    return "milliseconds of a step", as_lines(tables.scaling(results.cases), open_console(output), PAGE)
