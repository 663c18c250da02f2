"""What is shown while a campaign runs: a table on a terminal, a line for each launch in a log."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from bench import display
from bench.display import Display, render
from reports import so_far, terminal
from reports.streams import Output
from samenet import Iterations
from samenet.records import State
from samenet.results import ComparisonRecord, Outcome, Verdict
from samenet.stats import Estimate
from tests.support.frames import Screen, after, many_cases, results, speedup, without
from tests.support.saved_runs import case_result

if TYPE_CHECKING:
    from samenet.results import Results

WIDTHS = (80, 100, 140)
BUDGET = 120.0


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a stream that says it is a terminal be taken for a usual one."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def play(stream: io.StringIO, *launches: Results) -> None:
    """Show a campaign of these launches, each drawn once."""
    with Display(Output(stream), BUDGET) as shown:
        shown.start()
        shown.advance("the float64 reference")
        for number, now in enumerate(launches, 1):
            shown.advance(f"launch {number}, block 12: torch-cudagraph-cuda:1")
            shown.show(now)
            if stream.isatty():
                shown._live.refresh()


def of_revision(word: Outcome, ratio: Estimate) -> Results:
    """Return the results of ``--against`` after two launches."""
    unclear = Verdict("jax-cpu", Outcome.INCONCLUSIVE, reason="contended: " * 30)
    absent = Verdict("theano-cpu", Outcome.INCONCLUSIVE, reason="skipped: no interpreter")
    verdicts = (Verdict("numpy-cpu", word, ratio=ratio), unclear, absent)
    record = ComparisonRecord(revision="main", commit="c0ffee" * 6, tolerance=0.02, verdicts=verdicts)
    cases = [case_result("numpy"), without("jax", State.CONTENDED), without("theano", State.SKIPPED)]
    return results(cases, record, wall_seconds=50.0, measured_seconds=20.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_results_so_far_are_shown_after_each_launch(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Every frame fits, and has the case, the time and the speedup of every launch until then, whole."""
    monkeypatch.setenv("COLUMNS", str(width))
    launches = [after(number, many_cases()) for number in (1, 2, 3)]
    screen = Screen()
    play(screen, *launches)
    frames = [frame for frame in screen.frames if any("speedup over numpy-cpu" in line for line in frame)]
    assert len(frames) == len(launches)
    for frame, now in zip(frames, launches, strict=True):
        assert max(map(len, frame)) <= width
        assert "…" not in "".join(frame)
        assert "block 12: torch-cudagraph-cuda:1" in frame[0]
        for case in ("torch-cpu", "torch-cudagraph-cuda:1"):
            figures = (now[case].timed.text(), speedup(now, case, "numpy-cpu"))
            assert any(all(text in line for text in (case, *figures)) for line in frame)
        assert any(line.split() == ["jax-cpu", "undersubscribed"] for line in frame)
        assert "theano-cpu" not in "".join(frame)  # it is skipped: nothing more is learned of it


def test_nothing_of_it_is_left_for_the_summary() -> None:
    """The last frame is the line alone, and is cleared."""
    screen = Screen()
    play(screen, after(3, many_cases()))
    assert "numpy-cpu" not in "".join(screen.frames[-1])
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


def test_a_table_is_drawn_once_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second only the line above it is drawn anew."""
    counting = Mock(wraps=terminal.fit)
    monkeypatch.setattr(display, "fit", counting)
    with Display(Output(Screen()), BUDGET) as shown:
        shown.start()
        shown.show(after(3, many_cases()))
        for _ in range(5):
            shown._live.refresh()
    assert counting.call_count == 1


def test_a_terminal_that_is_too_narrow_has_the_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapped table could not be cleared."""
    monkeypatch.setenv("COLUMNS", "50")
    screen = Screen()
    play(screen, after(3, many_cases()))
    assert "speedup" not in screen.getvalue()
    assert "block 12" in screen.getvalue()


