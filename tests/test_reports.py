"""``python -m reports build``: every format shows what was saved, and nothing that was not."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from impls.workload import Workload
from reports.__main__ import main
from samenet.stats import Estimate
from tests.support.saved_runs import EVIL, failed, record, run, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True)
class Built:
    """What a build has left: its exit code, its output and its files."""

    code: int
    stdout: str
    stderr: str
    out: Path

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file."""
        with (self.out / "csv" / f"{name}.csv").open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))

    @property
    def markdown(self) -> str:
        """The report as Markdown."""
        return (self.out / "report.md").read_text()

    @property
    def page(self) -> str:
        """The report as a page."""
        return (self.out / "report.html").read_text()


@pytest.fixture
def build(capsys: pytest.CaptureFixture[str]) -> Callable[..., Built]:
    """Return a function that builds a report of a storage, into ``out`` in it."""

    def call(storage: Path, *options: str) -> Built:
        out = storage / "out"
        code = main(["build", "--storage", str(storage), "--out", str(out), *options])
        return Built(code, *capsys.readouterr(), out)

    return call


def seconds(case: dict[str, Any]) -> dict[tuple[int, int], float]:
    """Return a saved case's undisturbed rounds, read without the project's own code."""
    return {
        (timed["launch"], timed["turn"]): timed["wall_seconds"]
        for timed in case["rounds"]
        if not timed.get("disturbance")
    }


def test_every_format_shows_the_figures_of_the_saved_run(build: Callable[..., Built], tmp_path: Path) -> None:
    """With a crash and wrong arithmetic in it; everything is recomputed from its JSON by other means."""
    case = record("numpy", 3.0)
    without = [failed("crashing", "it hung"), failed("forgetful", "it is off") | {"state": "unverified"}]
    save(tmp_path, "one", run(case, *without))
    built = build(tmp_path)
    assert built.code == 0, built.stderr
    table = {row["case"]: row for row in built.rows("group-1-comparison")}
    row = table["numpy-cpu"]
    assert float(row["seconds"]) == median(seconds(case).values()) == case["seconds"]["value"]
    assert float(row["seconds_low"]) == case["seconds"]["low"]
    assert float(row["efficiency"]) == case["efficiency"]["value"]
    assert float(row["test_error_percent"]) == case["error_rates"]["test"]
    assert float(row["build_seconds_cold"]) == case["launches"][0]["build_seconds"]
    assert float(row["peak_bytes"]) == case["peak_bytes"]
    shown = Estimate(**case["seconds"]).text()
    markdown = built.markdown.replace("&nbsp;", " ")
    for text in (built.page, markdown, (built.out / "tex/group-1-comparison.tex").read_text(), built.stdout):
        assert shown in text
        assert "3096" in text
        for saved in without:
            assert saved["case"] in text
            assert saved["state"] in text
    for saved in without:
        row = table[saved["case"]]
        assert row["reason"] == saved["reason"]
        assert {row[key] for key in ("seconds", "speedup", "efficiency", "test_error_percent")} == {""}
        assert f"{saved['case']} is {saved['state']}: {saved['reason']}" in built.page
    assert (built.out / "report.html").as_uri() in built.stdout
    assert "\x1b" not in built.stdout


def test_speedups_are_means_of_paired_ratios(build: Callable[..., Built], tmp_path: Path) -> None:
    """Over the baseline that was asked for, in the same campaign, pair by pair; here each launch has one."""
    slow, fast = record("theano", 4.0), record("torch", 2.0)
    save(tmp_path, "one", run(slow, fast))
    built = build(tmp_path)
    table = {row["case"]: row for row in built.rows("group-1-comparison")}
    base, other = seconds(slow), seconds(fast)
    assert float(table["torch-cpu"]["speedup"]) == pytest.approx(geometric_mean(base[key] / other[key] for key in base))
    assert "torch-cpu trains this network 2.0" in built.markdown.splitlines()[2]
    table = {row["case"]: row for row in build(tmp_path, "--baseline", "torch-cpu").rows("group-1-comparison")}
    assert float(table["theano-cpu"]["speedup"]) == pytest.approx(
        geometric_mean(other[key] / base[key] for key in base)
    )
    built = build(tmp_path, "--baseline", "tensorflow-cpu")
    assert built.code == 2
    assert "choose one of: theano-cpu, torch-cpu" in built.stderr


