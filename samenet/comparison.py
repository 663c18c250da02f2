"""Pairs of cases in one campaign: this tree against a revision, or versions of a package; and the verdicts on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from impls.registry import cases
from samenet.errors import NoInterpreterError
from samenet.gates import values
from samenet.plan import FEWEST_LAUNCHES, Entry, Role
from samenet.records import Quantity, State
from samenet.results import ComparisonRecord, Outcome, Verdict
from samenet.stats import paired_ratio
from samenet.verdicts import Comparison, confidence, judge_case, judge_quantity
from samenet.versions import other_differences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from impls.lanes import Case
    from samenet.protocols import Settings
    from samenet.results import CaseResult
    from samenet.revision import Revision
    from samenet.stats import Estimate
    from samenet.versions import Versions


@dataclass(frozen=True, kw_only=True)
class PairedComparison(ABC):
    """A comparison of cases with other ones of the same campaign, each in a group with what it is compared with.

    ``gates`` are the changes that are ignored (0.02 is 2 %), by the quantities that a build fails for; ``steady`` is
    that of the steady step, for which it may fail or not.
    """

    gates: Mapping[Quantity, float]
    steady: float
    entries: Sequence[Entry]
    together: int = 1  # so many comparisons like this one have to hold together

    @property
    def tolerance(self) -> float:
        """The change of the steady step that is ignored."""
        return self.gates.get(Quantity.STEADY, self.steady)

    @property
    @abstractmethod
    def before(self) -> Mapping[str, str]:
        """The label of what a case is compared with, by the case's label."""

    @abstractmethod
    def verdict(self, case: str, results: Mapping[str, CaseResult]) -> Verdict | None:
        """Return the verdict on ``case``, or None where others are compared with it."""

    @abstractmethod
    def record(self, verdicts: Sequence[Verdict], results: Mapping[str, CaseResult]) -> ComparisonRecord:
        """Return the comparison as it is saved."""

    def ratio(self, after: CaseResult, before: CaseResult, quantity: Quantity = Quantity.STEADY) -> Estimate | None:
        """Return the time or the memory of one case over that of another one, with a corrected interval."""
        judged = len(self.before) * len({*self.gates, Quantity.STEADY}) * self.together
        return paired_ratio(values(quantity, after), values(quantity, before), confidence(judged, after.confidence))

    def verdicts(self, case: str, results: Mapping[str, CaseResult]) -> list[Verdict]:
        """Return the verdict on ``case``, and those on the other quantities that a build fails for."""
        steady = self.verdict(case, results)
        if steady is None:
            return []
        found = [replace(steady, gates=Quantity.STEADY in self.gates)]
        pair = [results[label] for label in (case, self.before.get(case, "")) if label]
        if len(pair) < 2 or any(result.state is not State.VALID for result in pair):
            return found
        after, before = pair
        return found + [
            judge_quantity(case, quantity, self.ratio(after, before, quantity), tolerance)
            for quantity, tolerance in self.gates.items()
            if quantity is not Quantity.STEADY
        ]

    def undecided(self, results: Mapping[str, CaseResult]) -> set[str]:
        """Return the labels of the entries whose verdict another launch may change: they get the time of the others."""

        def decided(case: str) -> bool:
            pair = [results[label] for label in (case, self.before.get(case, case))]
            if any(result.state is not State.VALID for result in pair):
                return not any(result.state.may_recover for result in pair)
            enough = len(results[case].launches) >= FEWEST_LAUNCHES
            verdicts = [each for each in self.verdicts(case, results) if each.quantity in self.gates]
            return enough and all(each.word is not Outcome.INCONCLUSIVE for each in verdicts)

        judged = {entry.label for entry in self.entries if entry.role is Role.CASE} - set(self.before.values())
        waiting = {label for label in judged if not decided(label)}
        return waiting | {self.before[label] for label in waiting if label in self.before}


