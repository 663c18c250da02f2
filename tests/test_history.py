"""``python -m reports history``: planted changes are found where they are, noise and outliers are not."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from impls.workload import Workload
from reports.__main__ import main
from reports.feed import ATOM
from reports.levels import breaks
from tests.support.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    from pathlib import Path

RUNS, STEP = 300, math.log(1.08)
REPEATS = 50


def noise(rng: np.random.Generator, runs: int = RUNS) -> np.ndarray[Any, Any]:
    """Return log times as they vary from run to run: by 0.8 to 1.5 %, and one in sixty is far off (Student's t)."""
    spread = rng.uniform(0.008, 0.015)
    log_seconds = rng.normal(0, spread, runs)
    heavy = rng.choice(runs, max(1, runs // 60), replace=False)
    log_seconds[heavy] += 3 * spread * np.abs(rng.standard_t(2, len(heavy)))
    return log_seconds


@pytest.mark.parametrize("seed", range(REPEATS))
def test_three_changes_are_found_within_two_commits_and_no_other(seed: int) -> None:
    """Steps of 8 %, up or down, at least 20 runs apart."""
    rng = np.random.default_rng(seed)
    log_seconds = noise(rng)
    planted = np.sort(rng.choice(np.arange(20, RUNS - 19, 20), 3, replace=False))
    for place in planted:
        log_seconds[place:] += rng.choice([-STEP, STEP])
    found = breaks(log_seconds.tolist())
    assert len(found) == 3
    assert np.abs(np.array(found) - planted).max() <= 2


@pytest.mark.parametrize("seed", range(REPEATS))
def test_noise_and_a_single_outlier_are_no_change(seed: int) -> None:
    """Also where the outlier is the last run, and as far off as it likes."""
    rng = np.random.default_rng(seed)
    assert breaks(noise(rng).tolist()) == []
    for place in (0, RUNS // 2, RUNS - 1):
        log_seconds = rng.normal(0, 0.01, RUNS)
        log_seconds[place] += rng.choice([0.08, 0.5, 5])
        assert breaks(log_seconds.tolist()) == []


def test_equal_times_and_short_histories_have_no_change() -> None:
    """No spread at all is no reason for an error, and nine runs are too few."""
    assert breaks([0.5] * 40) == []
    assert breaks([0.0] * 5 + [1.0] * 4) == []
    assert breaks([0.0] * 5 + [1.0] * 5) == [5]


def save_history(folder: Path) -> None:
    """Save 20 runs: jax becomes 10 % slower with its version, torch learns less, numpy stays, theano fails."""
    rng = np.random.default_rng(0)
    for number in range(20):
        late = number >= 12
        wobble = rng.normal(1, 0.01, 3)
        jax = record("jax", 2 * wobble[0] * (1.1 if late else 1), versions={"jax": "0.10.2" if late else "0.10.1"})
        errors = {"train": 13.0, "validation": 14.0 if late else 12.0, "test": 12.0}
        torch = record("torch", 3 * wobble[1], error_rates=errors)
        cases = [jax, torch, record("numpy", 4 * wobble[2]), failed("theano")]
        save(folder, f"{number:02}", run(*cases, hours=number, commit=f"{number:x}" * 40))


def history(folder: Path, *options: str) -> int:
    """Run ``python -m reports history`` into ``folder/out``."""
    return main(["history", "--storage", str(folder), "--out", str(folder / "out"), *options])


def changes(folder: Path) -> list[dict[str, str]]:
    """Return the changes that were written."""
    with (folder / "out/csv/changes.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_a_change_comes_with_its_commits_and_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slower case and one that learns less are regressions, in the table, the files and the feed."""
    save_history(tmp_path)
    assert history(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "bbbbbbbbb..ccccccccc" in shown
    assert "jax 0.10.1 to 0.10.2" in shown
    found = {row["case"]: row for row in changes(tmp_path)}
    assert set(found) == {"jax-cpu", "torch-cpu"}
    jax, torch = found["jax-cpu"], found["torch-cpu"]
    assert (jax["last_commit"], jax["first_commit"]) == ("b" * 40, "c" * 40)
    assert float(jax["after"]) / float(jax["before"]) == pytest.approx(1.1, abs=0.02)
    assert (torch["what"], torch["before"], torch["after"]) == ("validation error", "12.0", "14.0")
    assert {jax["regression"], torch["regression"]} == {"True"}
    entries = ET.parse(tmp_path / "out/regressions.xml").findall(f"{{{ATOM}}}entry")  # noqa: S314  # our own file
    titles = {str(entry.findtext(f"{{{ATOM}}}title")).partition(":")[0] for entry in entries}
    assert titles == {"jax-cpu", "torch-cpu"}
    assert "changes: 2." in (tmp_path / "out/history.md").read_text()
    assert (tmp_path / "out/figures/group-1-history.svg").stat().st_size


def test_the_page_has_the_changes_too(tmp_path: Path) -> None:
    """And the feed is next to it."""
    save_history(tmp_path)
    assert main(["build", "--storage", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "Changes over time" in page
    assert "bbbbbbbbb..ccccccccc" in page
    assert "jax-cpu: time" in (tmp_path / "out/regressions.xml").read_text()


def test_different_conditions_are_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve runs here and twelve there: another machine, workload, data set or precision is another history."""
    other = Workload(hidden=100)
    coarse = record("numpy", 9.0) | {"workload": {"precision": "tf32"}}
    digits = {"name": "digits", "sha256": "0" * 64}
    for number in range(12):
        save(tmp_path, f"a{number}", run(record("numpy", 2.0), hours=number))
        save(tmp_path, f"b{number}", run(record("numpy", 4.0), hours=20 + number, cpu="Other"))
        save(tmp_path, f"c{number}", run(record("numpy", 5.0, workload=other), hours=40 + number))
        save(tmp_path, f"d{number}", run(record("numpy", 6.0, data=digits), hours=60 + number))
        save(tmp_path, f"e{number}", run(coarse, hours=80 + number))
    assert history(tmp_path, "--format", "markdown") == 0
    assert "No change was found." in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_dates_are_in_utc_and_a_missing_repository_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run after the change was saved at 02:30 in Tokyo; nothing is known of either commit."""
    for number in range(12):
        content = run(record("numpy", 2 + (number > 5)), hours=number, commit="unversioned")
        if number == 6:
            content["datetime"] = "2026-01-01T15:30:00+09:00"
        save(tmp_path, f"{number:02}", content)
    assert history(tmp_path, "--format", "markdown") == 0
    text = capsys.readouterr().out
    assert "2026-01-01 06:30 UTC" in text
    assert "| no commit |" in " ".join(text.split())
    assert "unversion" not in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """In the table, the Markdown and the feed, which stays well-formed; control characters are left out of it."""
    evil = "<script>alert(1)</script>|&\x00\n"
    for number in range(12):
        save(tmp_path, f"{number:02}", run(record(evil, 1 + (number > 5)), hours=number, commit=f"{evil}{number}"))
    assert history(tmp_path) == 0
    assert len(changes(tmp_path)) == 1
    (entry,) = ET.parse(tmp_path / "out/regressions.xml").findall(f"{{{ATOM}}}entry")  # noqa: S314  # our own file
    assert "<script>" in str(entry.findtext(f"{{{ATOM}}}title"))
    assert ET.parse(tmp_path / "out/figures/group-1-history.svg")  # noqa: S314  # our own file
    assert "<script>" not in (tmp_path / "out/history.md").read_text()


def test_unusable_input_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, no run, no place to write; and a history of scaling runs alone is empty, which is fine."""
    assert history(tmp_path / "absent") == 2
    assert "does not exist" in capsys.readouterr().err
    save(tmp_path / "bad", "bad", {})
    assert history(tmp_path / "bad") == 2
    save(tmp_path / "good", "good", run(record(protocol="scaling")))
    assert history(tmp_path / "good", "--out", "/proc/none") == 2
    assert "give another folder with --out" in capsys.readouterr().err
    assert history(tmp_path / "good") == 0
    assert changes(tmp_path / "good") == []
