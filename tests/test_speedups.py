"""Which case speedups are over, and when a campaign knows them well enough to end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from samenet.plan import FEWEST_LAUNCHES, Role
from samenet.records import Launch, State
from samenet.speedups import choose_baseline, speedup, unsharp
from tests.support.campaigns import entries
from tests.support.saved_runs import case_result, timed_round

if TYPE_CHECKING:
    from samenet.results import CaseResult

ENTRIES = [
    *entries("numpy-cpu", "torch-cpu"),
    replace(entries("numpy-cpu again")[0], role=Role.TWIN, of="numpy-cpu"),
    *entries("numpy-matmul-cpu", role=Role.BOUND),
]


def spread(name: str, percent: float, launches: int = FEWEST_LAUNCHES) -> CaseResult:
    """Return a case whose launches differ by about so much."""
    walls = 2 * np.random.default_rng(list(name.encode())).normal(1, percent / 100, launches)
    rounds = tuple(timed_round(launch, float(wall)) for launch, wall in enumerate(walls))
    return replace(case_result(name), rounds=rounds, launches=tuple(Launch(launch=each) for each in range(launches)))


def results(percent: float, launches: int = FEWEST_LAUNCHES) -> dict[str, CaseResult]:
    """Return two cases, the twin of one of them, and a bound whose launches differ much."""
    again = replace(spread("again", 0.1, launches), case="numpy-cpu")
    return {
        "numpy-cpu": spread("numpy", 0.1, launches),
        "torch-cpu": spread("torch", percent, launches),
        "numpy-cpu again": again,
        "numpy-matmul-cpu": spread("matmul", 9.0, launches),
    }


def test_a_campaign_goes_on_until_every_speedup_is_sharp() -> None:
    """All of its entries do, since a ratio needs both of its sides."""
    assert unsharp(results(0.1), ENTRIES) == set()
    assert unsharp(results(5.0), ENTRIES) == set(results(5.0))
    assert unsharp(results(0.1, FEWEST_LAUNCHES - 1), ENTRIES)


def test_the_twin_has_to_be_sharp_too() -> None:
    """It is what tells a reader how much the machine varies."""
    measured = results(0.1) | {"numpy-cpu again": replace(spread("again", 5.0), case="numpy-cpu")}
    assert unsharp(measured, ENTRIES) == set(measured)


@pytest.mark.parametrize(
    ("state", "goes_on"), [(State.CONTENDED, True), (State.THROTTLED, True), (State.FAILED, False)]
)
def test_a_case_without_a_number_is_waited_for_if_it_may_get_one(state: State, *, goes_on: bool) -> None:
    """A quieter machine can help a disturbed case, and no broken one."""
    measured = results(0.1)
    measured["torch-cpu"] = replace(measured["torch-cpu"], state=state, seconds=None, reason="it is")
    assert bool(unsharp(measured, ENTRIES)) == goes_on


def test_speedups_are_over_numpy_or_else_the_slowest() -> None:
    """The interval is that of the campaign's confidence."""
    slow, fast = case_result("torch", 4.0), case_result("jax", 2.0)
    assert choose_baseline([slow, fast]) == "torch-cpu"
    assert choose_baseline([slow, fast, case_result("numpy", 3.0)]) == "numpy-cpu"
    assert choose_baseline([slow, fast], "jax-cpu") == "jax-cpu"
    wide = speedup(replace(slow, confidence=0.99), fast)
    narrow = speedup(slow, fast)
    assert wide
    assert narrow
    assert wide.half_width > narrow.half_width
