"""``python -m reports build`` as its users run it, on runs of the real harness and on files broken on purpose."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pexpect
import pytest

from impls.workload import Workload
from reports.load import read_storage
from reports.stats import Estimate
from reports.tables import break_even, figure, single
from tests.conftest import ROOT
from tests.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    from tests.conftest import Bench

EVIL = "<script>alert(1)</script>|$x$\\input{y}_%&"


def build(storage: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m reports build`` on ``storage``; the report lies in ``storage/out``."""
    command = [sys.executable, "-m", "reports", "build", "--storage", str(storage), "--out", str(storage / "out")]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def seconds(case: dict[str, Any]) -> dict[tuple[int, int], float]:
    """Return a saved case's undisturbed rounds, read without the project's own code."""
    return {(each["launch"], each["turn"]): each["wall_seconds"] for each in case["rounds"] if not each["disturbance"]}


def test_every_format_shows_the_figures_of_the_saved_run(bench: Bench, tmp_path: Path) -> None:
    """A real campaign, with a crash and wrong arithmetic in it; everything recomputed from its JSON by other means."""
    bench("-k", "numpy-cpu or crashing or forgetful", "--rounds", "5", "--benchmark-save=one", plugins=True)
    (path,) = tmp_path.rglob("*.json")
    saved = json.loads(path.read_text())
    case = next(each["extra_info"] for each in saved["benchmarks"] if each["param"] == "numpy-cpu")
    assert case["state"] == "valid"
    without = {each["case"]: each for each in saved["samenet"]["cases_without_number"]}
    assert {"crashing-cpu", "forgetful-cpu"} <= set(without)
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    table = {row["case"]: row for row in rows(out / "csv/group-1-comparison.csv")}
    found = table["numpy-cpu"]
    assert float(found["seconds"]) == median(seconds(case).values()) == case["seconds"]["value"]
    assert float(found["seconds_low"]) == case["seconds"]["low"]
    assert float(found["efficiency"]) == case["efficiency"]["value"]
    assert float(found["test_error_percent"]) == case["error_rates"]["test"]
    assert float(found["build_seconds_cold"]) == case["launches"][0]["build_seconds"]
    assert float(found["peak_bytes"]) == case["peak_bytes"]
    shown = figure(Estimate(**case["seconds"]))
    page, markdown = (out / "report.html").read_text(), (out / "report.md").read_text()
    tex = (out / "tex/group-1-comparison.tex").read_text()
    for text in (page, markdown, tex, result.stdout):
        assert shown in text
        assert "3096" in text
        for name, each in without.items():
            assert name in text
            assert each["state"] in text
    for name, each in without.items():
        assert table[name]["reason"] == each["reason"]
        assert {table[name][key] for key in ("seconds", "speedup", "efficiency", "test_error_percent")} == {""}
        assert f"{name} is {each['state']}: " in page
    assert (out / "report.html").as_uri() in result.stdout
    assert "\x1b" not in result.stdout
    command = [str(Path(sys.executable).parent / "pytest-benchmark"), "--storage", str(tmp_path)]
    for action in (["list"], ["compare", "0001"]):
        assert subprocess.run([*command, *action], capture_output=True, check=False).returncode == 0


def test_speedups_are_medians_of_paired_ratios(tmp_path: Path) -> None:
    """Over the baseline that was asked for, in the same campaign, pair by pair."""
    slow, fast = record("theano", 4.0), record("torch", 2.0)
    save(tmp_path, "one", run(slow, fast))
    assert build(tmp_path).returncode == 0
    table = {row["case"]: row for row in rows(tmp_path / "out/csv/group-1-comparison.csv")}
    base, other = seconds(slow), seconds(fast)
    assert float(table["torch-cpu"]["speedup"]) == median(base[key] / other[key] for key in base)
    assert "torch-cpu trains this network 2.0" in (tmp_path / "out/report.md").read_text().splitlines()[2]
    assert build(tmp_path, "--baseline", "torch-cpu").returncode == 0
    table = {row["case"]: row for row in rows(tmp_path / "out/csv/group-1-comparison.csv")}
    assert float(table["theano-cpu"]["speedup"]) == median(other[key] / base[key] for key in base)
    result = build(tmp_path, "--baseline", "tensorflow-cpu")
    assert result.returncode == 2
    assert "choose one of: theano-cpu, torch-cpu" in result.stderr


