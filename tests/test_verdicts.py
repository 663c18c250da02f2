"""The verdict on a case after a change, from the interval of its ratio and from what it has learned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from samenet.records import State
from samenet.results import Outcome, Verdict
from samenet.stats import Estimate
from samenet.verdicts import Comparison, confidence, judge, judge_case
from tests.support.saved_runs import case_result

KNOWN = {"validation": 12.0}


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (1.04, 1.03, 1.05, Outcome.SLOWER),
        (0.95, 0.9, 0.97, Outcome.FASTER),
        (1.0, 0.985, 1.015, Outcome.SAME),
        (1.0, 0.99, 1.03, Outcome.INCONCLUSIVE),
        (1.03, 1.01, 1.05, Outcome.INCONCLUSIVE),
        (1.0, math.nan, math.nan, Outcome.INCONCLUSIVE),
    ],
)
def test_a_verdict_needs_its_whole_interval(value: float, low: float, high: float, word: Outcome) -> None:
    """With a tolerance of 2 %, only an interval wholly on one side decides."""
    assert judge("numpy-cpu", Estimate(value, low, high), 0.02, (KNOWN, KNOWN)).word is word


def test_learning_less_is_a_regression_however_fast() -> None:
    """A validation error that rose by more than a tenth of a point fails."""
    verdict = judge("numpy-cpu", Estimate(0.5, 0.4, 0.6), 0.02, (KNOWN, {"validation": 12.2}))
    assert verdict.word is Outcome.UNVERIFIED
    assert verdict.regression


@pytest.mark.parametrize("errors", [({}, KNOWN), (KNOWN, {}), (KNOWN, {"validation": math.nan}), ({}, {})])
def test_a_case_whose_error_is_unknown_is_never_the_same(errors: tuple[dict[str, float], dict[str, float]]) -> None:
    """Missing or NaN, before or after: nothing proves that it still learns."""
    verdict = judge("numpy-cpu", Estimate(1.0, 0.99, 1.01), 0.02, errors)
    assert verdict.word is Outcome.INCONCLUSIVE
    assert "its validation error is unknown" in verdict.sentence


def test_a_number_lost_through_the_cases_own_fault_is_a_regression() -> None:
    """A crash fails a build, a busy machine does not, and neither asks for a ratio."""
    before = case_result()

    def verdict(state: State) -> Verdict:
        after = replace(before, state=state, reason="as it happened", seconds=None)
        return judge_case(after, before, "main", lambda *_: pytest.fail("asked for a ratio"), 0.02)

    assert verdict(State.FAILED).regression
    assert verdict(State.OVERSUBSCRIBED).regression
    assert verdict(State.UNDERSUBSCRIBED).regression
    assert not verdict(State.CONTENDED).regression
    assert verdict(State.SKIPPED).sentence == "numpy-cpu is inconclusive: skipped: as it happened"


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (State.UNVERIFIED, State.UNVERIFIED, Outcome.INCONCLUSIVE),
        (State.FAILED, State.UNVERIFIED, Outcome.INCONCLUSIVE),
        (State.UNVERIFIED, State.FAILED, Outcome.INCONCLUSIVE),
        (State.FAILED, State.FAILED, Outcome.INCONCLUSIVE),
        (State.CONTENDED, State.UNVERIFIED, Outcome.UNVERIFIED),
        (State.SKIPPED, State.UNVERIFIED, Outcome.UNVERIFIED),
        (None, State.UNVERIFIED, Outcome.UNVERIFIED),
        (None, State.FAILED, Outcome.UNVERIFIED),
    ],
)
def test_what_did_not_work_before_is_not_lost(before: State | None, after: State, word: Outcome) -> None:
    """It has no verdict, and its reason; where the machine is why nothing is known of before, the error counts."""
    case = replace(case_result(), state=after, reason="so", seconds=None)
    former = replace(case, state=before) if before else None
    verdict = judge_case(case, former, "main", lambda *_: pytest.fail("asked for a ratio"), 0.02)
    assert verdict.word is word
    assert verdict.reason == f"{after}: so"


def test_many_cases_ask_more_of_each() -> None:
    """Four intervals hold together at 95 % if each holds at 98.75 %."""
    assert confidence(4) == pytest.approx(0.9875)
    assert confidence(0) == confidence(1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("verdicts", "is_empty"),
    [
        ([], True),
        ([Verdict("a", Outcome.NEW), Verdict("b", Outcome.REMOVED)], True),
        ([Verdict("a", Outcome.INCONCLUSIVE, reason="contended")], True),
        ([Verdict("a", Outcome.INCONCLUSIVE, ratio=Estimate(1.0))], True),
        ([Verdict("a", Outcome.INCONCLUSIVE, ratio=Estimate(1.0, 0.9, 1.1))], False),
        ([Verdict("a", Outcome.SAME, ratio=Estimate(1.0, 0.99, 1.01)), Verdict("b", Outcome.NEW)], False),
        ([Verdict("a", Outcome.UNVERIFIED)], False),
    ],
)
def test_a_comparison_without_a_judged_case_is_empty(verdicts: list[Verdict], *, is_empty: bool) -> None:
    """A wide interval is a judgement, too little data is none."""
    assert Comparison(before="a", after="b", tolerance=0.02, verdicts=verdicts).is_empty is is_empty
