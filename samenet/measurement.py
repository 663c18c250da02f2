"""The entry point of the library: from cases and settings to results."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

from samenet import data
from samenet.assembly import assemble, merge
from samenet.campaign import Campaign
from samenet.errors import SettingsError
from samenet.events import Entered, Lost
from samenet.journal import Journal
from samenet.machine.counters import unknown_readings
from samenet.machine.devices import is_absent
from samenet.machine.gpu_watch import caveats
from samenet.machine.lock import only_campaign
from samenet.preparation import prepare
from samenet.progress import NullProgress, say_nothing
from samenet.protocols import Settings
from samenet.records import State
from samenet.results import CampaignRecord
from samenet.speedups import unsharp
from samenet.stats import t_quantile
from samenet.worker_environment import ignored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from impls.lanes import Case
    from samenet.data import Dataset
    from samenet.events import Log
    from samenet.preparation import Part
    from samenet.progress import Progress
    from samenet.results import Results


def measure(
    selected: Sequence[Case | str], settings: Settings | None = None, progress: Progress | None = None
) -> Results:
    """Measure ``selected`` cases, such as ``["numpy-cpu", "torch-cpu"]``, interleaved, and return their results.

    A case that cannot be measured here is in the results with its state and reason, and without a number. Ctrl-C
    ends the measurement early: then ``results.campaign.interrupted`` is true, and a journal stays for ``resume``.

    Raises:
        SettingsError: a setting is wrong.
        BusyError: another campaign is running on this machine.
        JournalError: the journal that is to be continued cannot be read.
    """
    progress = progress or NullProgress()
    with only_campaign():  # environments for versions are made here
        measurement = Measurement(selected, settings or Settings())
        check_resume([measurement])
        results = measurement.run_locked(progress)
    for journal in measurement.journals:
        if journal.broken:
            warnings.warn(journal.broken, stacklevel=2)
    if not results.campaign.interrupted:
        measurement.release_journals()
    return results


class Measurement:
    """A measurement that is ready to run: all that can be wrong is checked before the first second is spent on it."""

    def __init__(
        self,
        selected: Sequence[Case | str],
        settings: Settings,
        dataset: Dataset | None = None,
        say: Callable[[str], None] = say_nothing,
    ) -> None:
        """Prepare to measure ``selected``, on ``dataset`` or else on what the settings name.

        ``say`` which environments are made for versions of a package, and how much is downloaded.

        Raises:
            SettingsError: a setting is wrong.
        """
        t_quantile(1, 0.5)  # a scipy that cannot be imported ends it here
        self.settings = settings
        self.dataset = dataset or data.load(settings.data)
        self.parts = prepare(selected, settings, self.dataset, say)
        self.journals: list[Journal] = []

    @property
    def description(self) -> list[str]:
        """What is measured, on what, and what an earlier campaign has left, a line each."""
        part = self.parts[0]
        workload, context = part.plan.workload, part.header.context
        quota = part.header.machine.cpu_quota
        limit = "" if quota is None else f"; the cgroup allows {quota:g} CPU{'' if quota == 1 else 's'}"
        lines = [
            f"data: {context.data.name} from {self.dataset.source}, sha256 {context.data.sha256[:12]}",
            f"workload {workload.fingerprint}: {workload.summary}",
            f"CPUs: {', '.join(map(str, part.plan.cpus))}; one thread each, for every case{limit}",
        ]
        if passed := part.header.machine.environment:
            lines.append(f"passed on: {', '.join(f'{name}={value}' for name, value in passed.items())}")
        if dropped := ignored(os.environ):
            lines.append(f"ignored: {', '.join(dropped)}; workers get settings of their own")
        if unknown := unknown_readings(part.plan.cpus, has_quota=quota is not None):
            lines.append(f"unknown here: {', '.join(unknown)}; disturbances that only these would show go unnoticed")
        devices = {entry.case.device for entry in part.entries}
        lines += caveats(sorted(each.index for each in devices if each.has_nvml))
        for part in self.parts:
            if part.unfinished:
                does = "continuing" if self.continues else "--resume continues"
                lines.append(f"{does} the unfinished campaign in {part.unfinished}")
        return lines

    @property
    def continues(self) -> bool:
        """Whether unfinished campaigns are continued."""
        return self.settings.resume or self.settings.protocol.resumes

    @classmethod
    def continued(
        cls, selected: Sequence[Case | str], settings: Settings, dataset: Dataset, say: Callable[[str], None]
    ) -> Self:
        """Prepare as the constructor does, and continue what an interrupted measurement has left in the journal."""
        made = cls(selected, settings, dataset, say)
        return cls(selected, replace(settings, resume=True), dataset) if made.parts[0].unfinished else made

    def run(self, progress: Progress) -> Results:
        """Measure everything, and return the results; Ctrl-C ends it early.

        Raises:
            BusyError: another campaign is running on this machine.
            JournalError: the journal that is to be continued cannot be read.
        """
        with only_campaign():
            return self.run_locked(progress)

    def run_locked(self, progress: Progress) -> Results:
        """Measure as ``run`` does, for a caller who holds the machine's lock over several measurements.

        Raises:
            JournalError: the journal cannot be written, or read.
        """
        parts = []
        with progress:
            for part in self.parts:
                parts.append(self._run(part, progress))
                if parts[-1].campaign.interrupted:
                    break
        return merge(parts)

    def run_to_end(self, progress: Progress, say: Callable[[str], None]) -> Results:
        """Measure as ``run_locked`` does; ``say`` if it could not be continued. The journals stay.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it early.
        """
        results = self.run_locked(progress)
        for journal in self.journals:
            if journal.broken:
                say(journal.broken)
        if results.campaign.interrupted:
            raise KeyboardInterrupt
        return results

    def _run(self, part: Part, progress: Progress) -> Results:
        if part.unfinished and self.continues:
            journal = Journal.reopen(part.unfinished, part.header)
        else:
            journal = Journal.create(self.settings.journal, part.header)
        self.journals.append(journal)
        for case, reason in part.skipped.items():
            name, device = case.implementation.name, str(case.device)
            journal.write(
                Entered(label=case.id, implementation=name, device=device, version=case.version, manifest=case.manifest)
            )
            journal.write(Lost(label=case.id, state=State.SKIPPED, reason=reason))
        wanted = part.comparison.undecided if part.comparison else None
        if part.plan.launches is None and not part.comparison:
            wanted = partial(unsharp, entries=part.entries)
        campaign = Campaign(
            plan=part.plan,
            entries=part.entries,
            journal=journal,
            progress=progress,
            wanted=wanted,
            assemble=partial(self._assemble, part),
        )
        campaign.run()
        return self._assemble(part, campaign, journal.log)

    @staticmethod
    def _assemble(part: Part, campaign: Campaign, log: Log) -> Results:
        """Return the results of a campaign so far, by its journal's log or another one."""
        record = CampaignRecord(
            id=campaign.journal.header.id,
            iterations=part.plan.iterations,
            rounds=part.plan.rounds,
            launches=part.plan.launches,
            seed=part.plan.seed,
            interrupted=campaign.interrupted,
            wall_seconds=campaign.wall_seconds,
            startup_seconds=campaign.startup_seconds,
            measured_seconds=campaign.measured_seconds,
        )
        absent = {case.id for case in part.skipped if is_absent(case.device)}
        return assemble(
            *(campaign.journal.header, log, campaign.results(log), record),
            comparison=part.comparison,
            absent=absent,
            selected=part.labels,
        )

    def release_journals(self, kept: Collection[str] = ()) -> None:
        """Remove what is safe elsewhere from the journals: all that was selected here, except the cases ``kept``."""
        for part, journal in zip(self.parts, self.journals, strict=False):
            journal.release({label for label in part.labels if label not in kept})


def check_resume(measurements: Sequence[Measurement]) -> None:
    """Refuse to resume where there is nothing to be continued.

    Raises:
        SettingsError: none of ``measurements`` has an unfinished campaign, or there is no journal to have it.
    """
    settings = measurements[0].settings
    if settings.resume and settings.journal is None:
        raise SettingsError("resume needs a journal; set Settings(journal=...)")
    if settings.resume and not any(part.unfinished for each in measurements for part in each.parts):
        raise SettingsError(
            f"{settings.journal} has no unfinished campaign with these settings, machine and code; leave --resume out"
        )