def test_verdicts_are_shown_against_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of speedups, with the ratio whole."""
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen()
    play(screen, of_revision(Outcome.SLOWER, Estimate(1.1, 1.05, 1.15)))
    (frame,) = (frame for frame in screen.frames if any("verdict" in line for line in frame))
    assert max(map(len, frame)) <= 80
    assert any(line.split(maxsplit=2) == ["numpy-cpu", "slower", "1.10 (1.05 to 1.15)"] for line in frame)


def test_a_log_has_one_line_for_each_launch() -> None:
    """With each speedup, each case that has no number, and the widest interval."""
    log = io.StringIO()
    launches = [after(number, many_cases()) for number in (1, 2, 3)]
    play(log, *launches)
    lines = log.getvalue().splitlines()
    assert lines[:2] == ["", "the float64 reference (0 s)"]
    assert len(lines) == 5
    for number, (line, now) in enumerate(zip(lines[2:], launches, strict=True), 1):
        figures = ", ".join(
            f"{case} {speedup(now, case, 'numpy-cpu')}" for case in ("torch-cudagraph-cuda:1", "torch-cpu")
        )
        start = f"launch {number}, {25 * number} s: {figures} times as fast as numpy-cpu; jax-cpu undersubscribed"
        assert line.startswith(start)
    assert re.fullmatch(r".*; widest ±\d+\.\d %", lines[-1])


def test_a_log_of_verdicts_has_their_ratios() -> None:
    """Of the cases that are measured."""
    log = io.StringIO()
    play(log, of_revision(Outcome.SAME, Estimate(1.001, 0.991, 1.011)))
    verdicts = "numpy-cpu same 1.001 (0.991 to 1.011), jax-cpu inconclusive"
    sentence = f"time over that at main: {verdicts}; widest ±1.0 %"
    assert log.getvalue().splitlines()[-1] == f"launch 5, 50 s: {sentence}"


def test_a_log_says_that_there_is_nothing_to_say() -> None:
    """A case that is alone has a time; without any there is a state."""
    alone = case_result("numpy")
    assert so_far.sentence(results([alone])).startswith(f"launch 5, 0 s: numpy-cpu {alone.timed.text(' s')}; widest ±")
    assert so_far.sentence(results([without("numpy", State.CONTENDED)])) == "launch 5, 0 s: numpy-cpu contended"
    assert so_far.sentence(results([])) == "launch 0, 0 s: no case has a number"


def test_a_log_of_five_minutes_has_thirty_lines_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve launches, of which each does something ten times a second."""
    now = 0.0
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: now))
    log = io.StringIO()
    with Display(Output(log), BUDGET) as shown:
        shown.start()
        for number in range(1, 13):
            for block in range(250):
                now += 0.1
                shown.advance(f"launch {number}, block {block}: numpy-cpu")
            shown.show(after(min(5, number), many_cases()))
    assert 13 <= len(log.getvalue().splitlines()) <= 30


def test_the_time_left_is_said_where_it_is_known() -> None:
    """From the budget or from the number of launches; not before the first one, nor of a resumed campaign."""
    case = case_result("numpy")
    open_end = results([case], wall_seconds=50.0, measured_seconds=40.0)
    assert so_far.seconds_left(open_end, 120.0, 5) == pytest.approx(100.0)
    counted = results([case], wall_seconds=50.0, measured_seconds=40.0, launches=10)
    assert so_far.seconds_left(counted, float("inf"), 5) == pytest.approx(50.0)
    assert so_far.seconds_left(open_end, float("inf"), 5) is None
    assert so_far.seconds_left(open_end, 120.0, 0) is None
    assert so_far.seconds_left(open_end, 120.0, 2) is None  # five launches, of which this session has seen two
    screen = Screen()
    play(screen, after(1, [case]))
    assert re.search(r"\d s, at most about 350 s left: launch 1, block 12", screen.getvalue())


def test_first_figures_are_shown_without_a_time_left() -> None:
    """They come before the first launch has ended, from which the time left is computed."""
    screen, log = Screen(), io.StringIO()
    for stream in (screen, log):
        with Display(Output(stream), BUDGET) as shown:
            shown.start()
            shown.advance("launch 1: torch-cpu starts")
            shown.preview(after(1, many_cases()))
            shown._live.refresh()
    assert "speedup" in screen.getvalue()
    assert "left" not in screen.getvalue()
    assert re.search("first figures, .* times as fast as numpy-cpu", log.getvalue())


def test_the_summary_has_the_baseline_of_the_table_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal's tables, live and at the end, and the line of a log."""
    monkeypatch.setenv("COLUMNS", "140")
    now = results([case_result("theano", 4.0), case_result("torch", 2.0), without("numpy", State.CONTENDED)])
    screen = Screen()
    play(screen, now)
    _, lines = render(Iterations(), now, Output(Screen()))
    for text in ("\n".join(lines), screen.getvalue()):
        assert "speedup over theano-cpu" in text
    assert "times as fast as theano-cpu" in so_far.sentence(now)
    assert max(len(line) for line in lines) <= 140
