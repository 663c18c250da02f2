"""Two revisions in one campaign: each present case interleaved with the same case as it was, and the verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from impls.registry import cases
from samenet.errors import NoInterpreterError
from samenet.plan import FEWEST_LAUNCHES, Entry, Role
from samenet.records import State
from samenet.results import Outcome, RevisionRecord, Verdict
from samenet.stats import paired_ratio
from samenet.verdicts import Comparison, confidence, judge_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from samenet.results import CaseResult
    from samenet.revision import Revision
    from samenet.stats import Estimate


@dataclass(frozen=True, kw_only=True)
class RevisionComparison:
    """A comparison with ``revision``; ``tolerance`` (0.02 is 2 %) is the change that it lets pass.

    ``entries`` are the present cases, each followed by the former one in a group with it; ``missing`` says, by case,
    why a former one cannot be measured.
    """

    revision: Revision
    tolerance: float
    entries: Sequence[Entry]
    missing: Mapping[str, str]

    @classmethod
    def of(
        cls, revision: Revision, tolerance: float, present: Sequence[Entry], given: Mapping[str, Path], root: Path
    ) -> RevisionComparison:
        """Return the comparison of the ``present`` entries with the same cases at ``revision``."""
        entries: list[Entry] = []
        missing = {}
        for entry in present:
            entries.append(replace(entry, group=entry.label))
            former = revision.find(entry.case)
            if former is None:
                continue
            try:
                python = revision.find_interpreter(former, given, root)
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
        return cls(revision=revision, tolerance=tolerance, entries=entries, missing=missing)

    @property
    def former(self) -> dict[str, str]:
        """The labels of the former cases, by those of the present ones."""
        return {entry.of: entry.label for entry in self.entries if entry.role is Role.FORMER}

    def verdict(self, case: str, results: Mapping[str, CaseResult]) -> Verdict:
        """Return the verdict on the present ``case``."""
        after, former = results[case], self.former
        if case in self.missing and after.state is State.VALID:
            return Verdict(case, Outcome.INCONCLUSIVE, reason=self.missing[case])
        before = results[former[case]] if case in former else None
        return judge_case(after, before, self.revision.name, self._ratio, self.tolerance)

    def _ratio(self, after: CaseResult, before: CaseResult) -> Estimate | None:
        return paired_ratio(after.clean_seconds, before.clean_seconds, confidence(len(self.former), after.confidence))

    def undecided(self, results: Mapping[str, CaseResult]) -> set[str]:
        """Return the labels of the entries whose verdict another launch may change: they get the time of the others."""
        former = self.former

        def decided(case: str) -> bool:
            pair = [results[label] for label in (case, former.get(case, case))]
            if any(result.state is not State.VALID for result in pair):
                return not any(result.state.may_recover for result in pair)
            enough = len(results[case].launches) >= FEWEST_LAUNCHES
            return enough and self.verdict(case, results).word is not Outcome.INCONCLUSIVE

        return {entry.label for entry in self.entries if not decided(entry.group)}

    def record(self, verdicts: Sequence[Verdict], results: Mapping[str, CaseResult]) -> RevisionRecord:
        """Return the comparison as it is saved: the ``verdicts`` on the present cases, and the cases that are gone."""
        gone = sorted(set(self.revision.cases) - {case.id for case in cases()})
        removed = [Verdict(case, Outcome.REMOVED, reason=f"only {self.revision.name} has it") for case in gone]
        record = RevisionRecord(
            revision=self.revision.name,
            commit=self.revision.commit,
            tolerance=self.tolerance,
            verdicts=(*verdicts, *removed),
            before=tuple(results[label] for label in self.former.values()),
        )
        comparison = Comparison.saved(record)
        return replace(record, regression=comparison.regression, summary=comparison.summary)