@pytest.mark.parametrize(("options", "baseline"), [((), "numpy-cpu"), (("--baseline", "torch-cpu"), "torch-cpu")])
def test_every_output_has_the_same_baseline(
    build: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str], baseline: str
) -> None:
    """The one that every machine has, or the one that was asked for."""
    monkeypatch.setenv("COLUMNS", "300")  # so that no heading is on two lines
    save(tmp_path, "one", run(record("theano", 4.0), record("numpy", 3.0), record("torch", 2.0)))
    built = build(tmp_path, *options)
    for text in (built.page, built.markdown, built.stdout):
        assert set(re.findall(r"speedup over ([\w-]+)", text)) == {baseline}


def test_an_interval_stays_on_one_line_in_markdown(build: Callable[..., Built], tmp_path: Path) -> None:
    """GitHub wraps the cells of a wide table at their spaces."""
    case = record("numpy", 3.0)
    save(tmp_path, "one", run(case))
    shown = Estimate(**case["seconds"]).text()
    rows = [line for line in build(tmp_path).markdown.splitlines() if line.startswith("| numpy-cpu")]
    assert any(shown.replace(" ", "&nbsp;") in row for row in rows)
    assert not any(shown in row for row in rows)


def test_the_error_is_drawn_against_iterations_and_seconds(build: Callable[..., Built], tmp_path: Path) -> None:
    """Only of valid cases; seconds are the steps' own where no clock ran, else what was saved; old runs have none."""
    saved_numpy, timed = record("numpy", 4.0), record("torch", 1.0)
    timed["curve"] = [{"updates": 1000, "seconds": 1.5, "error_percent": 2.5}]
    save(tmp_path, "one", run(saved_numpy, timed, record("old", curve=[]), failed("jax")))
    built = build(tmp_path)
    step = saved_numpy["seconds"]["value"] / 1000
    points = built.rows("group-1-error-data")
    assert {row["case"] for row in points} == {"numpy-cpu", "torch-cpu"}
    for row in points:
        expected = 1.5 if row["case"] == "torch-cpu" else float(row["iterations"]) * step
        assert float(row["seconds"]) == pytest.approx(expected)
    assert "Validation error of 2 cases, from 90 % down to" in built.page
    assert "2.50 (1.5 s)" in built.page
    old = record()
    del old["curve"]
    save(tmp_path, "two", run(old, hours=1))
    assert build(tmp_path).code == 0
    assert not list((tmp_path / "out").rglob("*error*"))


def test_cpu_and_gpu_are_compared_next_to_the_book(build: Callable[..., Built], tmp_path: Path) -> None:
    """Per implementation, paired; and where there is no GPU, it says so."""
    cpu, gpu = record("torch", 4.0), record("torch", 0.5, device="cuda")
    for launch, transfer in zip(gpu["launches"], (0.2, None, 0.031, 0.03), strict=False):
        launch["transfer_seconds"] = transfer
    save(tmp_path, "one", run(cpu, gpu, record("numpy", 3.0), machine={"gpu_driver": "550.54"}))
    built = build(tmp_path)
    (row,) = built.rows("group-1-gpu")
    assert float(row["value"]) == pytest.approx(8, rel=0.05)
    assert float(row["transfer_seconds"]) == 0.031
    assert re.search(r"\n\| torch .*\| +0\.031 \|\n", built.markdown)
    assert re.search(r"book, Theano +\| +3096\\\* +\| +355\\\* +\| +8\.7 ", built.markdown)
    assert re.search(r"\| GPU driver +\| 550\.54 ", built.markdown)
    assert "torch-cuda trains this network" in built.markdown
    save(tmp_path, "two", run(record("numpy", 3.0), hours=1))
    markdown = build(tmp_path).markdown
    assert "No case of this run was measured on a GPU." in markdown
    assert "GPU driver" not in markdown


