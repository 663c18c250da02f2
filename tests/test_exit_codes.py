"""Exit codes of ``python -m reports``: 1 is a regression, and no failure of another kind looks like one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from reports import commands
from samenet.environments import ROOT
from tests.support.comparing import compare, save_history, save_pair
from tests.support.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("base", "complaint"),
    [
        ("nowhere", "there is no run nowhere in"),
        ("0001", "0001 is 2 runs; give one of these files: "),
        ("0002", "are the same run; give two"),
        ("x" * 5000, "cannot use xxx"),
        ("broken", "is not a JSON file, or is cut short"),
        ("", "argument BASE: it is empty; give the name or number of a saved run"),
    ],
)
def test_unusable_input_has_an_exit_code_of_its_own(tmp_path: Path, base: str, complaint: str) -> None:
    """What is wrong is said, and that it is no regression."""
    save(tmp_path / "a", "0001_first", run(record()))
    save(tmp_path / "b", "0001_other", run(record(), hours=1))
    save(tmp_path / "b", "0002_head", run(record(), hours=2))
    save(tmp_path / "b", "0003_broken", run(record())).write_text("{")
    result = compare(tmp_path, base, "head")
    assert result.code == 2
    assert complaint in " ".join(result.err.split())
    assert result.out == ""


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    """An error for what became slower; the summary is appended to, and what runs are called cannot break out."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 4.0))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    result = compare(tmp_path, "base", "head", "--format", "markdown", **github)
    assert result.code == 1
    assert "\n::error title=numpy-cpu is slower::numpy-cpu is slower, 2.0" in f"\n{result.err}"
    assert summary.read_text() == "before\n" + result.out
    assert "**Regression beyond 2 %: 1 slower.**" in result.out
    save(tmp_path, "0003_evil", run(failed("numpy", "a\n::error::b|<b>"), hours=102))
    result = compare(tmp_path, "base", "evil", "--format", "markdown", **github)
    assert result.err == (
        "::error title=numpy-cpu is unverified::numpy-cpu is unverified: failed: a%0A::error::b|<b>\n"
    )
    assert "a ::error::b\\|&lt;b&gt;" in result.out


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m reports`` as its users do."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return subprocess.run(
        [sys.executable, "-m", "reports", *arguments],
        cwd=ROOT,
        env=settings | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_real_runs_can_be_compared_in_a_real_process() -> None:
    """Two runs that version 0.1.0 has saved, on a terminal that knows ASCII alone."""
    storage = ROOT / "tests/data/schema-1"
    options = ("compare", "plain", "against", "--storage", str(storage), "--allow-empty")
    result = run_python(*options, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "numpy-cpu" in result.stdout


def test_a_regression_is_printed_and_stays_one_where_an_output_fails(tmp_path: Path) -> None:
    """The output ends early: a reader that has seen enough is no reason for another exit code."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 4.0))
    command = f"{sys.executable} -m reports compare base head --storage {tmp_path} > /dev/full"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S602
    assert result.returncode == 1
    assert result.stderr == "cannot write the output: No space left on device\n"


@pytest.mark.parametrize(("head", "code"), [(4.0, 1), (2.0, 2)], ids=["slower", "same"])
def test_a_summary_that_fails_after_the_verdict_hides_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: float, code: int
) -> None:
    """The disk is full by then: the verdict is printed, one sentence says what is missing."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", head))
    result = compare(tmp_path, "base", "head", GITHUB_STEP_SUMMARY="/dev/full")
    assert result.code == code
    assert "numpy-cpu" in result.out
    (line,) = result.err.splitlines()
    assert line.startswith("cannot write the step summary /dev/full: No space left on device; point GITHUB_STEP_")


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    """A summary that cannot be written is unusable input, and nothing has been read by then."""
    result = compare(tmp_path, "base", "head", GITHUB_STEP_SUMMARY="/nonexistent/summary.md")
    assert (result.code, result.out) == (2, "")
    assert "cannot write the step summary /nonexistent/summary.md: No such file or directory" in result.err


@pytest.mark.parametrize("error", [ValueError("math domain error"), RecursionError(), MemoryError()], ids=repr)
def test_a_bug_is_not_a_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """It has a code of its own, one sentence, and its traceback in a file."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(commands, "find_run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = compare(tmp_path, "base", "head")
    assert result.code == 70
    (file,) = tmp_path.glob("samenet-*.txt")
    name = type(error).__name__
    assert result.err == f"this is a bug in samenet: {name}; please report it with the traceback: {file}\n"
    assert "Traceback (most recent call last)" in file.read_text()


@pytest.mark.parametrize(
    "head",
    [
        record("torch"),
        record("numpy", state="skipped", reason="no interpreter", seconds=None),
        record("numpy", state="contended", reason="others", seconds=None),
        record("numpy", error_rates={}),
        record("numpy", error_rates={"validation": float("nan")}),
    ],
    ids=["new", "skipped", "contended", "no error", "NaN"],
)
def test_a_gate_that_judged_nothing_does_not_pass(tmp_path: Path, head: dict[str, Any]) -> None:
    """Unless that is intended; ``--against`` asks the same of its verdicts."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), head)
    result = compare(tmp_path, "base", "head")
    assert (result.code, result.err.partition(":")[0]) == (2, "nothing was compared")
    assert "No regression" in result.out
    assert compare(tmp_path, "base", "head", "--allow-empty").code == 0


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("execnet", ["compare", "base", "head"]),
        ("numpy", ["build"]),
        ("scipy", ["history"]),
        ("msgspec", ["compare", "base", "head"]),
    ],
)
def test_a_missing_library_of_the_engine_is_no_regression(tmp_path: Path, library: str, command: list[str]) -> None:
    """It is imported on the way to the command, and its absence has the same code and sentence."""
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{library}'\")\n")
    result = run_python(*command, "--storage", str(tmp_path), PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == f"No module named '{library}'; run: python -m pip install --group reports\n"


def test_a_missing_library_and_ctrl_c_are_no_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its code and one line."""
    for error, code, line in (
        (ImportError("No module named 'scipy'"), 2, "No module named 'scipy'; run: python -m pip install"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ):
        monkeypatch.setattr(commands, "run_compare", mock.Mock(side_effect=error))
        result = compare(tmp_path, "base", "head")
        assert result.code == code
        assert result.err.startswith(line)
        assert result.err.count("\n") == 1
