"""pytest's side of the harness: samenet's options, one test a case, and the session's one campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.options import add_options
from bench.replay import WorkerClock
from bench.session import Session
from impls.registry import Case, cases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add samenet's options."""
    add_options(parser.getgroup("samenet", "samenet: the same network in every framework"))


def pytest_configure(config: pytest.Config) -> None:
    """Register this session's state."""
    option = config.option
    if is_named(config, "test_epochs.py") and not (option.benchmark_save or option.benchmark_autosave):
        option.benchmark_save = "epochs"  # nobody trains for an hour to throw it away
    config.pluginmanager.register(Session(config), "samenet")


def is_named(config: pytest.Config, name: str) -> bool:
    """Tell whether the command line names the file ``name``."""
    return any(name in argument for argument in config.args)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the hours of two files out, unless they are named."""
    name = collection_path.name
    return True if name in {"test_scaling.py", "test_epochs.py"} and not is_named(config, name) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test a case."""
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
def measured(request: pytest.FixtureRequest) -> Callable[[Case], dict[str, Any]]:
    """Run the session's campaign if it has not run yet; return the lookup of a case's record."""
    session: Session = request.config.pluginmanager.getplugin("samenet")
    session.measure()
    return session.case_record
