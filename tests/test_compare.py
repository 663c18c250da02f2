"""``python -m reports compare`` as its users run it, on saved runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from impls.workload import Workload
from reports import stats
from reports.stats import Estimate
from tests.conftest import ROOT
from tests.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

SPREAD = 0.005  # of medians from run to run, in the histories made up here


def compare(storage: Path, base: str, head: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m reports compare`` on ``storage``."""
    command = [sys.executable, "-m", "reports", "compare", base, head, "--storage", str(storage), *options]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return subprocess.run(
        command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=120, check=False
    )


def verdicts(storage: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Return the verdicts on run ``head`` against run ``base``, by case."""
    result = compare(storage, "base", "head", *options, "--format", "json")
    assert result.stdout, result.stderr
    return {each["case"]: each for each in json.loads(result.stdout)["verdicts"]}


def save_history(storage: Path, runs: int = 12, **more: Any) -> None:
    """Save so many runs of numpy that differ by noise alone; ``more`` is what their case and run have instead."""
    rng = np.random.default_rng(1)
    for number in range(runs):
        typical = 2 * float(np.exp(SPREAD * rng.standard_normal()))
        save(storage, f"{number + 100:04}_main", run(record("numpy", typical, **more), hours=number))


def save_pair(storage: Path, base: dict[str, Any], head: dict[str, Any], **about: Any) -> None:
    """Save two runs of a case each, the second one on hardware of its own if ``about`` says so."""
    save(storage, "0001_base", run(base, hours=100))
    save(storage, "0002_head", run(head, hours=101, **about))


@pytest.mark.parametrize(
    ("seconds", "word", "code"), [(2.0, "same", 0), (2.4, "slower", 1), (1.6, "faster", 0), (2.08, "inconclusive", 0)]
)
def test_a_verdict_says_what_the_history_supports(tmp_path: Path, seconds: float, word: str, code: int) -> None:
    """A fifth is beyond what runs differ by, a twenty-fifth is not."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", seconds))
    options = ("--tolerance", "5")
    result = compare(tmp_path, "0001", "0002", *options)
    assert result.returncode == code, result.stderr
    assert verdicts(tmp_path, *options)["numpy-cpu"]["word"] == word
    assert f"numpy-cpu {word}" in " ".join(result.stdout.split())
    assert "% from run to run, in 12 runs of the past" in result.stdout


@pytest.mark.parametrize("runs", [0, 2])
def test_too_little_history_is_inconclusive(tmp_path: Path, runs: int) -> None:
    """Without knowing how runs differ by themselves, no difference between two of them says anything."""
    save_history(tmp_path, runs)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 9.0))
    verdict = verdicts(tmp_path)["numpy-cpu"]
    assert verdict["word"] == "inconclusive"
    assert "the history has too few runs" in verdict["reason"]
    assert compare(tmp_path, "base", "head").returncode == 0


