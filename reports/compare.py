"""Two saved runs: the same verdicts as from a paired comparison, on weaker evidence, which the intervals show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from reports.numbers import single
from reports.sentences import from_the_future, left_out
from reports.settings import SETTINGS, changes, decisive, other_settings
from reports.variation import Variation, run_to_run, stored_ratio
from samenet.errors import StorageError
from samenet.gates import TOLERANCE, typical
from samenet.records import Quantity, State
from samenet.results import Outcome, Verdict
from samenet.storage import Rejected, read_run, read_storage, slices
from samenet.verdicts import Comparison, confidence, judge_case, judge_quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from reports.find import Found
    from samenet.results import CaseResult
    from samenet.stats import Estimate
    from samenet.storage import Conditions, Run, Slice

# What may differ on purpose; another data set or workload would be another question.
ACROSS = ("versions", "hardware", "threads", *SETTINGS)
FEWEST_RUNS = 3  # of a history: two leave one degree of freedom, and with it intervals of thirteen deviations and more
MOST_RUNS = 20  # of a history, the newest ones: changes of long ago say nothing of the machine of today


@dataclass(frozen=True)
class Observed:
    """One case of one run."""

    conditions: Conditions
    slice: Slice
    case: CaseResult

    def alike(self, other: Observed) -> bool:
        """Return whether times of this case in two runs differ by chance alone."""
        same = self.conditions == other.conditions and self.case.versions == other.case.versions
        return same and not decisive(self.slice, other.slice, self.case.device)

    def differences(self, other: Observed) -> dict[str, str]:
        """Return what else than the code differs from ``other``, and how: ``versions`` by ``jax 0.10.1 and 0.10.2``."""
        mine, others = asdict(self.conditions), asdict(other.conditions)
        different = {name: f"{others[name]} and {mine[name]}" for name in mine if mine[name] != others[name]}
        if "hardware" in different:
            different["hardware"] = changes(other.slice.machine.hardware, self.slice.machine.hardware)
        if "data" in different:
            different["data"] = f"{other.case.data.name} and {self.case.data.name}"
        if "workload" in different:
            different["workload"] = changes(asdict(other.case.workload), asdict(self.case.workload))
        if versions := changes(other.case.versions, self.case.versions):
            different["versions"] = versions
        return different | decisive(other.slice, self.slice, self.case.device)


def observe(run: Run) -> dict[tuple[str, str], Observed]:
    """Return the cases of a saved run by name and, where it has one name more than once, by workload."""
    parts = slices(run)
    return {
        (case.case, key.workload if len(parts) > 1 else ""): Observed(key, part, case)
        for key, part in parts.items()
        for case in part.cases
    }


@dataclass(frozen=True)
class History:
    """The saved runs but the two that are compared, oldest first, and the files that are left out."""

    slices: tuple[tuple[Conditions, Slice], ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @classmethod
    def read(cls, folders: Iterable[Path], compared: Collection[str]) -> History:
        """Read the runs below ``folders``, each once, without those whose origin is in ``compared``."""
        distinct: dict[tuple[Conditions, str], Slice] = {}
        rejected: dict[Path, Rejected] = {}
        for folder in folders:
            try:
                storage = read_storage(folder)
            except StorageError:  # without a run there is no history
                continue
            rejected |= {(folder / file.path).absolute(): file for file in storage.rejected}
            for group in storage.groups:
                distinct |= {(group.conditions, part.identity): part.slim() for part in group.slices}
        others = [(key, part) for (key, _), part in distinct.items() if part.origin not in compared]
        return cls(tuple(sorted(others, key=lambda pair: pair[1].when)), tuple(rejected.values()))

    def of(self, observed: Observed) -> list[Observed]:
        """Return the newest runs of the same case under the same conditions, with the same versions and settings."""
        name = observed.case.case
        same = [Observed(key, part, case) for key, part in self.slices for case in part.cases if case.case == name]
        valid = [other for other in same if other.case.state is State.VALID]
        # Of several files of one campaign the last one counts.
        by_campaign = {other.slice.origin: other for other in valid if observed.alike(other)}
        return list(by_campaign.values())[-MOST_RUNS:]


@dataclass(frozen=True)
class StoredComparison:
    """How the cases of two runs are compared: corrected for so many ``cases``, across what may differ on purpose.

    ``gates`` are the changes to let pass (0.02 is 2 %), by the quantities that a build fails for; ``steady`` is that of
    the step where it is none of them.
    """

    history: History
    cases: int
    gates: Mapping[Quantity, float]
    steady: float
    across: Sequence[str] = ()

    @property
    def tolerance(self) -> float:
        """The change of the step to let pass."""
        return self.gates.get(Quantity.STEADY, self.steady)

    def judge(self, after: Observed, before: Observed | None, former: str) -> tuple[list[Verdict], list[str]]:
        """Return the verdicts on a case, ``before`` being the same case in the run ``former``, and its notes."""
        steady, notes = self.judge_steady(after, before, former)
        found = [replace(steady, gates=Quantity.STEADY in self.gates)]
        if before and steady.ratio:  # both are valid, and nothing bars it
            others = self.gates.keys() - {Quantity.STEADY}
            found += [self.judge_other(after, before, quantity) for quantity in Quantity if quantity in others]
        return found, notes

    def judge_steady(self, after: Observed, before: Observed | None, former: str) -> tuple[Verdict, list[str]]:
        """Return the verdict on the time of a case's step, and its notes."""
        if before is None:
            return judge_case(after.case, None, former, lambda *_: None, self.tolerance), []
        different = after.differences(before)
        barred = {name: how for name, how in different.items() if name not in self.allowed}
        name = after.case.case
        if barred and State.VALID is after.case.state is before.case.state:
            return self.not_comparable(after.case, before.case, former, barred), []
        notes = [f"{name} differs on purpose in {on_one_line(different)}."] if different and not barred else []
        variation, runs = self.variation(after, before)
        if variation.is_known:
            percent = single(100 * variation.between) if variation.between else "0"
            notes.append(f"{name} varies by {percent} % from run to run, in {runs} runs of the history.")

        def ratio(now: CaseResult, then: CaseResult) -> Estimate | None:
            return stored_ratio(now.timed, then.timed, variation, self.confidence)

        verdict = judge_case(after.case, before.case, former, ratio, self.tolerance)
        return explain(verdict, variation), notes

    def judge_other(self, after: Observed, before: Observed, quantity: Quantity) -> Verdict:
        """Return the verdict on what a case needs besides its step: only campaigns with --gate have more cold starts.

        The two cases can be compared.
        """
        name, now, then = after.case.case, typical(quantity, after.case), typical(quantity, before.case)
        if now is None or then is None:
            reason = "a run does not have it"
            if quantity.is_cold:
                reason += " of later launches; measure both with --against or --versions, and --gate"
            return Verdict(name, Outcome.INCONCLUSIVE, quantity=quantity, reason=reason)
        variation, _ = self.variation(after, before, quantity)
        ratio = stored_ratio(now, then, variation, self.confidence)
        return explain(judge_quantity(name, quantity, ratio, self.gates[quantity]), variation)

    @property
    def confidence(self) -> float:
        """That of each interval, so that all of them hold together."""
        return confidence(self.cases * len({*self.gates, Quantity.STEADY}))

    @property
    def allowed(self) -> set[str]:
        """What may differ: another CPU has a microcode of its own."""
        return {*self.across, *(("microcode",) if "hardware" in self.across else ())}

    def not_comparable(self, after: CaseResult, before: CaseResult, former: str, barred: Mapping[str, str]) -> Verdict:
        """Return the verdict on a case of two runs that differ in what is ``barred``: none of it excuses an error.

        A setting can change a time. That the same arithmetic learns less, it does not explain.
        """
        reason = f"not comparable, they differ in {on_one_line(barred)}"
        verdict = Verdict(after.case, Outcome.INCONCLUSIVE, reason=reason)
        if not barred.keys() <= set(SETTINGS):
            return verdict
        learned = judge_case(after, before, former, lambda *_: None, self.tolerance)
        return learned if learned.word is Outcome.UNVERIFIED else verdict

    def variation(
        self, after: Observed, before: Observed, quantity: Quantity = Quantity.STEADY
    ) -> tuple[Variation, int]:
        """Return how much runs of the case differ by themselves, and from how many runs like either that is known."""
        histories = [self.history.of(before)]
        if not after.alike(before):
            known = {observed.slice.origin for observed in histories[0]}
            histories.append([other for other in self.history.of(after) if other.slice.origin not in known])
        found = [[typical(quantity, observed.case) for observed in history] for history in histories]
        several = [[each for each in history if each] for history in found]
        if max(map(len, several)) < FEWEST_RUNS:
            return Variation(), 0
        return run_to_run(several), sum(map(len, several))


