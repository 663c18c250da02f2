"""From a worker's clock to pytest-benchmark, which times nothing here and stores what the worker has measured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from samenet.records import State
from samenet.saved import as_builtins

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from samenet.results import CaseResult


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
        """Return to zero, before each round: a sum of durations would lose their last digits."""
        self.now = 0.0

    def advance(self) -> None:
        """Let the next duration pass."""
        self.now = self.durations.pop(0)


def store(result: CaseResult, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """Let pytest-benchmark store ``result`` and, for a valid case, its durations; or end with the case's reason.

    The duration of a training is the whole of it.
    """
    benchmark.extra_info.update(as_builtins(result))
    benchmark.group = f"{result.iterations} iterations of workload {result.fingerprint}"
    if result.state is not State.VALID:
        is_version = request.node.callspec.params["case"].version is not None
        end_without_number(result, benchmark, skips=is_version or result.state.is_machines_fault)
    whole = [result.timed.value] if result.training else None
    clock = request.node.get_closest_marker("benchmark").kwargs["timer"]
    clock.durations = whole or list(result.clean_seconds.values())
    benchmark.pedantic(clock.advance, setup=clock.reset, rounds=len(clock.durations))


def end_without_number(result: CaseResult, benchmark: BenchmarkFixture, *, skips: bool) -> None:
    """Skip or fail the test with the case's reason, from inside pytest-benchmark.

    Entered without a duration and marked, so that the run is saved with the reason in it, and with no figure.
    """
    benchmark.has_error = True
    end = pytest.skip if skips else partial(pytest.fail, pytrace=False)
    benchmark.pedantic(end, args=(f"{result.state}: {result.reason}",))