@pytest.mark.parametrize(
    ("base", "head", "about", "named"),
    [
        ({}, {}, {"cpu": "Another"}, "hardware: Synthetic and Another"),
        ({}, {"versions": {"python": "3.12", "numpy": "1.0"}}, {}, "versions: python 3.11.7 and 3.12"),
        ({}, {"workload": Workload(hidden=9)}, {}, "workload: hidden 500 and 9"),
        ({}, {"data": {"name": "digits", "source": "", "sha256": "e"}}, {}, "data: MNIST and digits"),
        ({}, {"iterations": 10}, {}, "iterations: 1000 and 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_compared_is_named_and_no_failure(
    tmp_path: Path, base: dict[str, Any], head: dict[str, Any], about: dict[str, Any], named: str
) -> None:
    """Hardware, versions, workload, data and amount have to be the same; a slow run on another machine is no news."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0, **base), record("numpy", 9.0, **head), **about)
    verdict = verdicts(tmp_path)["numpy-cpu"]
    assert verdict["word"] == "inconclusive"
    assert named in verdict["reason"]
    assert compare(tmp_path, "base", "head").returncode == 0


def test_environments_are_compared_on_purpose(tmp_path: Path) -> None:
    """The same code with jax 0.10.1 against 0.10.2: each run's like-minded past tells how runs differ."""
    old, new = ({"python": "3.11.7", "jax": version} for version in ("0.10.1", "0.10.2"))
    save_history(tmp_path, versions=old)
    save_pair(tmp_path, record("numpy", 2.0, versions=old), record("numpy", 2.6, versions=new))
    result = compare(tmp_path, "base", "head", "--across", "versions")
    assert result.returncode == 1
    assert "numpy-cpu differs on purpose in versions: jax 0.10.1 and 0.10.2." in result.stdout
    assert verdicts(tmp_path, "--across", "hardware")["numpy-cpu"]["word"] == "inconclusive"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (record(typical=1.0, error_rates={"validation": 12.5}), {"numpy-cpu": "unverified"}),
        (failed("numpy") | {"state": "unverified"}, {"numpy-cpu": "unverified"}),
        (failed("numpy"), {"numpy-cpu": "unverified"}),
        (failed("numpy") | {"state": "contended"}, {"numpy-cpu": "inconclusive"}),
        (record("torch"), {"numpy-cpu": "removed", "torch-cpu": "new"}),
    ],
    ids=["error rate", "unverified", "crash", "contended", "renamed"],
)
def test_what_was_learned_counts_as_much_as_the_time(
    tmp_path: Path, head: dict[str, Any], words: dict[str, str]
) -> None:
    """A faster step with a worse error is a regression, and so is a case that lost its number by its own fault."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), head)
    assert {name: each["word"] for name, each in verdicts(tmp_path).items()} == words
    assert compare(tmp_path, "base", "head").returncode == int("unverified" in words.values())


def test_runs_are_files_folders_names_and_numbers(tmp_path: Path) -> None:
    """A folder stands for its newest run; the same two runs are found by every name that they have."""
    base = save(tmp_path / "a", "0001_first", run(record("numpy", 2.0)))
    save(tmp_path / "b", "0001_old", run(record("numpy", 2.0)))
    head = save(tmp_path / "b", "0002_new_one", run(record("numpy", 2.0), hours=1))
    for one, other in ((base, head), ("first", "0002"), ("0001_first", "new_one"), (tmp_path / "a", tmp_path / "b")):
        result = compare(tmp_path, str(one), str(other))
        assert result.stdout.startswith("0002_new_one (c0ffeec0f) against 0001_first (c0ffeec0f)\n"), result.stderr


@pytest.mark.parametrize(
    ("base", "complaint"),
    [
        ("nowhere", "there is no run nowhere in"),
        ("0001", "0001 is 2 runs; give one of these files: "),
        ("broken", "is no JSON of pytest-benchmark, or is cut short"),
    ],
)
def test_unusable_input_has_an_exit_code_of_its_own(tmp_path: Path, base: str, complaint: str) -> None:
    """What is wrong is said, and that it is no regression."""
    save(tmp_path / "a", "0001_first", run(record()))
    save(tmp_path / "b", "0001_other", run(record()))
    save(tmp_path / "b", "0002_head", run(record()))
    save(tmp_path / "b", "0003_broken", run(record())).write_text("{")
    result = compare(tmp_path, base, "head")
    assert result.returncode == 2
    assert complaint in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    """An error for what became slower; the summary is appended to, and what runs are called cannot break out."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 4.0))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    result = compare(tmp_path, "base", "head", "--format", "markdown", **github)
    assert result.returncode == 1
    assert "\n::error title=numpy-cpu is slower::numpy-cpu is slower, 2.0" in f"\n{result.stderr}"
    assert summary.read_text() == "before\n" + result.stdout
    assert "**Regression beyond 2 %: 1 slower.**" in result.stdout
    save(tmp_path, "0003_evil", run(failed("numpy", "a\n::error::b|<b>"), hours=102))
    result = compare(tmp_path, "base", "evil", "--format", "markdown", **github)
    assert result.stderr == (
        "::error title=numpy-cpu is unverified::numpy-cpu is unverified: failed: a%0A::error::b|<b>\n"
    )
    assert "a ::error::b\\|&lt;b&gt;" in result.stdout


def test_real_runs_can_be_compared(bench: Bench, tmp_path: Path) -> None:
    """What the harness saves is what the comparison reads."""
    for name in ("base", "head"):
        bench("-k", "numpy-cpu", "--rounds", "5", f"--benchmark-save={name}")
    result = compare(tmp_path, "base", "head")
    assert result.returncode == 0, result.stderr
    assert "inconclusive" in result.stdout


def test_intervals_of_stored_ratios_hold_the_truth() -> None:
    """In simulated pairs of equal runs with twelve others, 95 % intervals hold a ratio of 1 in 93 to 97 % of cases."""
    rng, held, repeats, between, within = np.random.default_rng(0), 0, 2000, 0.03, 0.01
    reach = 1.96 * within
    for _ in range(repeats):
        middles = np.exp(rng.normal(0, between, 14) + rng.normal(0, within, 14))
        runs = [Estimate(each, each * np.exp(-reach), each * np.exp(reach)) for each in middles]
        ratio = stats.stored_ratio(runs[0], runs[1], stats.run_to_run([runs[2:]]))
        held += ratio.low <= 1 <= ratio.high
    assert 0.93 <= held / repeats <= 0.97


def test_a_step_between_two_histories_is_no_variation() -> None:
    """Runs with other versions have a level of their own; only what differs within each counts."""
    one = [Estimate(value, value, value) for value in (1.0, 1.1, 0.9)]
    other = [Estimate(3 * each.value, 3 * each.low, 3 * each.high) for each in one]
    assert stats.run_to_run([one, other]).between == pytest.approx(stats.run_to_run([one]).between)
    assert stats.run_to_run([one, other]).degrees == 4
    assert stats.run_to_run([one[:1]]).degrees == 0
