"""The studies behind docs/evidence.md, each with the least that it can measure.

Rounds of one update on one CPU are too short for a busy machine to disturb; their noise is small compared with what is
planted here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from samenet.environments import ROOT
from studies.__main__ import main
from studies.laboratory import StudyError
from studies.options import Options
from studies.planting import PLANTS, Plant, plant
from studies.pytest_runs import PytestRuns
from tests.support.command_line import TRIES, skip_if_disturbed, some_of_tox

if TYPE_CHECKING:
    from pathlib import Path

SHORT = ("--iterations", "1", "--threads", "1")


def study(*arguments: str, data: Path) -> list[str]:
    """Run a study of short rounds on ``data``, and return the lines that it prints."""
    command = [sys.executable, "-m", "studies", *arguments, *SHORT, "--data", str(data)]
    environment = os.environ | {"TOX_WORK_DIR": str(some_of_tox(data.with_name("tox"), ("numpy", "cpp")))}
    for _ in range(TRIES):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if "run again when the machine is quiet" not in done.stderr:
            break
    else:
        pytest.skip(f"this machine is too busy: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_planted_slowdown_is_found_by_both_sides(small_mnist: Path) -> None:
    """Three tenths more are never called the same or faster; each repeat has its line, then the counts follow."""
    planted = ["--case", "numpy", "--names", "numpy", "--percent", "30", "--rounds", "30", "--budget", "3"]
    planted += ["--launches", "2", "--seed", "7", "--repeats", "1"]
    calibrated, *repeats, count = study("against", *planted, data=small_mnist)
    assert re.fullmatch(r"\d+ more rows in numpy's step: 1\.\d+ \(.*\) times the time", calibrated)
    for seed, line in enumerate(repeats, 7):
        pattern = (
            rf"  {seed} numpy-cpu (slower 1\.\d+ \(.*\)|inconclusive.*); pytest-benchmark flagged: (numpy-cpu|none)"
        )
        assert re.fullmatch(pattern, line)
    assert len(repeats) == 1
    slower = sum("numpy-cpu slower" in line for line in repeats)
    flagged = sum(line.endswith("flagged: numpy-cpu") for line in repeats)
    assert slower
    assert flagged
    assert count.startswith("numpy-cpu, planted 30 %: ")
    assert f"{slower} slower" in count
    assert count.endswith(f"; flagged by pytest-benchmark: {flagged}")


@pytest.mark.slow
@pytest.mark.alone
def test_a_case_is_measured_against_itself(small_mnist: Path) -> None:
    """Each repeat prints a ratio with its interval; the last line counts the intervals that hold 1.00."""
    *repeats, summary = study("same", "--repeats", "2", "--rounds", "5", "--launches", "1", data=small_mnist)
    skip_if_disturbed("\n".join([*repeats, summary]))
    ratios = [re.fullmatch(r"  \d (\S+) \((\S+) to (\S+)\)", line) for line in repeats]
    intervals = [[float(end) for end in ratio.groups()[1:]] for ratio in ratios if ratio]
    assert len(intervals) == 2, repeats
    held = sum(low <= 1 <= high for low, high in intervals)
    assert summary.startswith(f"{held} of 2 intervals hold 1.00; their half width is ")


@pytest.mark.slow
def test_speedups_are_measured_both_ways(small_mnist: Path) -> None:
    """A repeat prints every framework's speedup over numpy, interleaved and from the plain suite; then each varies."""
    few = ("--repeats", "2", "--rounds", "5", "--launches", "1", "--names", "numpy", "cpp")
    first, second, *deviations = study("spread", *few, data=small_mnist)
    skip_if_disturbed(first + second)
    others = ["cpp-cpu"]
    for kind in ("paired", "plain"):
        assert sorted(re.findall(rf"(\S+) \d+\.\d+ {kind}", first)) == others
    for case, line in zip(others, deviations, strict=True):
        assert re.fullmatch(rf"{case}: the speedup's standard deviation is \S+ % paired, \S+ % plain", line)


def test_the_plain_suite_starts_no_campaign(small_mnist: Path, tmp_path: Path) -> None:
    """pytest-benchmark times the selected case by itself, and nothing of samenet's is saved."""
    options = Options(launches=2, rounds=3, iterations=1, threads=1, data=small_mnist)
    medians = PytestRuns(options, str(tmp_path)).plain_medians(["numpy"])
    saved = json.loads((tmp_path / "plain.json").read_text())
    (benchmark,) = saved["benchmarks"]
    assert "samenet" not in saved
    assert benchmark["stats"]["rounds"] == options.rounds * options.launches
    assert medians == {"numpy-cpu": benchmark["stats"]["median"]}


@pytest.mark.parametrize("name", PLANTS)
def test_a_slowdown_can_be_planted(name: str, tmp_path: Path) -> None:
    """One line is added to the step, and nothing else is changed; planting again replaces it."""
    file = tmp_path / PLANTS[name].file
    file.parent.mkdir()
    for rows in (100, 200):
        plant(tmp_path, name, rows)
        added = set(file.read_text().splitlines()) - set((ROOT / PLANTS[name].file).read_text().splitlines())
        assert added == {PLANTS[name].extra.format(rows=rows).rstrip()}


def test_a_plant_whose_line_is_gone_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The implementation was rewritten: the message says what to update."""
    monkeypatch.setitem(PLANTS, "numpy", Plant("impls/numpy_mlp.py", "no such line\n", ""))
    with pytest.raises(StudyError, match="no longer has the line 'no such line'; update PLANTS"):
        plant(tmp_path, "numpy", 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["against", "--percent", "5", "--case", "jax"], "cannot make jax slower; choose one of: numpy, torch"),
        (["same", "--case", "nampy"], "there is no case nampy-cpu; choose from: numpy-cpu, "),
    ],
)
def test_what_cannot_be_studied_is_refused(
    arguments: list[str], complaint: str, small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what can be."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data", str(small_mnist)])
    assert complaint in f"{ended.value.code}{capsys.readouterr().err}"


def test_blocks_are_compared_with_long_runs(small_mnist: Path) -> None:
    """Each implementation has its line."""
    (line,) = study("blocks", "--names", "numpy", "--launches", "1", "--rounds", "5", data=small_mnist)
    assert re.fullmatch(r"numpy-cpu: a step in blocks takes \d.* times as long as in runs of \d+", line)
