"""Speedups: which case they are over, and whether a campaign knows them well enough to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samenet.plan import FEWEST_LAUNCHES, Role
from samenet.records import State
from samenet.stats import paired_ratio

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from samenet.plan import Entry
    from samenet.results import CaseResult
    from samenet.stats import Estimate

BASELINES = ("numpy-cpu", "theano-cpu")  # what every machine has, or else the book's framework
SHARP = 0.015  # half the width of an interval over its value


def valid_cases(cases: Collection[CaseResult]) -> list[CaseResult]:
    """Return the cases with a number, the fastest first."""
    return sorted((case for case in cases if case.state is State.VALID), key=lambda case: case.timed.value)


def choose_baseline(cases: Sequence[CaseResult], wanted: str | None = None) -> str:
    """Return the case that speedups are over, if it is valid.

    It is the wanted one, or else what other versions are compared with, one of ``BASELINES``, or the slowest.
    """
    slowest_first = valid_cases(cases)[::-1]
    names = [case.case for case in slowest_first]
    is_compared = any(case.verdict for case in cases)
    references = [case.case for case in slowest_first if is_compared and case.verdict is None]
    preferred = [name for name in (wanted, *references, *BASELINES) if name in names]
    return str((preferred or names or [wanted or BASELINES[0]])[0])


def speedup(slower: CaseResult, faster: CaseResult) -> Estimate | None:
    """Return how many times faster the second case is, from the pairs of their blocks."""
    return paired_ratio(slower.clean_seconds, faster.clean_seconds, slower.confidence)


def speedups(cases: Collection[CaseResult], baseline: str) -> dict[str, float]:
    """Return the speedup of each valid case that has pairs with the baseline."""
    valid = valid_cases(cases)
    base = next((case for case in valid if case.case == baseline), None)
    return {case.case: ratio.value for case in valid if base and (ratio := speedup(base, case))}


def unsharp(results: Mapping[str, CaseResult], entries: Sequence[Entry]) -> set[str]:
    """Return the labels of all entries while a speedup is not sharp, since ratios need pairs; else none.

    ``results`` are those of ``entries``, by label. A twin's ratio to the case that it repeats has to be sharp too. A
    case without a number is waited for as long as a quieter machine may give it one.
    """
    cases = [results[entry.label] for entry in entries if entry.role is Role.CASE]
    twins = {entry.label: entry.of for entry in entries if entry.role is Role.TWIN}
    base = results.get(choose_baseline(cases))
    pairs = [(base, case) for case in valid_cases(cases) if base and case is not base]
    pairs += [(results[once], results[label]) for label, once in twins.items()]
    ratios = [speedup(slower, faster) for slower, faster in pairs if slower.state is faster.state is State.VALID]
    is_sharp = all(ratio is not None and ratio.half_width <= SHARP for ratio in ratios)
    enough = all(len(case.launches) >= FEWEST_LAUNCHES for case in valid_cases(cases))
    waits = any(case.state.may_recover for case in cases)
    return set() if is_sharp and enough and not waits else set(results)
