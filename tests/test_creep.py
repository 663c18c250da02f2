"""Slow trends: what small steps add up to is found and dated, and flat histories have none."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from reports.__main__ import main
from reports.creep import rising_error, slow_trend
from reports.feed import ATOM
from reports.levels import Levels
from samenet.verdicts import ERROR_TOLERANCE
from tests.support.saved_runs import record, run, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RUNS = 90
PLACES = np.arange(RUNS)
SLOW = {
    "0.2 % a run": 0.002 * PLACES,
    "0.18 % a run": 0.0018 * PLACES,
    "1.8 % every ten runs": 0.018 * (PLACES // 10),
    "0.2 % a run, from run 30 on": 0.002 * np.maximum(0, PLACES - 30),
    "0.2 % a run, from run 60 on": 0.002 * np.maximum(0, PLACES - 60),
    "0.2 % a run, until run 30": 0.002 * np.minimum(PLACES, 30),
    "0.2 % a run, after a step down": -0.1 * (PLACES > 20) + 0.002 * np.maximum(0, PLACES - 30),
    "faster by 0.2 % a run": -0.002 * PLACES,
}
BEGINS = {"0.2 % a run, from run 30 on": 30, "0.2 % a run, from run 60 on": 60, "0.2 % a run, after a step down": 30}
STEPS = {
    "one": 0.08 * (PLACES > 45),
    "two": 0.08 * (PLACES > 30) + 0.05 * (PLACES > 60),
    "three": 0.08 * ((PLACES > 20) + 0.0 + (PLACES > 40) + (PLACES > 70)),
    "up and down": 0.08 * ((PLACES > 30) & (PLACES < 60)),
}


def noise(rng: np.random.Generator, runs: int, spread: float, correlation: float = 0.0) -> Array:
    """Return log times that vary by ``spread`` from run to run, each like its neighbour by a ``correlation``."""
    values = rng.normal(0, spread, runs)
    for place in range(1, runs):
        values[place] = correlation * values[place - 1] + math.sqrt(1 - correlation**2) * values[place]
    return values


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("seed", range(10))
def test_a_slow_trend_is_found_and_dated(name: str, seed: int) -> None:
    """With noise of 0.3 %, and one run in thirty far off: none of its steps needs to be a change by itself."""
    rng = np.random.default_rng(seed)
    logs = SLOW[name] + noise(rng, RUNS, 0.003)
    logs[rng.choice(RUNS, 3, replace=False)] += rng.choice([0.03, 0.5], 3)
    trend = slow_trend(Levels(logs))
    assert trend
    assert abs(trend.begin - BEGINS.get(name, 0)) <= 9
    if "until" in name:
        assert abs(trend.end - 30) <= 9


@pytest.mark.parametrize("spread", [0.01, 0.02])
def test_a_slow_trend_is_found_in_more_noise(spread: float) -> None:
    """0.2 % a run, with noise of five and ten times as much."""
    rng = np.random.default_rng(0)
    found = [slow_trend(Levels(0.002 * PLACES + noise(rng, RUNS, spread))) for _ in range(40)]
    assert sum(trend is not None for trend in found) >= 38


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("spread", [0.003, 0.01, 0.02])
def test_a_flat_history_has_no_slow_trend(spread: float, correlation: float) -> None:
    """At most 1 of 200, also where neighbouring runs are alike, as on a machine that is warmer on some days."""
    rng = np.random.default_rng(3)
    found = [slow_trend(Levels(noise(rng, RUNS, spread, correlation))) for _ in range(200)]
    assert sum(trend is not None for trend in found) <= 1


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", range(10))
def test_steps_that_are_reported_are_no_slow_trend(name: str, seed: int) -> None:
    """They explain where the newest level is."""
    logs = STEPS[name] + noise(np.random.default_rng(seed), RUNS, 0.005, 0.3)
    assert slow_trend(Levels(logs)) is None


def test_the_newest_level_has_an_interval_over_the_first() -> None:
    """In simulated histories with a step, the 95 % interval holds its size in 93 to 100 % of cases."""
    rng, held, step = np.random.default_rng(1), 0, 0.06
    for _ in range(300):
        levels = Levels(step * (PLACES >= 50) + noise(rng, RUNS, 0.01, 0.3))
        ratio = levels.newest_over(0)
        assert ratio
        held += math.log(ratio.low) <= step <= math.log(ratio.high)
    assert held >= 0.93 * 300


def test_an_error_that_rises_slowly_is_found() -> None:
    """By less than the tolerance each time; what varies within it, or rose in a step that is reported, is not."""
    slow = [12 + 0.01 * max(0, place - 20) for place in range(60)]
    trend = rising_error(slow)
    assert trend
    assert 20 <= trend.begin <= 26
    assert rising_error([12 + 0.02 * (place % 3) for place in range(60)]) is None
    assert rising_error([12.0] * 10 + [13.0] * 10) is None
    assert rising_error([math.nan] * 10) is None
    assert rising_error([math.nan, *slow, math.nan])


@pytest.mark.parametrize("runs", [30, 90])
@pytest.mark.parametrize("spread", [0.03, 0.04, 0.05, 0.08])
def test_flat_errors_that_vary_have_no_slow_trend(spread: float, runs: int) -> None:
    """At most 1 of 200, also where neighbours often differ by more than the tolerance."""
    rng = np.random.default_rng(5)
    found = [rising_error((12 + noise(rng, runs, spread)).tolist()) for _ in range(200)]
    assert sum(trend is not None for trend in found) <= 1


RISE = 2 * ERROR_TOLERANCE
RISES = {
    "all along": RISE * PLACES / RUNS,
    "from run 60 on": RISE * np.maximum(0, PLACES - 60) / 30,
    "after an improvement": RISE * np.abs(PLACES - 45) / 45,
}


@pytest.mark.parametrize("name", RISES)
def test_an_error_that_rises_is_found_in_noise(name: str) -> None:
    """By twice the tolerance, with a noise of a fifth of it."""
    rng = np.random.default_rng(6)
    found = [rising_error((12 + RISES[name] + noise(rng, RUNS, 0.02)).tolist()) for _ in range(100)]
    assert sum(trend is not None for trend in found) >= 95


def save_creep(folder: Path, logs: Array, **more: Any) -> None:
    """Save a run of numpy for each of ``logs``, a day apart."""
    for number, log in enumerate(logs):
        case = record("numpy", 2.0, losses=[], curve=[], **more)
        seconds = {end: 2 * math.exp(log) * factor for end, factor in (("low", 0.99), ("value", 1), ("high", 1.01))}
        save(folder, f"{number:03}", run(case | {"seconds": seconds}, hours=number, commit=f"{number:03x}" * 13))


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a table that was written."""
    with (folder / f"out/csv/{name}.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("command", ["history", "build"])
@pytest.mark.parametrize("name", ["0.18 % a run", "1.8 % every ten runs"])
def test_the_report_has_the_trend_and_the_levels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    """A regression with its size and beginning, in the table, the files and the feed; the levels are always there."""
    save_creep(tmp_path, SLOW[name] + noise(np.random.default_rng(0), RUNS, 0.003))
    assert main([command, "--storage", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    if command == "history":
        assert "slow trend of time" in capsys.readouterr().out
    (trend,) = [row for row in rows(tmp_path, "changes") if row["what"] == "slow trend of time"]
    assert trend["regression"] == "True"
    assert trend["since"] < "2026-01-01 12:00"
    (levels,) = rows(tmp_path, "levels")
    total = math.exp(SLOW[name][-1])
    for ratio in ("newest_over_first", "newest_over_best"):
        assert float(levels[ratio]) == pytest.approx(total, abs=0.02)
        assert float(levels[f"{ratio}_low"]) < float(levels[ratio]) < float(levels[f"{ratio}_high"])
    entries = ET.parse(tmp_path / "out/regressions.xml").findall(f"{{{ATOM}}}entry")  # noqa: S314  # our own file
    assert any("slow trend of time +1" in str(entry.findtext(f"{{{ATOM}}}title")) for entry in entries)


def test_the_id_of_a_trend_stays_in_the_feed(tmp_path: Path) -> None:
    """When later runs are added it is the same entry, with a later date."""
    logs = SLOW["0.2 % a run"] + noise(np.random.default_rng(0), RUNS, 0.003)
    ids, dates = set(), set()
    for runs in (60, 90):
        save_creep(tmp_path, logs[:runs])
        assert main(["history", "--storage", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
        entries = ET.parse(tmp_path / "out/regressions.xml").findall(f"{{{ATOM}}}entry")  # noqa: S314  # our own file
        (trend,) = [entry for entry in entries if "slow trend" in str(entry.findtext(f"{{{ATOM}}}title"))]
        ids.add(trend.findtext(f"{{{ATOM}}}id"))
        dates.add(trend.findtext(f"{{{ATOM}}}updated"))
    assert len(ids) == 1
    assert len(dates) == 2


def test_what_is_left_out_is_listed_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By both commands, and so is a run that is dated in the future."""
    save(tmp_path, "good", run(record("numpy")))
    save(tmp_path, "late", run(record("numpy"), hours=1e6))
    save(tmp_path, "z_copy", run(record("numpy")))
    for command in ("build", "history"):
        assert main([command, "--storage", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "z_copy.json is a copy of Linux-CPython-3.11-64bit/good.json" in shown
        assert "Dated in the future" in shown
        assert "late.json (2140-01-30 16:00 UTC); check the clock" in shown
        assert rows(tmp_path, "left-out")
