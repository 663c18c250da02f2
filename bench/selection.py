"""What pytest has selected to be measured, or why its options do not allow that."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from impls.lanes import Case

SPLIT = "cases are measured interleaved, by one process; leave -n and --dist out"
# Options of pytest and of its plugins, by their name in the namespace, that would measure for nothing.
REFUSED = {
    "setupplan": "--setup-plan runs no test",  # pytest then sets the next one too
    "setuponly": "--setup-only runs no test",
    "forked": "--forked discards the results",
    "reruns": "--reruns repeats a test, and a case is measured before its test",
    "benchmark_cprofile": "--benchmark-cprofile would profile the clock, and not the cases",
}


@dataclass(frozen=True)
class Selection:
    """The selected cases by size, which is "" where the protocol has none, and the module that names the protocol."""

    module: Any
    cases: Mapping[str, Sequence[Case]]


def refuse_to_split(config: pytest.Config) -> None:
    """Refuse a session that is split over several processes.

    Raises:
        pytest.UsageError: it is.
    """
    split = config.getoption("numprocesses", None) or config.getoption("dist", "no") != "no"
    if hasattr(config, "workerinput") or split or config.getoption("looponfail", None):
        raise pytest.UsageError(SPLIT)


def select(session: pytest.Session) -> Selection | None:
    """Return what is to be measured, or None where that is nothing.

    Raises:
        pytest.UsageError: it cannot be measured in this session.
    """
    items = [item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    items = [item for item in items if "case" in item.callspec.params and hasattr(item.module, "protocol")]
    modules = {item.module for item in items}
    if len(modules) > 1:
        names = ", ".join(sorted(module.__name__.rpartition(".")[2] for module in modules))
        raise pytest.UsageError(f"{names} measure by different protocols; run one at a time")
    if not items:
        return None
    refuse_options(session.config)
    cases: dict[str, list[Case]] = {}
    for item in items:
        parameters: dict[str, Any] = item.callspec.params
        case, size = parameters["case"], parameters.get("size", "")
        if case in cases.setdefault(size, []):
            raise pytest.UsageError(f"{case.id} is selected twice, and is measured once; leave out what repeats it")
        cases[size].append(case)
    return Selection(modules.pop(), cases)


def refuse_options(config: pytest.Config) -> None:
    """Refuse options with which nothing would be stored, or not what was measured.

    Raises:
        pytest.UsageError: there is one.
    """
    benchmarks = config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
    if benchmarks.disabled:
        raise pytest.UsageError("pytest-benchmark is disabled, and would store nothing; leave --benchmark-disable out")
    if benchmarks.skip:
        raise pytest.UsageError("--benchmark-skip skips every case; leave it out")
    for name, reason in REFUSED.items():
        if config.getoption(name, None):
            raise pytest.UsageError(f"{reason}; leave it out")
    if benchmarks.histogram and not importlib.util.find_spec("pygal"):
        raise pytest.UsageError("--benchmark-histogram needs pygal; run: python -m pip install pygal, or leave it out")
