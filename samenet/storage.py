"""A folder of saved runs, grouped by what may be compared; a file that cannot be used affects no other one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.conditions import Conditions, conditions
from samenet.copies import is_state, sketch
from samenet.errors import JournalError, StorageError
from samenet.saved import NO_MEMORY, Commit, Run, as_builtins, read_run, read_saved
from samenet.speedups import choose_baseline, speedups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from samenet.context import Machine
    from samenet.copies import Key, Sketch
    from samenet.results import CampaignRecord, CaseResult, ComparisonRecord, NoiseFloor

__all__ = [
    "Commit",
    "Conditions",
    "Group",
    "Rejected",
    "Run",
    "Slice",
    "Storage",
    "as_builtins",
    "conditions",
    "read_run",
    "read_storage",
    "slices",
    "storage_folder",
    "without_earlier",
]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The cases of one run that were measured under the same conditions: interleaved, so their rounds pair.

    Attributes:
        baseline: what speedups are over.
        speedups: those of a host of a fleet, by case, without their intervals.
    """

    path: Path
    when: datetime
    commit: Commit
    identity: str
    origin: str
    machine: Machine
    campaign: CampaignRecord
    noise_floor: NoiseFloor | None = None
    bound: CaseResult | None = None
    peak: CaseResult | None = None
    against: ComparisonRecord | None = None
    baseline: str = ""
    speedups: Mapping[str, float] = field(default_factory=dict)
    cases: tuple[CaseResult, ...]

    def slim(self) -> Slice:
        """Return the slice without raw values."""
        bound, peak = (each.slim() if each else None for each in (self.bound, self.peak))
        return replace(self, bound=bound, peak=peak, cases=tuple(case.slim() for case in self.cases))


@dataclass(frozen=True)
class Group:
    """Runs under the same conditions, oldest first; only the newest one has its raw values."""

    conditions: Conditions
    slices: tuple[Slice, ...]

    @property
    def newest(self) -> Slice:
        """The run that the tables show."""
        return self.slices[-1]


@dataclass(frozen=True)
class Rejected:
    """A file that could not be used, or does not count, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Storage:
    """All runs of a folder, the group with the newest run first."""

    groups: tuple[Group, ...]
    rejected: tuple[Rejected, ...]


def storage_folder(text: str) -> Path:
    """Read a folder as pytest-benchmark writes it: a path, or file://path."""
    return Path(text.removeprefix("file://"))


def slices(run: Run) -> dict[Conditions, Slice]:
    """Return the run's cases by the conditions that they were measured under."""
    results = run.results
    cases: dict[Conditions, list[CaseResult]] = {}
    for case in results.cases:
        cases.setdefault(conditions(case, results.machine), []).append(case)

    def of_these(limit: CaseResult | None, key: Conditions) -> CaseResult | None:
        return limit if limit and conditions(limit, results.machine) == key else None

    return {
        key: Slice(
            path=run.path,
            when=run.when,
            commit=run.commit,
            identity=run.identity,
            origin=run.origin,
            machine=results.machine,
            campaign=results.campaign,
            noise_floor=results.noise_floor,
            bound=of_these(results.bound, key),
            peak=of_these(results.peak, key),
            against=replace(results.against, before=()) if results.against else None,
            baseline=(baseline := choose_baseline(alike)),
            speedups=speedups(alike, baseline) if key.host else {},
            cases=tuple(alike),
        )
        for key, alike in cases.items()
    }


@dataclass(frozen=True)
class _Kept:
    """What is kept of a run that counts: its raw values are gigabytes in a thousand runs."""

    path: Path
    identity: str
    slices: dict[Conditions, Slice]

    @property
    def cases(self) -> set[tuple[Conditions, str]]:
        """Its cases with their conditions."""
        return {(key, case.case) for key, part in self.slices.items() for case in part.cases}


def without_earlier(runs: Sequence[Run]) -> list[Run]:
    """Return the runs without those that are an earlier state of another one."""
    campaigns: dict[str, list[Run]] = {}
    for run in runs:
        campaigns.setdefault(run.origin, []).append(run)
    kept = []
    for same in campaigns.values():
        sketches = [sketch(run.results) for run in same] if len(same) > 1 else []
        left = list(range(len(same)))
        for place in range(len(sketches)):
            if any(is_state(sketches[place], sketches[other]) for other in left if other != place):
                left.remove(place)
        kept += [same[place] for place in left]
    return kept


def _not_saved(run: Run, saved: Sequence[_Kept]) -> Run:
    """Return an unfinished run without the cases that have been saved since."""
    known = set().union(*(other.cases for other in saved))
    results = run.results
    cases = [case for case in results.cases if (conditions(case, results.machine), case.case) not in known]
    return replace(run, results=replace(results, cases=tuple(cases)))


