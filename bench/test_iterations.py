"""The protocol "iterations": how long a round of minibatch updates takes, for every case of this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

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
    benchmark.extra_info.update(record)
    benchmark.group = f"{record['iterations']} iterations of workload {record['fingerprint']}"
    verdict = record.get("verdict", {})
    if verdict:
        record_property("verdict", verdict["sentence"])  # into JUnit's XML, where a passed test has no text
    if record["state"] != "valid":
        # Entered without a duration and marked: the run is saved with the reason in it, and with no figure.
        benchmark.has_error = True
        nobodys_fault = record["state"] in {"skipped", "contended", "throttled"}
        end = pytest.skip if nobodys_fault else partial(pytest.fail, pytrace=False)
        benchmark.pedantic(end, args=(f"{record['state']}: {record['reason']}",))
    clock = request.node.get_closest_marker("benchmark").kwargs["timer"]
    clock.durations = [each["wall_seconds"] for each in record["rounds"] if not each["disturbance"]]
    benchmark.pedantic(clock.advance, setup=clock.reset, rounds=len(clock.durations))
    if verdict.get("regression"):
        pytest.fail(verdict["sentence"], pytrace=False)
