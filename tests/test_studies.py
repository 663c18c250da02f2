"""The studies behind the method, each with the least that it can measure."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def study(*arguments: str, data: Path) -> str:
    """Run a study of one repeat on ``data``, and return what it prints."""
    command = [sys.executable, "-m", "bench.studies", *arguments, "--repeats", "1", "--data", str(data)]
    environment = os.environ | {"TOX_WORK_DIR": os.environ.get("TOX_WORK_DIR", str(ROOT / ".tox"))}
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=300
    ).stdout


def test_a_planted_slowdown_is_found_by_both_sides(small_mnist: Path) -> None:
    """Three tenths more are seen by paired rounds and by pytest-benchmark; each repeat has its line, then a count."""
    planted = ["--case", "numpy", "--names", "numpy", "--percent", "30", "--rounds", "10", "--budget", "6"]
    planted += ["--iterations", "10", "--launches", "1"]
    calibrated, repeat, count = study("against", *planted, "--seed", "7", data=small_mnist).splitlines()
    assert " more rows in numpy's step: 1." in calibrated
    assert repeat.startswith("  7 numpy-cpu slower 1.")
    assert repeat.endswith("; pytest-benchmark accuses: numpy-cpu")
    assert count == "numpy-cpu, planted 30 %: 1 slower; pytest-benchmark accuses it 1 times"
