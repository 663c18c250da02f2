"""Two revisions in one campaign: each present case beside the same case as it was, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.campaign import Entry
from bench.environments import NoInterpreterError
from bench.records import CaseRecord, State
from impls.registry import cases
from reports import stats
from reports.verdicts import Comparison, Verdict, Word, confidence, judge_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.campaign import Campaign
    from bench.revision import Revision

FEWEST_LAUNCHES = 3  # with fewer, the differences between two processes pass for differences between two revisions


@dataclass
class Against:
    """A comparison with ``revision``; ``tolerance`` (0.02 is 2 %) is the change that it lets pass."""

    revision: Revision
    tolerance: float
    before: dict[str, str] = field(default_factory=dict)  # labels of the former cases, by those of the present ones
    missing: dict[str, str] = field(default_factory=dict)  # why a former case cannot be measured

    def beside(self, entries: Sequence[Entry], given: Mapping[str, Path], root: Path) -> list[Entry]:
        """Return ``entries`` and, in one group with each, the same case at the revision."""
        found: list[Entry] = []
        for entry in entries:
            found.append(replace(entry, group=entry.label))
            former = self.revision.cases.get(entry.case.id)
            if former is None:
                continue
            label = f"{entry.label} at {self.revision.name}"
            try:
                python = self.revision.find_interpreter(former, given, root)
            except NoInterpreterError as error:
                self.missing[entry.label] = str(error)
                continue
            self.before[entry.label] = label
            found.append(Entry(label, former, python, self.revision.folder, group=entry.label))
        return found

    def verdict(self, record: CaseRecord, records: Mapping[str, CaseRecord]) -> Verdict:
        """Return the verdict on the present case ``record``; ``records`` has the former one's too."""
        case = record.case
        former = records[self.before[case]] if case in self.before else None
        if case in self.missing and record.state is State.VALID:
            return Verdict(case, Word.INCONCLUSIVE, reason=self.missing[case])
        return judge_case(record, former, self.revision.name, self._ratio, self.tolerance)

    def _ratio(self, record: CaseRecord, former: CaseRecord) -> stats.Estimate | None:
        return stats.paired_ratio(record.clean_seconds, former.clean_seconds, confidence(len(self.before)))

    def removed(self) -> list[Verdict]:
        """Return the verdicts on cases that are no more."""
        gone = sorted(set(self.revision.cases) - {case.id for case in cases()})
        return [Verdict(case, Word.REMOVED, reason=f"only {self.revision.name} has it") for case in gone]

    def undecided(self, campaign: Campaign) -> list[Entry]:
        """Return the entries whose verdict another launch may change: the time of the others is theirs."""
        records = campaign.records

        def known(case: str) -> bool:
            pair = [records[label] for label in (case, self.before.get(case, case))]
            if any(record.state is not State.VALID for record in pair):
                return True
            enough = len(records[case].launches) >= FEWEST_LAUNCHES
            return enough and self.verdict(records[case], records).word is not Word.INCONCLUSIVE

        return [entry for entry in campaign.entries if not known(entry.group)]

    def comparison(self, verdicts: Sequence[Verdict]) -> Comparison:
        """Return the whole comparison, from the ``verdicts`` on the present cases."""
        before = f"{self.revision.name} ({self.revision.commit[:9]})"
        return Comparison(before, "this tree", self.tolerance, (*verdicts, *self.removed()))

    def as_dict(self, verdicts: Sequence[Verdict], records: Mapping[str, CaseRecord]) -> dict[str, Any]:
        """Return the comparison as it is saved, with the former cases' records."""
        return self.comparison(verdicts).as_dict() | {
            "revision": self.revision.name,
            "commit": self.revision.commit,
            "before": [records[label].as_dict() for label in self.before.values()],
        }
