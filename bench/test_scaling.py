"""The protocol "scaling": how a step grows with the hidden width and the batch; measured only where it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.replay import store
from samenet import Scaling

if TYPE_CHECKING:
    import argparse

    from pytest_benchmark.fixture import BenchmarkFixture

    from samenet import CaseResult


def protocol(option: argparse.Namespace) -> Scaling:
    """Return the protocol of this file."""
    del option
    return Scaling()


@pytest.mark.parametrize("size", Scaling().sizes)
def test_scaling(size: str, measured: CaseResult, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
    """Hand the case's rounds at this size to pytest-benchmark; or end with the case's reason."""
    del size
    store(measured, benchmark, request)