def test_a_bad_file_is_listed_with_its_reason(build: Callable[..., Built], tmp_path: Path) -> None:
    """And affects no other one, whether its JSON is broken, its values make no sense or it cannot be opened."""
    save(tmp_path, "good", run(record("numpy"), record("torch", 1.0)))
    save(tmp_path, "cut", {}).write_text('{"benchmarks": [')
    save(tmp_path, "plain", {"benchmarks": [], "datetime": "x"})
    save(tmp_path, "huge", run(record(peak_bytes=10**400)))
    (tmp_path / "folder.json").mkdir()
    built = build(tmp_path)
    assert built.code == 0, built.stderr
    assert "Files left out, with their reasons below: 4." in built.stdout
    reasons = {row["file"].rpartition("/")[2]: row["why it is left out"] for row in built.rows("left-out")}
    assert set(reasons) == {"cut.json", "plain.json", "huge.json", "folder.json"}
    assert "cut short" in reasons["cut.json"]
    assert "pytest bench/" in reasons["plain.json"]
    assert "torch-cpu" in built.page


def test_latex_accepts_the_tables(build: Callable[..., Built], tmp_path: Path) -> None:
    """Each of them, with hostile names in it, in one document with booktabs."""
    program = shutil.which("pdflatex")
    if not program or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:  # noqa: S607
        pytest.skip("no pdflatex with booktabs; run: apt-get install texlive-latex-recommended")
    evil = record(EVIL, versions={EVIL: EVIL}, manifest={EVIL: EVIL})
    save(tmp_path, "evil", run(record(), evil, failed("broken", EVIL), cpu=EVIL, commit=EVIL))
    tables = [rf"\input{{{path}}}" for path in sorted((build(tmp_path).out / "tex").iterdir())]
    assert len(tables) > 5
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "all.tex").write_text("\n".join([head, *tables, r"\end{document}"]))
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout[-2000:]


