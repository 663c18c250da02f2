"""Mutated saved runs next to good ones: a short version of ``python -m tests.support.fuzz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.fuzz import KINDS, fuzz

if TYPE_CHECKING:
    from pathlib import Path


def test_mutated_runs_neither_fail_a_report_nor_hide_a_good_run(tmp_path: Path) -> None:
    """Each of them is shown, or left out with a reason of a known kind."""
    tally = fuzz(40, 40, 0, tmp_path)
    assert tally.shown + sum(tally.reasons.values()) == 40
    assert tally.shown > 0
    assert set(tally.reasons) <= set(KINDS)