def test_the_error_is_drawn_against_iterations_and_seconds(tmp_path: Path) -> None:
    """Only of valid cases; seconds are the steps' own where no clock ran, else what was saved; old runs have none."""
    saved_numpy, timed = record("numpy", 4.0), record("torch", 1.0)
    timed["curve"] = [{"updates": 1000, "seconds": 1.5, "error_percent": 2.5}]
    save(tmp_path, "one", run(saved_numpy, timed, record("old", curve=[]), failed("jax")))
    assert build(tmp_path).returncode == 0
    step = saved_numpy["seconds"]["value"] / 1000
    found = rows(tmp_path / "out/csv/group-1-error-data.csv")
    assert {row["case"] for row in found} == {"numpy-cpu", "torch-cpu"}
    for row in found:
        seconds = 1.5 if row["case"] == "torch-cpu" else float(row["iterations"]) * step
        assert float(row["seconds"]) == pytest.approx(seconds)
    page = (tmp_path / "out/report.html").read_text()
    assert "Validation error of 2 cases, from 90 % down to" in page
    assert "2.50 (1.5 s)" in page
    old = record()
    del old["curve"]
    save(tmp_path, "two", run(old, hours=1))
    assert build(tmp_path).returncode == 0
    assert not list((tmp_path / "out").rglob("*error*"))


def test_cpu_and_gpu_stand_beside_the_books(tmp_path: Path) -> None:
    """Per implementation, paired; and where there is no GPU, it says so."""
    cpu, gpu = record("torch", 4.0), record("torch", 0.5, device="cuda")
    for launch, seconds in zip(gpu["launches"], (0.2, None, 0.031, 0.03), strict=False):
        launch["transfer_seconds"] = seconds
    save(tmp_path, "one", run(cpu, gpu, record("numpy", 3.0)))
    assert build(tmp_path).returncode == 0
    (row,) = rows(tmp_path / "out/csv/group-1-gpu.csv")
    assert float(row["value"]) == pytest.approx(8, rel=0.05)
    assert float(row["transfer_seconds"]) == 0.031
    markdown = (tmp_path / "out/report.md").read_text()
    assert re.search(r"\n\| torch .*\| +0\.031 \|\n", markdown)
    assert re.search(r"book, Theano +\| +3096\\\* +\| +355\\\* +\| +8\.7 ", markdown)
    assert "torch-cuda trains this network" in markdown
    save(tmp_path, "two", run(record("numpy", 3.0), hours=1))
    assert build(tmp_path).returncode == 0
    assert "There is no GPU row" in (tmp_path / "out/report.md").read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"benchmarks": [', "is no JSON of pytest-benchmark, or is cut short"),
        ("", "is no JSON of pytest-benchmark, or is cut short"),
        ("\ufffe\x00", "is no JSON of pytest-benchmark, or is cut short"),
        ("[1, 2]", "is no JSON of pytest-benchmark, or is cut short"),
        ('{"benchmarks": [], "datetime": "x"}', "saved by plain pytest-benchmark, without samenet&#39;s fields"),
        (run(record()) | {"samenet": {"schema": 0}}, "has schema 0, and this version reads schema 1; measure again"),
        (run(record()) | {"samenet": {"schema": 9}}, "has schema 9, and this version reads schema 1; update samenet"),
        (run(record(iterations="many")), "does not fit schema 1: benchmarks.0.extra_info.Case.iterations"),
        (run(record(seconds=None)), "numpy-cpu is valid and has no seconds"),
        (run(record(seconds={"value": -1, "low": 0, "high": 1})), "numpy-cpu has an estimate of -1"),
        (run(record() | {"workload": {"hidden": 0}}), "hidden is 0; it must be 1 or more"),
        (run(record(rounds=[])), "has numpy-cpu as valid without its rounds and launches"),
        (run(), "holds no case of samenet"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and " " in value else "",
)
def test_a_bad_file_is_marked_and_hides_no_other(tmp_path: Path, content: object, reason: str) -> None:
    """Its row says why it was left out; the good run beside it is reported."""
    save(tmp_path, "good", run(record("numpy"), record("torch", 1.0)))
    path = save(tmp_path, "bad", content)
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Files left out, with their reasons below: 1." in result.stdout
    page = (tmp_path / "out/report.html").read_text()
    assert "bad.json" in page
    assert reason in page
    assert "torch-cpu" in page


def test_what_cannot_be_opened_is_marked_too(tmp_path: Path) -> None:
    """A folder with a file's name, and a link into nothing."""
    save(tmp_path, "good", run(record()))
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "absent")
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    found = {row["file"]: row["why it is left out"] for row in rows(tmp_path / "out/csv/left-out.csv")}
    assert set(found) == {"folder.json", "link.json"}
    assert all("cannot be read" in reason for reason in found.values())


