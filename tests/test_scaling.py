"""The protocol "scaling" of the real command line: one campaign a size, one table and one record for all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import Bench


def test_each_size_is_a_campaign_and_the_file_adds_them_up(bench: Bench, tmp_path: Path) -> None:
    """The saved campaign is the sum of those that ran, and the terminal has a column for each size."""
    saved = tmp_path / "run.json"
    selected = "numpy-cpu and hidden and (100 or 250) and not 1000"
    done = bench("bench/test_scaling.py", "-k", selected, f"--benchmark-json={saved}")
    assert done.returncode == 0, done.stdout
    run = json.loads(saved.read_text())
    widths = [each["extra_info"]["workload"]["hidden"] for each in run["benchmarks"]]
    widths += [each["workload"]["hidden"] for each in run["samenet"]["cases_without_number"]]
    assert sorted(widths) == [100, 250]
    assert run["samenet"]["campaign"]["iterations"] == 20
    assert run["samenet"]["campaign"]["measured_seconds"] > 0
    table = done.stdout.partition("milliseconds of a step")[2]
    assert "hidden=100" in table
    assert "hidden=250" in table