def test_without_a_usable_run_the_message_says_what_to_do(build: Callable[..., Built], tmp_path: Path) -> None:
    """A folder that is not there, a file, an empty folder, nothing but bad files: exit code 2."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    save(tmp_path / "bad", "bad", {})
    for name, complaint in (
        ("absent", "does not exist; give the one of pytest-benchmark with --storage"),
        ("file", "is not a folder"),
        ("empty", "no run can be used of 0 files"),
        ("bad", "bad.json was saved by plain pytest-benchmark"),
    ):
        built = build(tmp_path / name, "--out", str(tmp_path / "report"))
        assert built.code == 2
        assert complaint in built.stderr
        assert built.stdout == ""
    save(tmp_path / "good", "good", run(record()))
    built = build(tmp_path / "good", "--out", "/proc/none")
    assert built.code == 2
    assert "give another folder with --out" in built.stderr


def test_nothing_in_a_saved_run_gets_out_of_its_cell(build: Callable[..., Built], tmp_path: Path) -> None:
    """Script, bars, dollars and commands in names, reasons, versions and file names are shown and do nothing."""
    evil = record(EVIL, versions={EVIL: EVIL}, manifest={EVIL: EVIL})
    path = save(tmp_path, "evil", run(record(), evil, failed("broken", EVIL), cpu=EVIL, commit=EVIL))
    path.rename(path.with_name("<script>alert(2)|.json"))
    built = build(tmp_path)
    assert built.code == 0, built.stderr
    assert built.page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in built.page
    assert "<script" not in built.markdown
    for block in re.findall(r"(?:^\|.*\n)+", built.markdown, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(bars) == 1, block
    for path in (built.out / "tex").iterdir():
        assert r"\input" not in path.read_text(), path
    for path in (built.out / "figures").iterdir():
        assert not [each for each in ET.parse(path).iter() if each.tag.endswith("script")], path  # noqa: S314


def test_different_conditions_are_never_mixed(build: Callable[..., Built], tmp_path: Path) -> None:
    """Hardware, workload, precision, data, iterations: a group for each, and what differs is named."""
    other = Workload(hidden=100)
    save(tmp_path, "a", run(record("numpy", 2.0), hours=9))
    save(tmp_path, "b", run(record("numpy", 2.1), hours=8))
    save(tmp_path, "c", run(record("numpy", 9.0), cpu="Other", hours=5))
    save(tmp_path, "d", run(record("numpy", 9.0, workload=other), hours=4))
    save(tmp_path, "e", run(record("numpy", 9.0, data={"name": "digits", "sha256": "0" * 64}), hours=3))
    save(tmp_path, "f", run(record("numpy", 9.0, iterations=5), hours=2))
    built = build(tmp_path)
    groups = built.rows("groups")
    assert [row["runs"] for row in groups] == ["2", "1", "1", "1", "1"]
    different = [row["differs from group 1 in"] for row in groups]
    assert different == ["", "hardware", "workload", "data", "iterations"]
    times = {float(row["value_seconds"]) for row in built.rows("group-1-history")}
    assert len(times) == 2
    assert max(times) < 3
    assert "The 4 newest groups are shown" in built.markdown
    assert len(built.page) < 2_000_000


def test_scaling_is_drawn_from_cases_that_differ_in_one_size(build: Callable[..., Built], tmp_path: Path) -> None:
    """Width and batch separately; a size that failed has no point; these cases make no tables of their own."""
    sizes = [record("numpy", size / 100, workload=Workload(hidden=size), protocol="scaling") for size in (100, 500)]
    sizes += [record("numpy", 3.0, workload=Workload(batch_size=32), protocol="scaling")]
    sizes += [failed("numpy", workload=Workload(hidden=4000), protocol="scaling")]
    save(tmp_path, "scaling", run(*sizes, hours=1))
    save(tmp_path, "plain", run(record("numpy")))
    built = build(tmp_path)
    width, batch = (built.rows(f"scaling-{number}-data") for number in (1, 2))
    expected = [(str(case["workload"]["hidden"]), case["seconds"]["value"] / 1000) for case in sizes[:2]]
    assert [(row["hidden"], float(row["step_seconds"])) for row in width] == expected
    assert [row["batch_size"] for row in batch] == ["32", "600"]
    assert "mathdefault" not in (built.out / "figures/scaling-1.svg").read_text()
    assert not (built.out / "tex/group-2-comparison.tex").exists()


def test_a_report_removes_nothing_but_what_a_report_wrote(build: Callable[..., Built], tmp_path: Path) -> None:
    """With ``--out .`` its folders may be the user's; those files of an earlier report that it has no more are gone."""
    save(tmp_path / "runs", "one", run(record("numpy"), record("torch", 1.0)))
    second = save(tmp_path / "runs", "two", run(record("numpy"), cpu="another", hours=1))
    mine = [tmp_path / path for path in ("figures/mine.svg", "csv/data.csv", "tex/mine.tex")]
    for path in mine:
        path.parent.mkdir()
        path.write_text("mine")
    assert build(tmp_path / "runs", "--out", str(tmp_path)).code == 0
    assert (tmp_path / "csv/group-2-comparison.csv").exists()
    second.unlink()
    assert build(tmp_path / "runs", "--out", str(tmp_path)).code == 0
    assert [path.read_text() for path in mine] == ["mine"] * 3
    assert (tmp_path / "csv/group-1-comparison.csv").exists()
    assert not list(tmp_path.glob("*/group-2-*"))


def test_an_empty_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an empty variable of a shell; nothing is read from or written to the current folder."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "elsewhere", {})
    save(tmp_path / ".benchmarks", "one", run(record("numpy")))
    for command, page in (("build", "reports/out/report.html"), ("history", "reports/out/history/history.md")):
        assert main([command, "--storage", "", "--out", ""]) == 0
        assert "elsewhere" not in (tmp_path / page).read_text()
    assert not (tmp_path / "csv").exists()


def test_markdown_goes_to_stdout_alone(build: Callable[..., Built], tmp_path: Path) -> None:
    """For a comment or a step summary: no file is written, no picture is linked."""
    save(tmp_path, "one", run(record("numpy"), record("torch", 1.0)))
    built = build(tmp_path, "--format", "markdown")
    assert built.code == 0
    assert built.stdout.startswith("# The same network in every framework\n\n**torch-cpu trains this network 2")
    assert "figures/" not in built.stdout
    assert not built.out.exists()


def test_a_terminal_gets_colours(build: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed row is red where there is a terminal to show it."""
    save(tmp_path, "one", run(record("numpy"), failed("torch")))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the captured output for a terminal
    assert re.search(r"\x1b\[[0-9;]*31m[^\n]*torch-cpu", build(tmp_path).stdout)
