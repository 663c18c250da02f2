"""pytest's side of the harness: samenet's options, one test for each case, and the results of the measurement.

What needs more than pytest and numpy is imported in the hooks, so that its absence has a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.requirements import lacking

if TYPE_CHECKING:
    from collections.abc import Generator

    from bench.ending import Code
    from bench.plugin import Plugin
    from impls.lanes import Case
    from samenet import CaseResult

LONG = {"test_scaling.py", "test_epochs.py"}  # take hours: collected only where they are named


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add samenet's options.

    Raises:
        pytest.UsageError: something is not installed, or another plugin has an option of the same name.
    """
    if missing := lacking():
        raise pytest.UsageError(missing)
    if not pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError(
            "pytest-benchmark is not loaded; run: python -m pip install --group bench, and leave -p no:benchmark out"
        )
    from bench.options import add_options  # noqa: PLC0415

    try:
        add_options(parser.getgroup("samenet", "samenet: the same network in every framework"))
        with contextlib.suppress(pytest.UsageError):  # another plugin may have an option that has to be given
            parser.parse_known_args([])  # pytest 8 finds two options of one name only as it parses
    except (ValueError, argparse.ArgumentError) as error:
        reason = f"another plugin of pytest has one of samenet's options ({error})"
        raise pytest.UsageError(f"{reason}; switch it off, as with -p no:timeout") from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Code, Code]:
    """Decide about the exit code."""
    from bench.ending import Ending  # noqa: PLC0415

    return (yield from Ending.of(config).session())


def pytest_configure(config: pytest.Config) -> None:
    """Register this session's plugins.

    Raises:
        pytest.UsageError: the session is split over several processes.
    """
    from bench.ending import Ending  # noqa: PLC0415
    from bench.options import fill_in  # noqa: PLC0415
    from bench.plugin import Plugin  # noqa: PLC0415
    from bench.selection import refuse_to_split  # noqa: PLC0415

    refuse_to_split(config)
    fill_in(config.option)
    ending = Ending.of(config)
    config.pluginmanager.register(ending, "samenet-ending")
    config.pluginmanager.register(Plugin(config, ending), "samenet")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the long files out, unless they are named."""
    named = {Path(argument.partition("::")[0]).name for argument in config.args}
    return True if collection_path.name in LONG - named else None


def name_of(case: Case) -> str:
    """Return the id of a case's test, without the package of a version: ``-k numpy`` is not for all that use numpy."""
    return f"{case.implementation.name}-{case.device}" + (f" @ {case.version.version}" if case.version else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each case."""
    from bench.options import offered  # noqa: PLC0415
    from bench.replay import WorkerClock  # noqa: PLC0415

    if "case" in metafunc.fixturenames:
        metafunc.parametrize(
            "case",
            [
                pytest.param(
                    case,
                    id=name_of(case),
                    marks=[pytest.mark.benchmark(timer=WorkerClock()), getattr(pytest.mark, case.implementation.lane)],
                )
                for case in offered(metafunc.config.option)
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
