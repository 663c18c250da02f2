"""Tables on terminals of several widths: every figure is whole, and what has no room is named."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from impls.workload import Workload
from reports import changes, chapter, histories, tables, verdicts
from reports.terminal import as_lines, fit, open_console, show, wrap
from samenet.records import State
from samenet.results import Outcome, Verdict
from samenet.stats import Estimate
from samenet.storage import read_storage
from samenet.verdicts import Comparison
from tests.support.frames import LONGEST, Screen, many_cases, without
from tests.support.saved_runs import case_result, record, run, save, training_result

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from reports.document import Table

WIDTHS = (80, 100, 140)
SIZES = [
    *({"hidden": hidden} for hidden in (100, 250, 1000, 2000, 4000)),
    *({"batch_size": 2**n} for n in range(5, 10)),
]

GOLDEN = """
case               1,000 iterations (s)  speedup over numpy-cpu  state
──────────────────────────────────────────────────────────────────────────────
book, Theano, CPU  3096*                                         1,000 epochs*
book, Theano, GPU  355*                                          1,000 epochs*
numpy-cpu          6.92 (6.85 to 6.99)   1                       valid
torch-cpu          8.47 (8.39 to 8.56)   0.814 (0.798 to 0.830)  valid
jax-cpu                                                          contended

Versions: python 3.11.7, numpy 1.0, torch 1.0, jax 1.0.
Left out here: of bound (%); GFLOP/s; error train/val/test (%); build, cold (s);
first step, cold (s); peak memory (MiB). The page shows them.
* The book's runs took 1,000 epochs, which are 83,000 iterations, and 2 % is
their training error.
jax-cpu is contended: it is so
"""


def console(width: int) -> Console:
    """Return a console on a terminal of this width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        return open_console(Screen())


def scaling() -> Table:
    """Return a table of ten sizes."""
    names = ("numpy", "torch-compile", "pytensor-jax")
    sized = [case_result(name, workload=Workload(**size)) for name in names for size in SIZES]
    return tables.scaling([*sized, replace(without("jax", State.UNDERSUBSCRIBED), workload=Workload(hidden=100))])


def verdict() -> Table:
    """Return verdicts, one with a reason that no terminal has room for."""
    long = Verdict("jax-cpu", Outcome.UNVERIFIED, reason="unverified: " + "b1 is off by more than it may be; " * 5)
    short = Verdict(LONGEST, Outcome.INCONCLUSIVE, ratio=Estimate(1.23456, 1.23444, 1.23469), reason="it straddles 2 %")
    return verdicts.table(Comparison(before="main", after="this tree", tolerance=0.02, verdicts=[short, long]))


def over_time(folder: Path) -> list[Table]:
    """Return the tables of a history with a step in it and a new version."""
    for number in range(24):
        slow = number >= 12
        case = record("torch-cudagraph", 2 + slow, versions={"torch": f"2.{13 + slow}.0"})
        save(folder, f"{number:04}", run(case, hours=number, commit=f"{number:040x}"))
    groups = read_storage(folder).groups
    every = histories.histories(groups)
    return [changes.table(changes.of_histories(every), groups), histories.table(every, groups)]