def test_latex_accepts_the_tables(tmp_path: Path) -> None:
    """Each of them, with hostile names in it, in one document with booktabs."""
    program = shutil.which("pdflatex")
    if not program or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:  # noqa: S607
        pytest.skip("no pdflatex with booktabs; run: apt-get install texlive-latex-recommended")
    evil = record(EVIL, versions={EVIL: EVIL}, manifest={EVIL: EVIL})
    save(tmp_path, "evil", run(record(), evil, failed("broken", EVIL), cpu=EVIL, commit=EVIL))
    assert build(tmp_path).returncode == 0
    tables = [rf"\input{{{path}}}" for path in sorted((tmp_path / "out/tex").iterdir())]
    assert len(tables) > 5
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "all.tex").write_text("\n".join([head, *tables, r"\end{document}"]))
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout[-2000:]


def test_without_a_usable_run_the_message_says_what_to_do(tmp_path: Path) -> None:
    """A folder that is not there, a file, an empty folder, nothing but bad files: exit code 2, and no traceback."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    save(tmp_path / "bad", "bad", {})
    for name, complaint in (
        ("absent", "does not exist; give the one of pytest-benchmark with --storage"),
        ("file", "is not a folder"),
        ("empty", "no run can be used of 0 files"),
        ("bad", "bad.json was saved by plain pytest-benchmark"),
    ):
        result = build(tmp_path / name)
        assert result.returncode == 2
        assert complaint in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
    save(tmp_path / "good", "good", run(record()))
    result = build(tmp_path / "good", "--out", "/proc/none")
    assert result.returncode == 2
    assert "give another folder with --out" in result.stderr


def test_nothing_in_a_saved_run_gets_out_of_its_cell(tmp_path: Path) -> None:
    """Script, bars, dollars and commands in names, reasons, versions and file names are shown and do nothing."""
    evil = record(EVIL, versions={EVIL: EVIL}, manifest={EVIL: EVIL})
    path = save(tmp_path, "evil", run(record(), evil, failed("broken", EVIL), cpu=EVIL, commit=EVIL))
    path.rename(path.with_name("<script>alert(2)|.json"))
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    page = (out / "report.html").read_text()
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    markdown = (out / "report.md").read_text()
    assert "<script" not in markdown
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(bars) == 1, block
    for path in (out / "tex").iterdir():
        assert r"\input" not in path.read_text(), path
    for path in (out / "figures").iterdir():
        assert not [each for each in ET.parse(path).iter() if each.tag.endswith("script")], path  # noqa: S314


def test_different_conditions_are_never_mixed(tmp_path: Path) -> None:
    """Hardware, workload, precision, data, iterations: a group for each, and what keeps it apart is named."""
    other = Workload(hidden=100)
    save(tmp_path, "a", run(record("numpy", 2.0), hours=9))
    save(tmp_path, "b", run(record("numpy", 2.1), hours=8))
    save(tmp_path, "c", run(record("numpy", 9.0), cpu="Other", hours=5))
    save(tmp_path, "d", run(record("numpy", 9.0, workload=other), hours=4))
    save(tmp_path, "e", run(record("numpy", 9.0, data={"name": "digits", "sha256": "0" * 64}), hours=3))
    save(tmp_path, "f", run(record("numpy", 9.0, iterations=5), hours=2))
    assert build(tmp_path).returncode == 0
    groups = rows(tmp_path / "out/csv/groups.csv")
    assert [row["runs"] for row in groups] == ["2", "1", "1", "1", "1"]
    apart = [row["apart from group 1 by"] for row in groups]
    assert apart == ["", "hardware", "workload", "data", "iterations"]
    times = {row["value_seconds"] for row in rows(tmp_path / "out/csv/group-1-history.csv")}
    assert len(times) == 2
    assert max(map(float, times)) < 3
    assert "The 4 newest groups are shown" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/report.html").stat().st_size < 2_000_000


def test_scaling_is_drawn_from_cases_that_differ_in_one_size(tmp_path: Path) -> None:
    """Width and batch apart; a size that failed has no point; these cases make no tables of their own."""
    sizes = [record("numpy", size / 100, workload=Workload(hidden=size), protocol="scaling") for size in (100, 500)]
    sizes += [record("numpy", 3.0, workload=Workload(batch_size=32), protocol="scaling")]
    sizes += [failed("numpy", workload=Workload(hidden=4000), protocol="scaling")]
    save(tmp_path, "scaling", run(*sizes, hours=1))
    save(tmp_path, "plain", run(record("numpy")))
    assert build(tmp_path).returncode == 0
    out = tmp_path / "out"
    width, batch = (rows(out / f"csv/scaling-{number}-data.csv") for number in (1, 2))
    assert [(row["hidden"], float(row["step_seconds"])) for row in width] == [
        (str(case["workload"]["hidden"]), case["seconds"]["value"] / 1000) for case in sizes[:2]
    ]
    assert [row["batch_size"] for row in batch] == ["32", "600"]
    assert "mathdefault" not in (out / "figures/scaling-1.svg").read_text()
    assert not (out / "tex/group-2-comparison.tex").exists()


def test_only_the_newest_run_keeps_its_raw_values(tmp_path: Path) -> None:
    """Two thousand runs would not fit into memory; the order of the files does not matter."""
    for number, hours in enumerate((3, 1, 9, 5)):
        save(tmp_path, str(number), run(record(), hours=hours))
    (group,) = read_storage(tmp_path).groups
    assert [len(part.cases[0].losses) for part in group.parts] == [0, 0, 0, 1000]
    assert [part.when.hour for part in group.parts] == [1, 3, 5, 9]


def test_markdown_goes_to_stdout_alone(tmp_path: Path) -> None:
    """For a comment or a step summary: no file is written, no picture is linked."""
    save(tmp_path, "one", run(record("numpy"), record("torch", 1.0)))
    result = build(tmp_path, "--format", "markdown")
    assert result.returncode == 0
    assert result.stdout.startswith("# The same network in every framework\n\n**torch-cpu trains this network 2")
    assert "figures/" not in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_terminal_gets_colours(tmp_path: Path) -> None:
    """A failed row is red where there is a terminal to show it."""
    save(tmp_path, "one", run(record("numpy"), failed("torch")))
    command = ["-m", "reports", "build", "--storage", str(tmp_path), "--out", str(tmp_path / "out")]
    settings = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    line = " ".join([sys.executable, *command])
    shown = str(pexpect.run(line, cwd=str(ROOT), encoding="utf-8", env=settings, timeout=120))
    assert re.search(r"\x1b\[[0-9;]*31m[^\n]*torch-cpu", shown)


def test_one_round_has_no_interval_and_breaks_nothing(tmp_path: Path) -> None:
    """The harness saves NaN as the ends of such an interval."""
    nan = float("nan")
    numpy = record("numpy", seconds={"value": 2.0, "low": nan, "high": nan}, efficiency=None)
    torch = record("torch", 1.0)
    for case in numpy, torch:
        case["rounds"] = case["rounds"][:1]
    save(tmp_path, "one", run(numpy, torch))
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2.00 (no interval)" in result.stdout
    assert "torch-cpu and numpy-cpu have too few pairs of valid rounds to be told apart on this CPU;" in result.stdout


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
    assert [single(value) for value in (26.4, 0.0123, 3.14159, 0.0)] == ["26", "0.012", "3.1", "0"]
