"""The protocol "iterations": how long a round of minibatch updates takes, for every case of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.replay import store
from samenet import Iterations

if TYPE_CHECKING:
    import argparse

    from pytest_benchmark.fixture import BenchmarkFixture

    from samenet import CaseResult


def protocol(option: argparse.Namespace) -> Iterations:
    """Return the protocol of this file."""
    del option
    return Iterations()


def test_iterations(measured: CaseResult, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """Hand the case's rounds, as its worker timed them, to pytest-benchmark; or end with the case's reason.

    A disturbed machine skips the test. Wrong work, a crash and more CPUs than were given fail it.
    """
    verdicts = [*([measured.verdict] if measured.verdict else []), *measured.other_verdicts]
    # Into JUnit's XML, where a passed test has no text. The fixture for it warns, which -W error makes an error.
    request.node.user_properties.extend(("verdict", verdict.sentence) for verdict in verdicts)
    store(measured, benchmark, request)
    if worse := [verdict.sentence for verdict in verdicts if verdict.regression]:
        pytest.fail("; ".join(worse), pytrace=False)
