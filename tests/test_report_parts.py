"""The parts of a report: how the unknown, the unfinished and the extreme are shown, and what a notebook is given."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import reports
from reports import verdicts
from reports.assemble import assemble
from reports.document import Role, Table
from reports.files import write
from reports.numbers import figure, mebibytes, moment, single
from reports.sentences import noise_sentence
from reports.tables import break_even, comparison, phases
from reports.terminal import as_lines, fit, open_console
from samenet.context import Machine
from samenet.environments import ROOT
from samenet.records import Launch, State
from samenet.results import CampaignRecord, NoiseFloor, Outcome, Results, Verdict
from samenet.speedups import choose_baseline
from samenet.stats import Estimate
from samenet.storage import read_storage
from tests.support.saved_runs import case_result, failed, record, run, save, timed_round

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Report

pytestmark = pytest.mark.filterwarnings("error")


def assembled(folder: Path, *runs: dict[str, Any]) -> Report:
    """Return the report on these runs."""
    for number, saved in enumerate(runs):
        save(folder, str(number), saved)
    return assemble(read_storage(folder))


def value(table: Table, what: str) -> str:
    """Return a fact of the machine table."""
    return next(row.cells["value"] for row in table.rows if row.cells["what"] == what)


def test_a_terminals_tables_need_no_matplotlib() -> None:
    """The harness prints them and draws nothing."""
    program = (
        "import reports, reports.terminal, reports.tables, reports.sentences, reports.chapter, sys;"
        " sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_notebook_gets_a_frame_and_a_picture() -> None:
    """One row a case, unrounded, the fastest first; a case without a number has none."""
    lost = replace(case_result("jax"), state=State.FAILED, reason="it crashed", seconds=None, efficiency=None)
    cases = (case_result("numpy", 3.0), case_result("torch", 2.0), lost)
    results = Results(
        machine=Machine(hardware={}, fingerprint="f"),
        campaign=CampaignRecord(rounds=1, launches=5, seed=0, wall_seconds=1.0),
        cases=cases,
    )
    frame = reports.to_frame(results)
    assert list(frame["case"]) == ["torch-cpu", "numpy-cpu", "jax-cpu"]
    assert frame["seconds"].iloc[0] == cases[1].timed.value
    assert frame["speedup"].iloc[1] == 1
    assert pd.isna(frame["seconds"].iloc[2])
    picture = reports.draw_speedups(results)
    assert picture.svg.startswith("<svg")
    assert picture._repr_svg_() == picture.svg
    with pytest.raises(ValueError, match="no case of these results is valid"):
        reports.draw_speedups(replace(results, cases=(lost,)))


@pytest.mark.parametrize(("campaign", "word"), [("unfinished", "so far"), ("interrupted", "")])
def test_a_campaign_that_did_not_end_is_marked(tmp_path: Path, campaign: str, word: str) -> None:
    """In the first sentence of the report, in the history and in the table of groups."""
    report = assembled(tmp_path, run(record()), run(record("numpy", 2.1), hours=1, campaign={campaign: True}))
    (section,) = report.sections
    so_far = f"5 blocks {word}".strip()
    assert report.verdict.startswith(f"{campaign.capitalize()} campaign: 5 of 5 launches, {so_far}. numpy-cpu is")
    assert report.groups.rows[0].cells["newest"] == f"2026-01-01 01:00 UTC, {campaign}"
    (runs,) = (table for table in section.tables if table.name == "history")
    assert [row.cells["measured at"] for row in runs.rows] == [
        f"2026-01-01 01:00 UTC, {campaign}",
        "2026-01-01 00:00 UTC",
    ]


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ([1.0, 1.05, 1.05, 1.05, 1.05], ""),
        ([1.0, 1.0, 1.0, 1.5, 1.5], ""),  # the median of a launch counts
        ([1.3], ""),  # which few blocks do not tell
        ([1.3, 1.3, 1.3, 1.0, 1.0], "in the slowest launch numpy-matmul-cpu took 1.30 times as long as in the fastest"),
    ],
)
def test_a_machine_that_changed_its_speed_is_pointed_out(blocks: list[float], sentence: str) -> None:
    """By the bound's launches, of which the second has these blocks and the first five of 1 s."""
    walls = [[1.0] * 5, blocks]
    rounds = [
        replace(timed_round(launch, wall), turn=turn)
        for launch, launch_walls in enumerate(walls)
        for turn, wall in enumerate(launch_walls)
    ]
    bound = replace(case_result("numpy-matmul"), rounds=tuple(rounds))
    found = [note for note in comparison([case_result()], "numpy-cpu", bound).notes if "changed its speed" in note]
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


