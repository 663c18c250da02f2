"""From a worker's clock to pytest-benchmark: it times nothing, it is handed what the worker has measured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


class WorkerClock:
    """The timer that pytest-benchmark reads: it shows what the worker measured, one duration a call of ``advance``."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now = 0.0
        self.durations: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def reset(self) -> None:
        """Go back to zero, before each round: a sum of durations would lose their last digits."""
        self.now = 0.0

    def advance(self) -> None:
        """Let the next duration pass."""
        self.now = self.durations.pop(0)


def hand_over(
    record: dict[str, Any], benchmark: BenchmarkFixture, request: pytest.FixtureRequest, seconds: list[float]
) -> None:
    """Let pytest-benchmark store ``record`` and, for a valid case, its durations; or end with the case's reason.

    A disturbed machine is nobody's failure: the test is skipped. Wrong work, a crash and stolen CPUs fail it.
    """
    benchmark.extra_info.update(record)
    if record["state"] != "valid":
        # Entered without a duration and marked: the run is saved with the reason in it, and with no figure.
        benchmark.has_error = True
        nobodys_fault = record["state"] in {"skipped", "contended", "throttled"}
        end = pytest.skip if nobodys_fault else partial(pytest.fail, pytrace=False)
        benchmark.pedantic(end, args=(f"{record['state']}: {record['reason']}",))
    clock = request.node.get_closest_marker("benchmark").kwargs["timer"]
    clock.durations = seconds
    benchmark.pedantic(clock.advance, setup=clock.reset, rounds=len(clock.durations))
