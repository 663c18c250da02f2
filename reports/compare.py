"""Two saved runs: the same verdicts as from a paired comparison, on weaker evidence, which the intervals show."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from bench.records import State
from reports import stats
from reports.load import StorageError, read_run, read_storage, storage_folder
from reports.tables import single
from reports.verdicts import Comparison, Verdict, Word, confidence, judge_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.load import Case, Conditions, Part
    from reports.stats import Estimate, Variation

ACROSS = ("versions", "hardware", "threads")  # what may differ on purpose; data and workload would be other questions
FEWEST_RUNS = 3  # of the past: two leave one degree of freedom, and with it intervals of thirteen deviations and more
MOST_RUNS = 20  # of the past, the newest ones: changes of long ago say nothing of the machine of today


def find_run(text: str, storage: Path) -> Path:
    """Return the file of a saved run: a file, the newest run in a folder, or a name or number in ``storage``.

    Raises:
        StorageError: there is none, or more than one.
    """
    path = storage_folder(text)
    if path.is_file():
        return path
    if path.is_dir():
        newest = read_storage(path).groups[0].newest  # the group with the newest run comes first
        return path / newest.path
    stems = {each: each.stem for each in sorted(storage.rglob("*.json"))}  # 0001_name, as pytest-benchmark saves it
    found = [each for each, stem in stems.items() if text in {stem, *stem.split("_", 1)}]
    if len(found) == 1:
        return found[0]
    if found:
        raise StorageError(f"{text} is {len(found)} runs; give one of these files: {', '.join(map(str, found))}")
    known = ", ".join(stems.values()) or "none"
    raise StorageError(f"there is no run {text} in {storage}; its runs: {known}; give a file or a folder too")


@dataclass(frozen=True)
class Past:
    """The runs of the storage but the two that are compared, oldest first."""

    parts: tuple[tuple[Conditions, Part], ...]

    @classmethod
    def read(cls, folders: Sequence[Path], compared: Sequence[Path]) -> Past:
        """Read every run below ``folders``; one that has none is no past."""
        left_out = {path.resolve() for path in compared}
        found: dict[tuple[Conditions, Path], Part] = {}
        for each in folders:
            try:
                groups = read_storage(each).groups
            except StorageError:
                continue
            for group in groups:
                found |= {(group.conditions, (each / part.path).resolve()): part for part in group.parts}
        parts = [(key, part) for (key, path), part in found.items() if path not in left_out]
        return cls(tuple(sorted(parts, key=lambda each: each[1].when)))

    def of(self, case: Case, conditions: Conditions) -> list[Estimate]:
        """Return the newest runs' seconds of the same case under the same conditions, with the same versions."""
        same = [each for key, part in self.parts if key == conditions for each in part.cases]
        seconds = [
            each.timed
            for each in same
            if each.state is State.VALID and each.case == case.case and each.versions == case.versions
        ]
        return seconds[-MOST_RUNS:]


@dataclass(frozen=True)
class Side:
    """One case of one run."""

    conditions: Conditions
    part: Part
    of: Case

    def differences(self, other: Side) -> dict[str, str]:
        """Return what differs from ``other`` beside the code, and how: ``versions`` by ``jax 0.10.1 and 0.10.2``."""
        found = {}
        for each in fields(self.conditions):
            mine, others = getattr(self.conditions, each.name), getattr(other.conditions, each.name)
            if mine != others:
                found[each.name] = f"{others} and {mine}"
        if "hardware" in found:
            found["hardware"] = f"{other.part.machine.hardware.get('cpu')} and {self.part.machine.hardware.get('cpu')}"
        if "data" in found:
            found["data"] = f"{other.of.data.name} and {self.of.data.name}"
        if "workload" in found:
            found["workload"] = changes(asdict(other.of.workload), asdict(self.of.workload))
        if versions := changes(other.of.versions, self.of.versions):
            found["versions"] = versions
        return found


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Say which entries differ, such as ``jax 0.10.1 and 0.10.2``."""
    names = dict.fromkeys([*before, *after])
    return ", ".join(
        f"{name} {before.get(name, 'none')} and {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    )


def sides(path: Path) -> dict[tuple[str, str], Side]:
    """Return the cases of a saved run by name and, where it has one name more than once, by workload.

    Raises:
        StorageError: it is no run that can be used.
    """
    try:
        parts = read_run(path)
    except StorageError as error:
        raise StorageError(f"{path} {error}") from None
    return {
        (case.case, key.workload if len(parts) > 1 else ""): Side(key, part, case)
        for key, part in parts.items()
        for case in part.cases
    }


def label(path: Path, side: Side) -> str:
    """Return what a reader calls a run: its file's name and its commit."""
    return f"{path.stem} ({side.part.commit.label})"


