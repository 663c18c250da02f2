"""Measures the releases that a search asks for, each together with both ends of the range, and keeps what it has."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from samenet.bisection import Probe, Question, Search, is_beyond
from samenet.data import Dataset, cache_folder, load
from samenet.errors import SettingsError
from samenet.machine.files import write_whole
from samenet.machine.lock import only_campaign
from samenet.measurement import Measurement
from samenet.progress import NullProgress, say_nothing
from samenet.protocols import Settings
from samenet.records import State
from samenet.versions import releases_between

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from samenet.bisection import Answer
    from samenet.progress import Progress
    from samenet.results import CaseResult, Results

LEAST_PERCENT = 0.1  # of a gate: no campaign tells less


@dataclass(frozen=True)
class Saved:
    """What a search has measured so far."""

    question: Question
    probes: tuple[Probe, ...] = ()


def bisect(
    question: Question,
    settings: Settings | None = None,
    say: Callable[[str], None] = say_nothing,
    progress: Progress | None = None,
) -> Answer:
    """Find which release made the change that ``question`` asks for; what an earlier search measured is not repeated.

    Raises:
        SettingsError: the question or a setting is wrong, or an end of the range cannot be measured.
        BusyError: another campaign is running on this machine.
    """
    releases = releases_between(question.package, question.first, question.last)
    settings = settings or Settings()
    settings = settings if settings.journal else replace(settings, journal=cache_folder() / "journal" / question.case)
    with only_campaign():
        return Search(question, releases, Prober(question, settings, releases, say, progress or NullProgress())).run()


@dataclass
class Prober:
    """Measures one of ``releases``, and keeps the answers in the user's cache: a search goes on after it was killed."""

    question: Question
    settings: Settings
    releases: Sequence[str]
    say: Callable[[str], None] = say_nothing
    progress: Progress = field(default_factory=NullProgress)

    def __call__(self, version: str, threshold: float) -> Probe:
        """Return what is known of ``version``, or measure until it is on one side of ``threshold``, or the budget ends.

        What the machine or the budget has left open is not kept.
        """
        place = cache_folder() / "bisections" / f"{self.key}.json"
        saved = self._read(place)
        if known := next((probe for probe in saved.probes if probe.version == version), None):
            self.say(f"{self.question.package} {version} was measured before; to measure it again, remove {place}")
            return known
        self.say(f"measuring {self.question.package} {version}")
        probe = self._measure(version, threshold)
        if not probe.may_change and (probe.reason or is_beyond(probe.over_first, abs(threshold - 1)) is not None):
            write_whole(place, msgspec.json.encode(replace(saved, probes=(*saved.probes, probe))))
        return probe

    @cached_property
    def dataset(self) -> Dataset:
        """The images, which all measurements have in common."""
        return load(self.settings.data)

    @cached_property
    def key(self) -> str:
        """A checksum of the question, and of the machine, the data and the code that its answer depends on."""
        campaign = self._prepare(self.releases[-1], 1.5).parts[0].header.key
        return hashlib.sha256(msgspec.json.encode([self.question, campaign])).hexdigest()[:16]

    def _read(self, place: Path) -> Saved:
        try:
            return msgspec.json.decode(place.read_bytes(), type=Saved)
        except (OSError, msgspec.MsgspecError):
            return Saved(self.question)

    def _prepare(self, version: str, threshold: float) -> Measurement:
        """Return the measurement of ``version`` and both ends, or the rest of an unfinished one."""
        question = self.question
        versions = dict.fromkeys([self.releases[0], version, self.releases[-1]])
        settings = replace(
            self.settings,
            versions=f"{question.package}=={','.join(versions)}",
            gate=f"{question.quantity}={max(100 * abs(threshold - 1), LEAST_PERCENT):.4f}",
        )
        return Measurement.continued([question.case], settings, self.dataset, self.say)

    def _measure(self, version: str, threshold: float) -> Probe:
        measurement = self._prepare(version, threshold)
        (part,) = measurement.parts
        for absent, reason in part.skipped.items():
            if absent.version and absent.version.version == version:
                return Probe(version=version, reason=reason)
        if part.comparison is None:
            raise TypeError("versions are compared")
        comparison = replace(part.comparison, together=2 + math.ceil(math.log2(len(self.releases))))
        measurement.parts = [replace(part, comparison=comparison)]
        results = measurement.run_to_end(self.progress, self.say)
        measurement.release_journals()
        first, case, last = (of_version(results, each) for each in (self.releases[0], version, self.releases[-1]))
        for end in (first, last):
            if end is not case and end.state is not State.VALID:
                reason = f"{end.state}: {end.reason}"
                if end.state.may_recover:
                    return Probe(version=version, reason=reason, may_change=True)
                raise SettingsError(f"{end.case} cannot be measured, {reason}; choose another end of the range")
        if case.state is not State.VALID:
            return Probe(version=version, reason=f"{case.state}: {case.reason}", may_change=case.state.may_recover)
        return Probe(
            version=version,
            over_first=comparison.ratio(case, first, self.question.quantity),
            under_last=None if case is last else comparison.ratio(last, case, self.question.quantity),
        )


def of_version(results: Results, version: str) -> CaseResult:
    """Return the case with a version."""
    return next(case for case in results.cases if case.asked_version and case.asked_version.version == version)