@pytest.fixture(scope="module")
def every_table(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """Return each kind of table that a terminal shows, with long names and figures in it."""
    cases = many_cases()
    trained = [training_result("torch-cudagraph", 3100.5), training_result("numpy", 700.0, device="cuda")]
    compared = [tables.comparison(cases, "numpy-cpu"), tables.phases(cases, "numpy-cpu"), chapter.table([trained])]
    return [*compared, scaling(), verdict(), *over_time(tmp_path_factory.mktemp("history"))]


@pytest.mark.parametrize("width", [*WIDTHS, 300])
def test_every_table_fits_and_cuts_no_figure(every_table: list[Table], width: int) -> None:
    """What is never left out is on one line with its case: the time and the speedup with their intervals."""
    assert len(every_table) == 7
    for table in every_table:
        lines = as_lines(table, console(width), "The page")
        assert max(map(len, lines)) <= width, table.name
        assert "…" not in "\n".join(lines)
        always = [column.name for column in table.columns if column.rank == 0]
        for row in table.rows:
            texts = [row.cells.get(name, "") for name in always]
            assert any(all(text in line for text in texts) for line in lines), (table.name, texts)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_column_is_shown_or_named_or_replaced(every_table: list[Table], width: int) -> None:
    """One line says what is missing and where it is; nothing is said where nothing is missing."""
    for table in every_table:
        lines = as_lines(table, console(width), "The page")
        shown = {column.name for part in fit(table, width) for column in part.columns}
        missing = {column.name for column in table.columns} - shown - set(table.instead)
        said = " ".join(lines)
        assert ("Left out here: " in said) == bool(missing)
        assert all(name in said.partition("Left out here: ")[2] for name in missing)
        assert not missing or "The page shows them." in said


@pytest.mark.parametrize("width", [*range(80, 200, 7)])
def test_a_case_without_a_number_says_so_at_every_width(width: int) -> None:
    """Its state has a column, or the place of the figures that it has not."""
    lines = as_lines(tables.comparison(many_cases(), "numpy-cpu"), console(width), "The page")
    for case, state in (("jax-cpu", "undersubscribed"), ("theano-cpu", "skipped")):
        assert any(line.split() == [case, state] for line in lines)


def test_a_table_of_many_sizes_is_shown_in_parts() -> None:
    """Each part has the cases again, and every size is in one of them."""
    table = scaling()
    parts = fit(table, 80)
    assert len(parts) > 1
    assert {part.columns[0] for part in parts} == {table.columns[0]}
    assert [column for part in parts for column in part.columns[1:]] == list(table.columns[1:])
    assert len(fit(table, 300)) == 1


def test_versions_and_reasons_are_below_a_narrow_table() -> None:
    """Each package once, with all its versions."""
    newer = replace(case_result("torch"), versions={"python": "3.11.7", "numpy": "2.4.6", "torch": "2.13.0"})
    older = replace(case_result("theano"), versions={"python": "3.11.7", "numpy": "1.23.5"})
    text = "\n".join(as_lines(tables.comparison([newer, older], "theano-cpu"), console(100), "The page"))
    assert "\nVersions: python 3.11.7, numpy 2.4.6 and 1.23.5, torch 2.13.0.\n" in text
    assert "jax-cpu: unverified: b1 is off" in "\n".join(as_lines(verdict(), console(100), "The page"))


def test_a_sentence_is_wrapped_on_a_terminal_alone() -> None:
    """Between words, never inside of an interval; a log has it on one line, for those who search it."""
    sentence = "this run says that the ratio is 1.003 (0.991 to 1.015) and nothing else, " * 5
    lines = wrap(sentence, console(80)).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines) == sentence.strip()
    assert "\n".join(lines).count("1.003 (0.991 to 1.015)") == 5
    assert wrap(sentence, open_console(io.StringIO())) == sentence


@pytest.mark.parametrize(("columns", "width"), [(None, 100), ("123", 123), ("wide", 100), ("0", 40)])
def test_a_log_is_100_columns_wide(monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int) -> None:
    """Unless COLUMNS says something that can be used."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert open_console(io.StringIO()).width == width


def test_a_terminal_that_is_too_narrow_gets_whole_figures() -> None:
    """It wraps the lines by itself."""
    table = tables.comparison(many_cases(), "numpy-cpu")
    lines = as_lines(table, console(40), "The page")
    assert any(LONGEST in line and "1.2345 (1.2345 to 1.2345)" in line for line in lines)


def test_a_terminal_that_knows_ascii_alone_gets_ascii() -> None:
    """The line below the headings is made of hyphens there."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(tables.comparison([case_result()], "numpy-cpu"), open_console(stream), "The page")
    stream.flush()
    shown = raw.getvalue().decode("ascii")
    assert "\n----" in shown
    assert "?" not in shown


def test_the_comparison_on_80_columns() -> None:
    """All of it, as a reader sees it."""
    cases = [case_result("numpy", 6.9), case_result("torch", 8.5), without("jax", State.CONTENDED)]
    lines = as_lines(tables.comparison(cases, "numpy-cpu"), console(80), "The page")
    assert "\n".join(lines) == GOLDEN.rstrip("\n")