@final
@dataclass(frozen=True, kw_only=True)
class RevisionComparison(PairedComparison):
    """A comparison with ``revision``.

    ``entries`` are the present cases, each followed by the former one; ``missing`` says, by case, why a former one
    cannot be measured.
    """

    revision: Revision
    missing: Mapping[str, str]

    @classmethod
    def of(cls, revision: Revision, settings: Settings, present: Sequence[Entry], root: Path) -> RevisionComparison:
        """Return the comparison of the ``present`` entries with the same cases at ``revision``."""
        entries: list[Entry] = []
        missing = {}
        for entry in present:
            entries.append(replace(entry, group=entry.label))
            former = revision.find(entry.case)
            if former is None:
                continue
            try:
                python = revision.find_interpreter(former, settings.python, root)
            except NoInterpreterError as error:
                missing[entry.label] = str(error)
                continue
            entries.append(
                Entry(
                    label=f"{entry.label} at {revision.name}",
                    case=former,
                    python=python,
                    root=revision.folder,
                    role=Role.FORMER,
                    of=entry.label,
                    group=entry.label,
                )
            )
        return cls(revision=revision, gates=settings.gates, steady=settings.tolerance, entries=entries, missing=missing)

    @property
    def before(self) -> dict[str, str]:
        """The labels of the former cases, by those of the present ones."""
        return {entry.of: entry.label for entry in self.entries if entry.role is Role.FORMER}

    def verdict(self, case: str, results: Mapping[str, CaseResult]) -> Verdict:
        """Return the verdict on the present ``case``."""
        after, former = results[case], self.before
        if case in self.missing and after.state is State.VALID:
            return Verdict(case, Outcome.INCONCLUSIVE, reason=self.missing[case])
        before = results[former[case]] if case in former else None
        return judge_case(after, before, self.revision.name, self.ratio, self.tolerance)

    def record(self, verdicts: Sequence[Verdict], results: Mapping[str, CaseResult]) -> ComparisonRecord:
        """Return the comparison as it is saved: the ``verdicts`` on the present cases, and the cases that are gone."""
        gone = sorted(set(self.revision.cases) - {case.id for case in cases()})
        reason, gates = f"only {self.revision.name} has it", Quantity.STEADY in self.gates
        removed = [Verdict(case, Outcome.REMOVED, reason=reason, gates=gates) for case in gone]
        return concluded(
            ComparisonRecord(
                revision=self.revision.name,
                commit=self.revision.commit,
                tolerance=self.tolerance,
                verdicts=(*verdicts, *removed),
                before=tuple(results[label] for label in self.before.values()),
            )
        )


@final
@dataclass(frozen=True, kw_only=True)
class VersionComparison(PairedComparison):
    """A comparison of ``versions`` of a package with one of them, for each lane."""

    versions: Versions

    @classmethod
    def of(cls, versions: Versions, settings: Settings, present: Sequence[Entry]) -> VersionComparison:
        """Return the comparison of the ``present`` entries, of which each lane has one with the reference version."""
        grouped = [replace(entry, group=replace(entry.case, version=None).id) for entry in present]
        references = {each.group: each.label for each in grouped if is_reference(each.case, versions)}
        entries = [
            each if is_reference(each.case, versions) else replace(each, of=references[each.group]) for each in grouped
        ]
        return cls(versions=versions, gates=settings.gates, steady=settings.tolerance, entries=entries)

    @property
    def before(self) -> dict[str, str]:
        """The labels of the cases with the reference version, by those of the others."""
        return {entry.label: entry.of for entry in self.entries if entry.of}

    def verdict(self, case: str, results: Mapping[str, CaseResult]) -> Verdict | None:
        """Return the verdict on ``case``; one that does not work with its version is no regression of this tree."""
        after = results[case]
        if case not in self.before and after.state is not State.SKIPPED:
            return None
        if after.state is not State.VALID:
            return Verdict(case, Outcome.INCONCLUSIVE, reason=f"{after.state}: {after.reason}")
        before = results[self.before[case]]
        name = f"{self.versions.package} {self.versions.reference}"
        verdict = judge_case(after, before, name, self.ratio, self.tolerance)
        return replace(verdict, reason="; ".join(filter(None, (verdict.reason, self._other_differences(case)))))

    def _other_differences(self, case: str) -> str:
        """Return which packages differ besides the one that is compared."""
        entries = {entry.label: entry for entry in self.entries}
        after, before = entries[case].installed, entries[self.before[case]].installed
        return other_differences(self.versions.package, after, before)

    def record(self, verdicts: Sequence[Verdict], results: Mapping[str, CaseResult]) -> ComparisonRecord:
        """Return the comparison as it is saved."""
        del results
        others = [version for version in self.versions.versions if version != self.versions.reference]
        return concluded(
            ComparisonRecord(
                revision=f"{self.versions.package} {self.versions.reference}",
                after=f"{self.versions.package} {', '.join(others)}",
                tolerance=self.tolerance,
                verdicts=tuple(verdicts),
            )
        )


def is_reference(case: Case, versions: Versions | None) -> bool:
    """Return whether the other ``versions`` of a lane are compared with ``case``."""
    return versions is not None and case.version is not None and case.version.version == versions.reference


def concluded(record: ComparisonRecord) -> ComparisonRecord:
    """Return a record with what follows from its verdicts."""
    comparison = Comparison.saved(record)
    return replace(record, regression=comparison.regression, summary=comparison.summary)