def explain(verdict: Verdict, variation: Variation) -> Verdict:
    """Return the verdict with what a missing interval is due to."""
    if verdict.word is not Outcome.INCONCLUSIVE or not verdict.ratio or verdict.ratio.has_interval:
        return verdict
    few = f"the history has too few runs to know how runs differ by themselves; save {FEWEST_RUNS} or more"
    short = "a run has too few undisturbed rounds or launches; measure with more --launches"
    return replace(verdict, reason=short if variation.is_known else few)


def on_one_line(differences: Mapping[str, str]) -> str:
    """Return the differences as text."""
    return "; ".join(f"{name}: {how}" for name, how in differences.items())


def setting_notes(old: Mapping[tuple[str, str], Observed], new: Mapping[tuple[str, str], Observed]) -> list[str]:
    """Return a note for each set of settings that differ and bar no comparison."""
    names: dict[str, list[str]] = {}
    for key in new.keys() & old.keys():
        before, after = old[key], new[key]
        if different := other_settings(before.slice, after.slice, (before.case, after.case)):
            names.setdefault(different, []).append(key[0])
    return [f"{', '.join(sorted(cases))}: {different} differ" for different, cases in names.items()]


def compare(
    before: Found,
    after: Found,
    folders: Iterable[Path],
    *,
    gates: Mapping[Quantity, float],
    steady: float = TOLERANCE,
    across: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of two saved runs; the others below ``folders`` show how runs differ by themselves.

    ``gates`` are what a build fails for, with the change of each to let pass; ``steady`` is that of the step otherwise.

    Raises:
        StorageError: one of them cannot be used, or both are the same run.
    """
    runs = [read_run(found.path) for found in (before, after)]
    origins = {run.origin for run in runs}
    if len(origins) < len(runs):
        raise StorageError(f"{before.path} and {after.path} are the same run; give two")
    old, new = map(observe, runs)
    former, present = (f"{run.path.stem} ({run.commit.label})" for run in runs)
    history = History.read(folders, origins)
    stored = StoredComparison(history, len(old.keys() & new.keys()), gates, steady, across)
    judged = [stored.judge(observed, old.get(key), former) for key, observed in new.items()]
    reason, gated = f"only {former} has it", Quantity.STEADY in gates
    removed = sorted(old.keys() - new.keys())
    gone = [Verdict(name, Outcome.REMOVED, reason=reason, gates=gated) for name, _ in removed]
    notes = [
        f"Ignored, another file of this name: {file.path} {file.reason}." for file in before.ignored + after.ignored
    ]
    notes += [*setting_notes(old, new), *(note for _, some in judged for note in some)]
    dates = {run.path: run.when for run in runs} | {part.path: part.when for _, part in history.slices}
    notes += [*from_the_future(dates), *left_out(history.rejected)]
    verdicts = (*(verdict for found, _ in judged for verdict in found), *gone)
    return Comparison(before=former, after=present, tolerance=stored.tolerance, verdicts=verdicts, notes=tuple(notes))
