"""pytest's side of the harness: samenet's options, one test for each case, and the results of the measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.options import add_options
from bench.plugin import Plugin
from bench.replay import WorkerClock
from impls.registry import cases

if TYPE_CHECKING:
    from impls.lanes import Case
    from samenet import CaseResult

LONG = {"test_scaling.py", "test_epochs.py"}  # take hours: collected only where they are named


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add samenet's options."""
    add_options(parser.getgroup("samenet", "samenet: the same network in every framework"))


def pytest_configure(config: pytest.Config) -> None:
    """Register this session's plugin.

    Raises:
        pytest.UsageError: the session is split over several processes.
    """
    if (
        hasattr(config, "workerinput")
        or config.getoption("numprocesses", None)
        or config.getoption("dist", "no") != "no"
    ):
        raise pytest.UsageError("cases are measured interleaved, by one process; leave -n and --dist out")
    config.pluginmanager.register(Plugin(config), "samenet")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the long files out, unless they are named."""
    named = {Path(argument.partition("::")[0]).name for argument in config.args}
    return True if collection_path.name in LONG - named else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each case."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize(
            "case",
            [
                pytest.param(
                    case,
                    id=case.id,
                    marks=[pytest.mark.benchmark(timer=WorkerClock()), getattr(pytest.mark, case.implementation.lane)],
                )
                for case in cases(tuple(dict.fromkeys(metafunc.config.option.gpu or (0,))))
            ],
        )


@pytest.fixture
def measured(case: Case, request: pytest.FixtureRequest) -> CaseResult:
    """Return the result of the case, which was measured before the first test."""
    plugin: Plugin = request.config.pluginmanager.getplugin("samenet")
    result = plugin.result(case, request.node.callspec.params.get("size", ""))
    if result is None:
        pytest.skip("interrupted before this size")
    return result