class Judge:
    """Compares the cases of two runs; keeps notes of what the verdicts rest on."""

    def __init__(self, past: Past, cases: int, tolerance: float, across: Sequence[str]) -> None:
        """Correct for so many ``cases``; the runs may differ in what ``across`` names."""
        self._past, self._cases, self._tolerance, self._across = past, cases, tolerance, across
        self.notes: list[str] = []

    def verdict(self, after: Side, before: Side | None, former: str) -> Verdict:
        """Return the verdict on a case, ``before`` being the same case in the run ``former``."""
        if before is None:
            return judge_case(after.of, None, former, lambda *_: None, self._tolerance)
        different = after.differences(before)
        barred = {name: how for name, how in different.items() if name not in self._across}
        if barred and State.VALID is after.of.state is before.of.state:
            return Verdict(after.of.case, Word.INCONCLUSIVE, reason=f"not comparable, they differ in {listed(barred)}")
        if different and not barred:
            self.notes.append(f"{after.of.case} differs on purpose in {listed(different)}.")
        variation = self.variation(after, before)

        def ratio(now: Case, then: Case) -> Estimate:
            return stats.stored_ratio(now.timed, then.timed, variation, confidence(self._cases))

        verdict = judge_case(after.of, before.of, former, ratio, self._tolerance)
        if verdict.word is Word.INCONCLUSIVE and verdict.ratio and math.isnan(verdict.ratio.low):
            few = f"the history has too few runs to tell how runs differ by themselves; save {FEWEST_RUNS} or more"
            short = "a run has fewer than five undisturbed rounds; measure with more --launches"
            return replace(verdict, reason=few if math.isnan(variation.between) else short)
        return verdict

    def variation(self, after: Side, before: Side) -> Variation:
        """Return how much runs of the case differ by themselves, from runs like either of the two."""
        kinds = {(side.conditions, *sorted(side.of.versions.items())): side for side in (before, after)}
        histories = [self._past.of(side.of, side.conditions) for side in kinds.values()]
        runs = sum(map(len, histories))
        if max(map(len, histories)) < FEWEST_RUNS:
            return stats.Variation(math.nan, 0)
        found = stats.run_to_run(histories)
        percent = single(100 * found.between) or "0"
        self.notes.append(f"{after.of.case} varies by {percent} % from run to run, in {runs} runs of the past.")
        return found


def listed(differences: Mapping[str, str]) -> str:
    """Return the differences on one line."""
    return "; ".join(f"{name}: {how}" for name, how in differences.items())


def compare(
    before: Path, after: Path, folders: Sequence[Path], tolerance: float, across: Sequence[str] = ()
) -> Comparison:
    """Return the comparison of two saved runs; the others below ``folders`` tell how runs differ by themselves.

    Raises:
        StorageError: one of them cannot be used.
    """
    old, new = sides(before), sides(after)
    judge = Judge(Past.read(folders, (before, after)), len(old.keys() & new.keys()), tolerance, across)
    former, present = (label(path, next(iter(run.values()))) for path, run in ((before, old), (after, new)))
    verdicts = [judge.verdict(side, old.get(key), former) for key, side in new.items()]
    gone = [Verdict(name, Word.REMOVED, reason=f"only {former} has it") for name, _ in old.keys() - new.keys()]
    return Comparison(former, present, tolerance, (*verdicts, *gone), tuple(judge.notes))