class _Reader:
    """Reads files, and counts each run once; only the newest run of each group keeps its raw values."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest: dict[Conditions, Slice] = {}
        self._sketches: dict[Path, dict[Key, Sketch]] = {}  # of campaigns with more than one file
        self.runs: dict[str, list[_Kept]] = {}
        self.rejected: list[Rejected] = []

    def add(self, path: Path, read: Callable[[Path], Run]) -> None:
        """Read one file, and list it as rejected where it cannot be used."""
        name = path.relative_to(self._folder)
        try:
            str(name).encode()
            self._keep(replace(read(path), path=name), read)
        except UnicodeEncodeError:
            self.leave_out(path, "has a name that is not UTF-8; rename it")
        except (JournalError, StorageError) as error:
            self.leave_out(path, str(error))
        except MemoryError:
            self.leave_out(path, NO_MEMORY)

    def leave_out(self, path: Path, reason: str) -> None:
        """List a file or a folder as rejected, by a name that can be written into a page."""
        name = os.fsencode(path.relative_to(self._folder)).decode(errors="replace")
        self.rejected.append(Rejected(Path(name), reason))

    def _keep(self, run: Run, read: Callable[[Path], Run]) -> None:
        others = self.runs.setdefault(run.origin, [])
        if same := next((other for other in others if other.identity == run.identity), None):
            raise StorageError(f"is a copy of {same.path}")
        if others and run.results.campaign.unfinished:
            run = _not_saved(run, others)
        elif others:
            self._compare(run, others, read)
        parts = slices(run)
        for key, part in parts.items():
            if key not in self._newest or part.when >= self._newest[key].when:
                self._newest[key] = part
        if parts:
            others.append(_Kept(run.path, run.identity, {key: part.slim() for key, part in parts.items()}))

    def _compare(self, run: Run, others: list[_Kept], read: Callable[[Path], Run]) -> None:
        """Drop those of the ``others`` of its campaign that are earlier states of ``run``.

        Raises:
            StorageError: it is an earlier state of one of them.
        """
        mine = self._sketches[run.path] = sketch(run.results)
        for other in list(others):
            if other.path not in self._sketches:
                self._sketches[other.path] = sketch(read(self._folder / other.path).results)
            if is_state(mine, self._sketches[other.path]):
                raise StorageError(f"is an earlier state of {other.path}")
            if is_state(self._sketches[other.path], mine):
                others.remove(other)
                self.rejected.append(Rejected(other.path, f"is an earlier state of {run.path}"))

    def groups(self, read: Callable[[Path], Run]) -> Iterator[Group]:
        """Yield the groups of what was read."""
        alike: dict[Conditions, list[Slice]] = {}
        for kept in chain.from_iterable(self.runs.values()):
            for key, part in kept.slices.items():
                alike.setdefault(key, []).append(part)
        for key, parts in alike.items():
            *older, last = sorted(parts, key=lambda part: part.when)
            newest = self._newest[key]
            if newest.path != last.path:  # an earlier state of a run that was saved later than the whole
                newest = replace(slices(read(self._folder / last.path))[key], path=last.path)
            yield Group(key, (*older, newest))


def read_storage(folder: Path, unfinished: Callable[[Path], Run] | None = None) -> Storage:
    """Read every saved run below ``folder`` and, with ``unfinished``, the journals of campaigns that have not ended.

    Copies of a run count once, and so do states of a campaign: the one that has all cases and rounds of the others.

    Raises:
        StorageError: there is no run that can be used.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise StorageError(f"the storage {folder} {problem}; give the one of pytest-benchmark with --storage")
    readers = {"*.json": read_saved} | ({"*.jsonl": unfinished} if unfinished else {})
    reader = _Reader(folder)
    for pattern, read in readers.items():
        for path in sorted(folder.rglob(pattern)):
            reader.add(path, read)
    for path in sorted(folder.rglob("*")):
        # is_dir raises where the target may not be looked at
        if path.is_symlink() and os.path.isdir(path) and path.suffix not in {".json", ".jsonl"}:  # noqa: PTH112
            reader.leave_out(path, "is a link to a folder; give that one with --storage, or move it here")
    if not any(reader.runs.values()):
        reasons = "".join(f"\n  {rejected.path} {rejected.reason}" for rejected in reader.rejected)
        raise StorageError(
            f"no run can be used of {len(reader.rejected)} files in {folder};"
            f" measure with: pytest bench/ --benchmark-autosave{reasons}"
        )
    groups = reader.groups(lambda path: readers[f"*{path.suffix}"](path))
    newest_first = sorted(groups, key=lambda group: group.newest.when, reverse=True)
    return Storage(tuple(newest_first), tuple(reader.rejected))
