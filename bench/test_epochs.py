"""The protocol "epochs": the book's run, from its initial weights to its error; run only where it is named.

The same command goes on where an earlier one was interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.replay import hand_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from impls.registry import Case


def test_epochs(
    case: Case,
    measured: Callable[[Case], dict[str, Any]],
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Hand the training's seconds, as its workers timed them, to pytest-benchmark; or end with the case's reason."""
    record = measured(case)
    if record["state"] == "skipped":  # a run that was interrupted saves nothing: it is going to go on
        pytest.skip(record["reason"])
    benchmark.group = f"{record['iterations']} updates of workload {record['fingerprint']}"
    hand_over(record, benchmark, request, [point["seconds"] for point in record["curve"][-1:]])