def test_a_report_says_what_the_bound_is_and_what_against_concluded(tmp_path: Path) -> None:
    """The BLAS of the bound, and the verdicts with their ratios."""
    saved = run(record("numpy"), record("torch", verdict={"case": "torch-cpu", "word": "slower", "reason": "so"}))
    saved["samenet"]["bound"] = record("numpy-matmul", 0.9, manifest={"blas": "its own"})
    (section,) = assembled(tmp_path, saved).sections
    sentence = "The bound is numpy-matmul-cpu: the step's matrix products alone, by its own"
    assert any(note.startswith(sentence) for note in section.main.notes)
    (against,) = (table for table in section.tables if table.name == "against")
    assert [dict(row.cells) for row in against.rows] == [
        {"case": "torch-cpu", "verdict": "slower", "after / before": "", "reason": "so"}
    ]


def test_a_verdict_shows_its_ratio() -> None:
    """As the terminal does at once."""
    verdict = Verdict("numpy-cpu", Outcome.SLOWER, ratio=Estimate(1.1, 1.05, 1.2))
    table = verdicts.of_cases([replace(case_result(), verdict=verdict)])
    assert table.rows[0].cells["after / before"] == figure(verdict.ratio)


def test_the_unknown_has_one_word(tmp_path: Path) -> None:
    """Of the machine, of a case and of a commit; what is absent, such as the figures of a failed case, stays empty."""
    bare = {"governor": None, "gpu_driver": None, "load_average": None, "hardware": {"gpus": ["H100"]}}
    saved = run(record(peak_bytes=None, manifest={"loop": "Python"}), record("torch"), failed("jax"), machine=bare)
    saved["commit_info"] = {"id": "unversioned"}
    report = assembled(tmp_path, saved)
    (section,) = report.sections
    assert section.title.startswith("Group 1: CPU unknown, 2 threads")
    (machine,) = (table for table in section.tables if table.name == "machine")
    facts = ("GPU driver", "governor", "load average before")
    assert [value(machine, what) for what in facts] == ["unknown"] * 3
    assert value(machine, "commit") == "no commit"
    cells = {row.cells["case"]: row.cells for row in section.main.rows}
    assert cells["numpy-cpu"]["peak memory (MiB)"] == "unknown"
    assert cells["jax-cpu"].get("peak memory (MiB)", "") == ""
    (facts_of_cases,) = (table for table in section.tables if table.name == "manifest")
    assert [row.cells["loop"] for row in facts_of_cases.rows] == ["Python", "unknown", "unknown"]


def test_the_cpus_and_the_threads_that_worked_are_shown(tmp_path: Path) -> None:
    """With the quota, in the table of the machine; of the threads the fewest and most of all launches."""
    launches = [{"launch": number, "threads_working": working} for number, working in enumerate((2, 3, 2))]
    saved = run(
        record(launches=launches),
        record("torch", launches=launches[:1]),
        record("jax"),
        machine={"cpus": [2, 5], "cpu_quota": 2.5},
    )
    (section,) = assembled(tmp_path, saved).sections
    tables = {table.name: table for table in section.tables}
    assert [value(tables["machine"], what) for what in ("CPUs", "CPU quota")] == ["2,5", "2.5"]
    seen = {row.cells["case"]: row.cells["threads working"] for row in tables["manifest"].rows}
    assert seen == {"numpy-cpu": "2-3", "torch-cpu": "2", "jax-cpu": "unknown"}


