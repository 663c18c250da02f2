"""Which release of a package changed a case: a binary search, which asks for the measurement of one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from samenet.records import Quantity
from samenet.results import Outcome
from samenet.stats import Estimate
from samenet.verdicts import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.95  # that all answers of the search are right


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which release from ``first`` to ``last`` changed ``quantity`` of ``case`` by ``change`` (0.05 is 5 %) or more."""

    package: str
    first: str
    last: str
    case: str
    quantity: Quantity = Quantity.STEADY
    change: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was measured of one release; ratios are None where it has no number.

    Attributes:
        version: the release.
        over_first: its time or memory over that of the first release of the range.
        under_last: that of the last release over its own.
        reason: why it has no number.
        may_change: whether it may have one when the machine is quieter.
    """

    version: str
    over_first: Estimate | None = None
    under_last: Estimate | None = None
    reason: str = ""
    may_change: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the search found.

    Attributes:
        sentence: the answer in words.
        is_decided: whether the intervals were narrow enough for one.
        notes: other changes, and releases that were stepped over.
        probes: what was measured.
    """

    sentence: str
    is_decided: bool
    notes: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()


def is_beyond(ratio: Estimate | None, change: float) -> bool | None:
    """Return whether the whole interval of ``ratio`` is further from 1 than ``change``, None if it is on both sides."""
    if ratio is None or not ratio.has_interval:
        return None
    word = outcome(ratio, change)
    return None if word is Outcome.INCONCLUSIVE else word is not Outcome.SAME


def may_reach(step: Estimate | None, change: float) -> bool:
    """Return whether ``step`` is certain to be a change, and may be one of ``change`` or more, by its interval."""
    return bool(step and is_beyond(step, 0) and max(step.high, 1 / step.low) >= 1 + change)


@dataclass
class Search:
    """Finds where a sequence of ``releases`` changed.

    ``measure`` probes a release until its ratio to the first one is on one side of a threshold, if it can be; the last
    release comes first. A change by less than half of the one that is looked for counts as none: half is the middle
    between the two.
    """

    question: Question
    releases: Sequence[str]
    measure: Callable[[str, float], Probe]
    probes: list[Probe] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self) -> Answer:
        """Return the answer."""
        half = math.sqrt(1 + self.question.change) - 1
        ends = self._probe(self.releases[-1], 1 + half)
        if ends.over_first is None:
            return self._answer(f"{self._name(ends.version)} cannot be compared: {ends.reason}", is_decided=False)
        changed = is_beyond(ends.over_first, half)
        if not changed:
            how = "no change" if changed is False else "it cannot be told whether there is a change"
            least = f"{how} of {100 * self.question.change:g} % from {self.releases[0]} to {self.releases[-1]}"
            return self._answer(f"{least}: {self._of(ends)}", is_decided=changed is False)
        return self._narrow(ends, half)

    def _narrow(self, ends: Probe, half: float) -> Answer:
        """Halve the range until one release is left, or until those between cannot be measured."""
        before, after = 0, len(self.releases) - 1
        known = {0: Probe(version=self.releases[0]), after: ends}
        skipped: set[int] = set()
        while candidates := [place for place in range(before + 1, after) if place not in skipped]:
            middle = min(candidates, key=lambda place: abs(2 * place - before - after))
            threshold = math.sqrt(_shift(known[after]) * _shift(known[before]))
            rises = _shift(known[after]) > _shift(known[before])
            probe = known[middle] = self._probe(self.releases[middle], threshold)
            if probe.may_change:
                return self._answer(f"{self._name(probe.version)} is {probe.reason}; run this again", is_decided=False)
            if probe.over_first is None:
                skipped.add(middle)
                self.notes.append(f"{self._name(probe.version)} was stepped over: {probe.reason}")
                continue
            is_after = _is_after(probe.over_first, threshold, rises=rises)
            if is_after is None:
                where = f"it changed after {self.releases[before]} and by {self.releases[after]}"
                return self._answer(f"{where}, and {self._of(probe)}: too close to call", is_decided=False)
            if is_beyond(probe.over_first, half) and is_beyond(probe.under_last, half):
                self.notes.append(f"there is more than one change: {self._of(probe)}, {self._of(ends)}")
            before, after = (before, middle) if is_after else (middle, after)
        step = _over(known[after].over_first, known[before].over_first)
        if step and (is_beyond(step, half) or may_reach(step, self.question.change)):
            return self._answer(self._conclusion(known[before], known[after], step), is_decided=True)
        measured = f"{self._of(known[before])}, {self._of(known[after])}"
        if is_beyond(step, half) is False:
            growth = f"no single release changed it by {100 * self.question.change:g} %"
            return self._answer(f"{growth}: {measured}", is_decided=False)
        return self._answer(f"it cannot be told which release changed it: {measured}", is_decided=False)

    def _probe(self, version: str, shift: float) -> Probe:
        probe = self.measure(version, shift)
        self.probes.append(probe)
        return probe

    def _conclusion(self, before: Probe, after: Probe, step: Estimate) -> str:
        """Say which release made the ``step`` from ``before`` to ``after``."""
        quantity, how = self.question.quantity, ("faster", "slower")
        if quantity is Quantity.MEMORY:
            how = ("smaller", "larger")
        is_next = self.releases.index(after.version) - self.releases.index(before.version) == 1
        which = after.version if is_next else f"after {before.version} and by {after.version}"
        shown = ", ".join(self._of(probe) for probe in (after, before) if probe.over_first)
        sure = f"{100 * CONFIDENCE:.0f} % confidence in all {len(self.probes)} probes together"
        return (
            f"{self._name(which)} made the {quantity.words} of {self.question.case} {how[int(step.value > 1)]},"
            f" {step.text()} times: {shown} ({sure})"
        )

    def _name(self, version: str) -> str:
        return f"{self.question.package} {version}"

    def _of(self, probe: Probe) -> str:
        """Return what a probe measured, in words."""
        first, what = self.releases[0], "memory" if self.question.quantity is Quantity.MEMORY else "time"
        ratio = probe.over_first.text() if probe.over_first else "1"
        return f"{probe.version} takes {ratio} times the {what} of {first}"

    def _answer(self, sentence: str, *, is_decided: bool) -> Answer:
        return Answer(sentence=sentence, is_decided=is_decided, notes=tuple(self.notes), probes=tuple(self.probes))


def _is_after(ratio: Estimate, threshold: float, *, rises: bool) -> bool | None:
    """Return whether a release is beyond the change, None if its interval has the threshold in it."""
    if not ratio.has_interval or ratio.low <= threshold <= ratio.high:
        return None
    return (ratio.value > threshold) == rises


def _over(after: Estimate | None, before: Estimate | None) -> Estimate | None:
    """Return the ratio of two ratios to the same release, as if they were independent, which widens its interval."""
    if after is None or before is None:
        return after
    half = math.hypot(*(math.log(each.high / each.low) / 2 for each in (after, before)))
    value = after.value / before.value
    return Estimate(value, value * math.exp(-half), value * math.exp(half))


def _shift(probe: Probe) -> float:
    """Return a release's ratio to the first one, which is 1 for that one."""
    return probe.over_first.value if probe.over_first else 1.0
