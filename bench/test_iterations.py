"""The protocol "iterations": how long a round of minibatch updates takes, for every case of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.replay import hand_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from impls.registry import Case


def test_iterations(
    case: Case,
    measured: Callable[[Case], dict[str, Any]],
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Hand the case's rounds, as its worker timed them, to pytest-benchmark; or end with the case's reason.

    A disturbed machine is nobody's failure: the test is skipped. Wrong work, a crash and stolen CPUs fail it.
    """
    record = measured(case)
    benchmark.group = f"{record['iterations']} iterations of workload {record['fingerprint']}"
    verdict = record.get("verdict", {})
    if verdict:
        record_property("verdict", verdict["sentence"])  # into JUnit's XML, where a passed test has no text
    seconds = [each["wall_seconds"] for each in record["rounds"] if not each["disturbance"]]
    hand_over(record, benchmark, request, seconds)
    if verdict.get("regression"):
        pytest.fail(verdict["sentence"], pytrace=False)