def test_a_blas_that_does_not_know_the_processor_is_pointed_out(tmp_path: Path) -> None:
    """As the OpenBLAS in old wheels on a new CPU: its kernels are those of 2004, and the row is not the framework's."""
    pools = [
        {"internal_api": "openblas", "num_threads": 2, "version": "0.3.21", "architecture": architecture}
        for architecture in ("Prescott", "SkylakeX")
    ]
    strange = record("mxnet", thread_pools=[{"architecture": "Prescott"}])  # as no worker writes it
    saved = run(record("theano", thread_pools=pools), strange, record(thread_pools=pools[1:]))
    (section,) = assembled(tmp_path, saved).sections
    notes = [each for each in section.main.notes if "does not know this processor" in each]
    assert [note.partition(" that")[0] for note in sorted(notes)] == [
        "mxnet-cpu computes with an OpenBLAS (unknown)",
        "theano-cpu computes with an OpenBLAS (0.3.21)",
    ]


def test_phases_that_were_not_measured_are_unknown() -> None:
    """A launch that started next to another one has no phases, and no break-even follows from it."""
    launches = tuple(Launch(launch=number) for number in range(5))
    cases = [case_result("numpy", 3.0), replace(case_result("torch"), launches=launches)]
    (torch, _) = phases(cases, "numpy-cpu").rows
    assert torch.cells["ahead of numpy-cpu (steps)"] == "unknown"
    assert comparison(cases, "numpy-cpu").rows[2].cells["build, cold (s)"] == "unknown"


def test_a_run_in_which_no_case_is_valid_is_reported(tmp_path: Path) -> None:
    """All that its tables have is states and reasons."""
    contended = [failed(name) | {"state": "contended"} for name in ("numpy", "torch")]
    report = assembled(tmp_path, run(*contended), run(*contended, hours=1))
    assert report.verdict == "No case of this run has a valid time."
    assert [row.marked for row in report.sections[0].main.rows] == [False, False, True, True]
    assert write(report, tmp_path / "out").exists()


@pytest.mark.parametrize("field", ["peak_bytes", "iterations"])
@pytest.mark.parametrize("size", [2**62, 10**18])
def test_large_integers_break_no_table(tmp_path: Path, field: str, size: int) -> None:
    """What the reader lets through can be written."""
    report = assembled(tmp_path, run(*(record(name) | {field: size} for name in ("numpy", "torch"))))
    assert write(report, tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("seconds", "high"), 1e308),
        (("efficiency", "high"), 1e308),
        (("efficiency", "low"), 5e-324),
        (("launches", 0, "start_seconds"), float("inf")),
        (("launches", 1, "import_seconds"), float("inf")),
        (("launches", 1, "import_seconds"), -1e25),
        (("launches", 1, "file_bytes"), 10**15),
        (("environment_bytes",), -1),
        (("rounds", 0, "wall_seconds"), 5e-324),
        (("rounds", 0, "wall_seconds"), 1e25),
        (("curve", 1, "error_percent"), 1e308),
        (("curve", 1, "error_percent"), 0),
        (("curve", 1, "seconds"), -1e25),
        (("losses", 0), float("nan")),
    ],
)
def test_no_number_takes_the_report_down(tmp_path: Path, place: tuple[str | int, ...], value: float) -> None:
    """The file is left out, or its tables and pictures are made."""
    case: Any = record("numpy", 3.0)
    *path, last = place
    field = case
    for key in path:
        field = field[key]
    field[last] = value
    asked = [case | {"asked_version": {"package": "numpy", "version": str(number)}} for number in range(3)]
    versions = run(*(each | {"case": f"numpy-cpu @ {number}"} for number, each in enumerate(asked)), hours=1)
    report = assembled(tmp_path, run(case, record("torch")), run(record(), hours=-1), versions)
    assert "numpy-cpu" in write(report, tmp_path / "out").read_text()


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00"])
def test_no_date_takes_the_report_down(tmp_path: Path, when: str) -> None:
    """A year that no calendar of a picture has is not one of a measurement."""
    report = assembled(tmp_path, run(record()) | {"datetime": when}, run(record(), hours=-1), run(record(), hours=-2))
    assert report.rejected is not None
    assert write(report, tmp_path / "out").exists()


