"""A terminal that keeps what is drawn on it, and the results of a campaign after each of its launches."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from samenet.context import Machine
from samenet.records import State
from samenet.results import CampaignRecord, Results
from samenet.stats import Estimate, paired_ratio
from tests.support.saved_runs import case_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from samenet.results import CaseResult, ComparisonRecord

AGAIN = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")  # rich clears the lines of the last frame
STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
LONGEST = "torch-cudagraph-cuda:1"


class Screen(io.StringIO):
    """A stream that says it is a terminal; COLUMNS has its width."""

    def isatty(self) -> bool:
        """Say so."""
        return True

    @property
    def frames(self) -> list[list[str]]:
        """The lines of each picture that was drawn, without their colours."""
        return [STYLES.sub("", frame).splitlines() for frame in AGAIN.split(self.getvalue())]


def without(name: str, state: State) -> CaseResult:
    """Return a case that has no number."""
    return replace(case_result(name), state=state, reason="it is so", seconds=None, efficiency=None)


def finely(name: str, typical: float, device: str = "cuda:1") -> CaseResult:
    """Return a case whose figures have as many digits as there can be."""
    case = case_result(name, typical, device=device)
    return replace(case, seconds=Estimate(typical, 0.99999 * typical, 1.00001 * typical))


def many_cases() -> list[CaseResult]:
    """Return cases with long names, long figures and long states."""
    cases = [case_result("numpy", 12.345), case_result("torch", 9.876), finely("torch-cudagraph", 1.2345)]
    return [*cases, without("jax", State.UNDERSUBSCRIBED), without("theano", State.SKIPPED)]


def results(cases: Iterable[CaseResult], against: ComparisonRecord | None = None, **campaign: float) -> Results:
    """Return ``cases`` as the results of a campaign, of which ``campaign`` has other seconds than none."""
    record = replace(CampaignRecord(seed=0, wall_seconds=0.0), **campaign)  # type: ignore[arg-type]
    return Results(machine=Machine(hardware={}, fingerprint="f"), campaign=record, cases=tuple(cases), against=against)


def after(launches: int, cases: Iterable[CaseResult]) -> Results:
    """Return the results after so many launches of 25 s, 8 s of which are measured."""
    seen = []
    for case in cases:
        rounds = tuple(each for each in case.rounds if each.launch < launches)
        valid = case.state is State.VALID
        seen.append(replace(case, launches=case.launches[:launches], rounds=rounds if valid else ()))
    return results(seen, wall_seconds=25.0 * launches, measured_seconds=8.0 * launches)


def speedup(results: Results, case: str, baseline: str) -> str:
    """Return the speedup that has to be shown, from the rounds."""
    ratio = paired_ratio(results[baseline].clean_seconds, results[case].clean_seconds)
    assert ratio
    return ratio.text()
