"""The protocol "iterations": how long a round of minibatch updates takes, for every case of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.replay import store
from samenet import Iterations

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from samenet import CaseResult


def protocol(option: argparse.Namespace) -> Iterations:
    """Return the protocol of this file."""
    del option
    return Iterations()


def test_iterations(
    measured: CaseResult,
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Hand the case's rounds, as its worker timed them, to pytest-benchmark; or end with the case's reason.

    A disturbed machine skips the test. Wrong work, a crash and more CPUs than were given fail it.
    """
    verdict = measured.verdict
    if verdict:
        record_property("verdict", verdict.sentence)  # into JUnit's XML, where a passed test has no text
    store(measured, benchmark, request)
    if verdict and verdict.regression:
        pytest.fail(verdict.sentence, pytrace=False)
