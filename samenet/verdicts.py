"""Whether a change made a case slower: from a paired ratio and a tolerance to a verdict with its reason."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samenet.records import Quantity, State
from samenet.results import Outcome, Verdict
from samenet.stats import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from samenet.results import CaseResult, ComparisonRecord
    from samenet.stats import Estimate

# Percentage points of validation error. Equal arithmetic moves it by 0.02 or so on 10,000 images.
ERROR_TOLERANCE = 0.1


def confidence(cases: int, all_hold: float = CONFIDENCE) -> float:
    """Return the confidence of each of ``cases`` intervals with which all of them hold at ``all_hold`` (Bonferroni)."""
    return 1 - (1 - all_hold) / max(1, cases)


def judge(
    case: str,
    ratio: Estimate | None,
    tolerance: float,
    errors: tuple[Mapping[str, float], Mapping[str, float]],
) -> Verdict:
    """Return the verdict on a case from the interval of its ``ratio``, time after over time before.

    ``slower`` and ``faster`` need the whole interval beyond ``tolerance`` (0.02 is 2 %), ``same`` the whole interval
    within it. ``errors`` are the error rates before and after, in percent: a faster step that learns less is a
    regression, and a case without a validation error is never ``same``.
    """
    before, after = (rates.get("validation", math.nan) for rates in errors)
    if math.isnan(before) or math.isnan(after):
        return Verdict(case, Outcome.INCONCLUSIVE, reason="its validation error is unknown; measure again")
    if after - before > ERROR_TOLERANCE:
        reason = f"its validation error rose from {before:.2f} to {after:.2f} %"
        return Verdict(case, Outcome.UNVERIFIED, ratio=ratio, reason=reason)
    if ratio is None or not ratio.has_interval:
        return Verdict(case, Outcome.INCONCLUSIVE, ratio=ratio, reason="there are too few pairs of undisturbed blocks")
    word = outcome(ratio, tolerance)
    return Verdict(case, word, ratio=ratio, reason=straddles(tolerance) if word is Outcome.INCONCLUSIVE else "")


def judge_quantity(case: str, quantity: Quantity, ratio: Estimate | None, tolerance: float) -> Verdict:
    """Return the verdict on what a case needs before its steady step, from a ratio over launches."""
    if ratio is None or not ratio.has_interval:
        reason = "there are too few launches in which both were measured"
        return Verdict(case, Outcome.INCONCLUSIVE, quantity=quantity, ratio=ratio, reason=reason)
    word = outcome(ratio, tolerance)
    if quantity is Quantity.MEMORY:
        word = {Outcome.SLOWER: Outcome.LARGER, Outcome.FASTER: Outcome.SMALLER}.get(word, word)
    reason = straddles(tolerance) if word is Outcome.INCONCLUSIVE else ""
    return Verdict(case, word, quantity=quantity, ratio=ratio, reason=reason)


def straddles(tolerance: float) -> str:
    """Return why a ratio is inconclusive that has an interval."""
    return f"its interval straddles the {100 * tolerance:g} % tolerance"


def outcome(ratio: Estimate, tolerance: float) -> Outcome:
    """Return on which side of ``tolerance`` the whole interval of ``ratio`` lies; inconclusive if on no one side."""
    if ratio.low > 1 + tolerance:
        return Outcome.SLOWER
    if ratio.high < 1 - tolerance:
        return Outcome.FASTER
    within = ratio.low >= 1 - tolerance and ratio.high <= 1 + tolerance
    return Outcome.SAME if within else Outcome.INCONCLUSIVE


def judge_case(
    after: CaseResult,
    before: CaseResult | None,
    former: str,
    ratio: Callable[[CaseResult, CaseResult], Estimate | None],
    tolerance: float,
) -> Verdict:
    """Return the verdict on a case that may lack a number now, or in ``former``; with both, ``ratio`` is asked.

    A case that lost its number through its own fault is a regression, whatever the clock says. One that had none
    before, through its own fault too, has lost nothing.
    """
    if after.state is not State.VALID:
        lost = not after.state.is_machines_fault and (before is None or before.state is State.VALID)
        wrong = after.state is State.UNVERIFIED and (before is None or before.state.is_machines_fault)
        word = Outcome.UNVERIFIED if lost or wrong else Outcome.INCONCLUSIVE
        return Verdict(after.case, word, reason=f"{after.state}: {after.reason}")
    if before is None:
        return Verdict(after.case, Outcome.NEW, reason=f"{former} has no such case")
    if before.state is not State.VALID:
        return Verdict(after.case, Outcome.INCONCLUSIVE, reason=f"at {former} it is {before.state}: {before.reason}")
    return judge(after.case, ratio(after, before), tolerance, (before.error_rates, after.error_rates))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The verdict on every case from ``before`` to ``after``; ``tolerance`` (0.02 is 2 %) is what may change."""

    before: str
    after: str
    tolerance: float
    verdicts: Sequence[Verdict]
    notes: Sequence[str] = ()

    @classmethod
    def saved(cls, record: ComparisonRecord) -> Comparison:
        """Return the comparison that ``record`` was saved from."""
        before = f"{record.revision} ({record.commit[:9]})" if record.commit else record.revision
        return cls(
            before=before,
            after=record.after,
            tolerance=record.tolerance,
            verdicts=record.verdicts,
            notes=record.notes,
        )

    @property
    def regression(self) -> bool:
        """Whether a build should fail."""
        return any(verdict.regression for verdict in self.verdicts)

    @property
    def unjudged(self) -> list[Quantity]:
        """What a build fails for and could be judged in no case: no gate passes then."""
        nothing_known = {Outcome.INCONCLUSIVE, Outcome.NEW, Outcome.REMOVED}
        gated = [each for each in self.verdicts if each.gates]
        judged = {
            each.quantity
            for each in gated
            if each.word not in nothing_known or (each.ratio is not None and each.ratio.has_interval)
        }
        return [each for each in Quantity if each in {verdict.quantity for verdict in gated} - judged]

    @property
    def is_empty(self) -> bool:
        """Whether something that a build fails for could be judged in no case, or nothing is."""
        return bool(self.unjudged) or not any(each.gates for each in self.verdicts)

    @property
    def title(self) -> str:
        """What is compared."""
        return f"{self.after} against {self.before}"

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        counts = Counter(verdict.word for verdict in self.verdicts)
        listed = ", ".join(f"{counts[word]} {word}" for word in Outcome if counts[word]) or "no case"
        is_one = all(verdict.quantity is Quantity.STEADY for verdict in self.verdicts)
        beyond = f" beyond {100 * self.tolerance:g} %" if is_one else ""  # other quantities have other tolerances
        return f"{'Regression' if self.regression else 'No regression'}{beyond}: {listed}."