def test_a_table_says_once_which_rows_are_pinned_and_marked() -> None:
    """The terminal and the page take it from there."""
    lost = replace(case_result("jax"), state=State.SKIPPED, reason="no interpreter", seconds=None)
    table = comparison([case_result(), lost], "numpy-cpu")
    assert table.role is Role.MAIN
    assert [(row.pinned, row.marked) for row in table.rows] == [(True, False)] * 2 + [(False, False), (False, True)]
    (part,) = fit(table, 200)
    assert [str(row.style) for row in part.rich.rows] == ["dim", "dim", "", "red"]


def test_dates_are_in_one_zone_which_is_named() -> None:
    """Two runs saved in two zones at the same moment show the same time."""
    here = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=9)))
    assert moment(here) == moment(here.astimezone(UTC)) == "2025-12-31 17:00 UTC"


def test_one_round_has_no_interval_and_breaks_nothing(tmp_path: Path) -> None:
    """The harness saves null as the ends of such an interval."""
    numpy = record("numpy", seconds={"value": 2.0, "low": None, "high": None}, efficiency=None)
    torch = record("torch", 1.0)
    for case in numpy, torch:
        case["rounds"] = case["rounds"][:1]
    report = assembled(tmp_path, run(numpy, torch))
    assert "2.00 (no interval)" in "\n".join(as_lines(report.sections[0].main, open_console(io.StringIO()), "The page"))
    assert "torch-cpu and numpy-cpu have too few pairs of valid blocks for a comparison on this CPU;" in report.verdict
    assert noise_sentence(NoiseFloor(case="numpy-cpu")).startswith("Noise floor: unknown; numpy-cpu and its twin")


def test_the_baseline_is_chosen_in_one_place() -> None:
    """The wanted one, numpy, Theano, or else the slowest, if it is valid."""
    cases = [case_result("torch", 1.0), case_result("jax", 2.0), case_result("theano", 1.5), case_result("numpy", 1.7)]
    assert choose_baseline(cases, "jax-cpu") == "jax-cpu"
    assert choose_baseline(cases) == "numpy-cpu"
    assert choose_baseline(cases[:3]) == "theano-cpu"
    assert choose_baseline(cases[:2]) == "jax-cpu"
    assert choose_baseline([]) == "numpy-cpu"


@pytest.mark.parametrize(
    ("start", "step", "expected"),
    [(5, 0.01, "from 400"), (0.5, 0.03, "until 50"), (5, 0.03, "never"), (0.5, 0.01, "from 0"), (5, 0.02, "never")],
)
def test_break_even_is_where_the_lines_cross(start: float, step: float, expected: str) -> None:
    """Against a baseline that starts in 1 s and takes 0.02 s a step."""
    assert break_even(start, step, 1.0, 0.02) == expected


def test_digits_follow_what_is_known() -> None:
    """The interval decides; what was measured once has two digits."""
    assert figure(Estimate(12.3456, 12.1, 12.6)) == "12.3 (12.1 to 12.6)"
    assert figure(Estimate(12.3456, 10.1, 15.6)) == "12 (10 to 16)"
    assert figure(Estimate(12.3456, 12.3456, 12.3456 + 1e-13)) == "12.346 (12.346 to 12.346)"
    assert [single(number) for number in (26.4, 0.0123, 3.14159, 0.0)] == ["26", "0.012", "3.1", "0"]
    assert [mebibytes(count) for count in (2**28, None, 10**400 * 2**20)] == ["256", "unknown", str(10**400)]
