"""Campaigns on one workload and one machine that differ only in their entries and in the order of their rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from impls.workload import initial_params
from samenet import SamenetError, data
from samenet.campaign import Campaign
from samenet.environments import ROOT, find_interpreter
from samenet.journal import Journal
from samenet.machine.lock import only_campaign
from samenet.plan import Entry
from samenet.preparation import find_case, prepare
from samenet.progress import NullProgress
from samenet.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from samenet import CaseResult, Settings


class StudyError(SamenetError):
    """A study cannot be continued; the message says what to change."""


class Laboratory:
    """Measures entries of any kind: a case twice, or a case from another tree."""

    def __init__(self, settings: Settings) -> None:
        """Load the data and compute the float64 reference, once for all campaigns.

        Raises:
            SettingsError: a setting is wrong.
        """
        dataset = data.load(settings.data)
        (part,) = prepare((), settings, dataset)
        self._plan, self._header = replace(part.plan, marks=()), part.header
        self._reference = Reference(self._plan.workload, dataset.train, initial_params(self._plan.workload))

    def measure(self, entries: Sequence[Entry], seed: int) -> Mapping[str, CaseResult]:
        """Measure ``entries`` interleaved, in the order of ``seed``, and return their results by label.

        Raises:
            BusyError: another campaign is running on this machine.
        """
        campaign = Campaign(
            plan=replace(self._plan, seed=seed),
            entries=entries,
            journal=Journal(None, self._header),
            progress=NullProgress(),
            reference=self._reference,
        )
        with only_campaign():
            results = campaign.run()
        if campaign.interrupted:
            raise KeyboardInterrupt
        return results


def enter(name: str, label: str = "") -> Entry:
    """Return the implementation called ``name`` on the CPU, entered under ``label`` or else under its case's id."""
    case = find_case(f"{name}-cpu")
    python = find_interpreter(case.implementation, {}, ROOT, case.device)
    return Entry(label=label or case.id, case=case, python=python, root=ROOT)
