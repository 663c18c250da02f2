"""Which saved runs hold one campaign: copies that differ in writing only, and earlier states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from samenet.conditions import Conditions, conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.results import CaseResult, Results

Key = tuple[str, str, Conditions]  # role, case, conditions
# What may differ in a completed campaign although no round of the case was added.
LATER = {"verdict", "other_verdicts", "launches", "rounds", "thread_pools", "peak_bytes"}


def digest(content: object) -> str:
    """Return a checksum of records, in which 2.0 is 2, and a default is the same as the value that it stands for."""
    return hashlib.sha256(msgspec.json.encode(_values(content), order="sorted")).hexdigest()


def _values(value: Any) -> Any:  # noqa: ANN401  # whatever a record holds
    """Return a record as lists of its values; not by asdict, which takes as long as reading the file."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_values(each) for each in value]
    if isinstance(value, dict):
        return {name: _values(each) for name, each in value.items()}
    if is_dataclass(value):
        return [_values(getattr(value, field.name)) for field in fields(value)]
    return value


@dataclass(frozen=True)
class Sketch:
    """What shows that a case is in another file too: its rounds, and digests of the other fields that it has."""

    rounds: frozenset[int]
    figures: dict[str, str]

    @classmethod
    def of(cls, case: CaseResult) -> Sketch:
        """Return the sketch of a case."""
        named = {field.name: getattr(case, field.name) for field in fields(case) if field.name not in LATER}
        known = {name: digest(value) for name, value in named.items() if value}
        return cls(frozenset(map(hash, case.rounds)), known)


def sketch(results: Results) -> dict[Key, Sketch]:
    """Return the sketches of the cases of a run, with its bound and its second entry."""
    parts = [("case", case) for case in results.cases]
    parts += [
        (role, case)
        for role, case in (("bound", results.bound), ("peak", results.peak), ("again", results.again))
        if case
    ]
    return {(role, case.case, conditions(case, results.machine)): Sketch.of(case) for role, case in parts}


def is_state(earlier: Mapping[Key, Sketch], later: Mapping[Key, Sketch]) -> bool:
    """Return whether each case and round of ``earlier`` is in ``later`` too, and equal.

    The figures of a case with more rounds are others. Its efficiency is that of the bound too.
    """
    if not all(key in later and mine.rounds <= later[key].rounds for key, mine in earlier.items()):
        return False
    complete = {key for key, mine in earlier.items() if mine.rounds == later[key].rounds}
    ignored = set() if complete == earlier.keys() else {"efficiency"}
    return all(
        later[key].figures.get(name) == value
        for key in complete
        for name, value in earlier[key].figures.items()
        if earlier[key].rounds and name not in ignored
    )
