"""The protocol "epochs": the book's run, from its initial weights to its error; measured only where it is named.

Rerun the same command to resume an interrupted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.replay import store
from samenet import Epochs
from samenet.records import State

if TYPE_CHECKING:
    import argparse

    from pytest_benchmark.fixture import BenchmarkFixture

    from samenet import CaseResult


def protocol(option: argparse.Namespace) -> Epochs:
    """Return the protocol of this file."""
    return Epochs(epochs=option.epochs, target_error_percent=option.target_error)


def test_epochs(measured: CaseResult, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """Hand the training's seconds, as its workers timed them, to pytest-benchmark; or end with the case's reason."""
    if measured.state is State.SKIPPED:  # an interrupted run saves nothing: it is going to be resumed
        pytest.skip(measured.reason)
    store(measured, benchmark, request)
