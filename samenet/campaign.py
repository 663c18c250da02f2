"""The schedule of a campaign: launches of all its entries, until each has as many as planned or needs no more."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impls.workload import initial_params
from samenet.acceptance import accept_all
from samenet.events import Entered, LaunchEnded, Retried, Withdrawn
from samenet.launch import LiveLaunch
from samenet.live_round import LiveRound
from samenet.live_workers import LiveWorkers
from samenet.machine.gpu_watch import neighbours_on
from samenet.plan import Role
from samenet.records import State
from samenet.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from samenet.events import Log
    from samenet.journal import Journal
    from samenet.plan import Entry, Plan
    from samenet.progress import Progress
    from samenet.results import CaseResult, Results


MOST_LAUNCHES = 60  # where the plan leaves their number open
LATER_STEPS = 10  # after which a worker of a later launch is compared with the reference


@dataclass(kw_only=True)
class Campaign:
    """Measures ``entries`` interleaved, and writes all that happens into ``journal``.

    After each launch ``wanted`` says, from the results so far, which entries need another one. What the journal
    already holds of an entry counts, if its versions are the same.
    """

    plan: Plan
    entries: Sequence[Entry]
    journal: Journal
    progress: Progress
    wanted: Callable[[Mapping[str, CaseResult]], Collection[str]] | None = None
    assemble: Callable[[Campaign, Log], Results] | None = None  # makes what ``progress`` shows
    reference: Reference | None = None  # made when it is needed, unless it is given
    interrupted: bool = False
    wall_seconds: float = 0.0  # of which:
    startup_seconds: float = 0.0
    spent_seconds: float = 0.0  # of the plan's budget

    def results(self, log: Log | None = None) -> dict[str, CaseResult]:
        """Return the result of every entry, by label, from what was observed so far, or from another log."""
        return accept_all(log or self.journal.log, self.journal.header)

    @property
    def measured_seconds(self) -> float:
        """How long all rounds took together, the disturbed ones, the A/A pair's and the bound's too."""
        return sum(each.round.harness_seconds for seen in self.journal.log.entries.values() for each in seen.timed)

    def run(self) -> dict[str, CaseResult]:
        """Measure everything and return the results; Ctrl-C ends it early and keeps what was measured."""
        self._begin = time.perf_counter()
        self._enter_all()
        self.spent_seconds = self.measured_seconds  # by what the journal already holds
        entries = self._pending()
        self.progress.start()
        try:
            if entries:
                self._launch_until_done(entries)
        except KeyboardInterrupt:
            self.interrupted = True
        self.wall_seconds = time.perf_counter() - self._begin
        return self.results()

    def _launch_until_done(self, entries: Sequence[Entry]) -> None:
        self.progress.advance("the float64 reference")
        initial, neighbours = initial_params(self.plan.workload), neighbours_on({each.case.device for each in entries})
        reference = self.reference or Reference(self.plan.workload, self.plan.dataset.train, initial)
        cold, rounds, parity_reference = True, dict[str, LiveRound](), reference
        with tempfile.TemporaryDirectory(prefix="samenet-") as folder:
            while entries:
                number = self.journal.log.next_launch
                with LiveWorkers(
                    number=number,
                    entries=entries,
                    plan=self.plan,
                    journal=self.journal,
                    progress=self.progress,
                    parity_reference=parity_reference,
                    initial=initial,
                    folder=self._caches(Path(folder)),
                    cold=cold or self.plan.always_cold,
                    rounds=rounds,
                    neighbours=neighbours,
                ) as workers:
                    launch = LiveLaunch(workers=workers, reference=reference)
                    try:
                        self._measure(launch)
                    except KeyboardInterrupt:
                        launch.learn()
                        raise
                    cold, pending = False, self._pending(number)
                    launch.learn([entry for entry in entries if entry not in pending])
                self.journal.write(LaunchEnded(launch=number))
                self._show(self.progress.show, self.journal.log)
                entries = [entry for entry in pending if self.journal.log.is_live(entry.label)]
                if entries and parity_reference is reference:
                    parity_reference = Reference(self.plan.workload, self.plan.dataset.train, initial, LATER_STEPS)

    def _measure(self, launch: LiveLaunch) -> None:
        """Start the workers of a launch, measure all of it, and note how long that takes."""
        begin = time.perf_counter()
        for count in launch.workers.start():
            if self._is_previewed(launch, count) and (log := launch.preview()):
                self._show(self.progress.preview, log)
        started = time.perf_counter()
        self.startup_seconds += started - begin
        launch.measure()
        self.spent_seconds += time.perf_counter() - started - launch.workers.restart_seconds

    def _is_previewed(self, launch: LiveLaunch, started: int) -> bool:
        """Return whether there are figures when so many entries of a launch have started.

        Where nothing is compiled yet, they start one by one, which can take minutes. There are figures of 1, 2, 4, 8
        ... entries, so that they take little time where there are many. A verdict takes more launches.
        """
        is_open = self.plan.rounds is None and not self.plan.continues
        is_pair = any(each.group for each in self.entries)
        return launch.workers.cold and is_open and not is_pair and started.bit_count() == 1

    def _show(self, show: Callable[[Results], None], log: Log) -> None:
        self.wall_seconds = time.perf_counter() - self._begin
        if self.assemble:
            show(self.assemble(self, log))

    def _caches(self, folder: Path) -> Path:
        """Return the folder for what workers compile; what earlier launches left there goes if each is to be cold."""
        for path in folder.iterdir() if self.plan.always_cold else ():
            shutil.rmtree(path)
        return folder

    def _enter_all(self) -> None:
        """Enter what the journal does not have yet; a resumed campaign has its bound, and retries what failed."""
        log = self.journal.log
        present = {entry.label for entry in self.entries}
        for label, seen in list(log.entries.items()):
            if seen.entry.role is Role.TWIN and label not in present:  # of another selection
                self.journal.write(Withdrawn(label=label))
        has_bound = any(seen.entry.role is Role.BOUND for seen in log.entries.values())
        for entry in self.entries:
            lost = log.entries[entry.label].lost if entry.label in log.entries else None
            if lost and lost.state in {State.FAILED, State.SKIPPED}:
                self.journal.write(Retried(label=entry.label))
            elif entry.label not in log.entries and not (has_bound and entry.role is Role.BOUND):
                self.journal.write(Entered.of_entry(entry, self.plan))

    def _pending(self, *ending: int) -> list[Entry]:
        """Return the entries that take part in the next launch; launches that are ``ending`` count as complete."""
        log = self.journal.log
        entries = [entry for entry in self.entries if log.is_live(entry.label)]
        pending = self._unfinished(entries, ending)
        if pending or ending:
            return pending
        # It was killed as its error rates were computed: they take one more launch.
        return [entry for entry in entries if entry.role.trains and not log.entries[entry.label].learned]

    def _unfinished(self, entries: Sequence[Entry], ending: Sequence[int]) -> list[Entry]:
        log, budget = self.journal.log, self.plan.budget_seconds
        most = self.plan.launches or MOST_LAUNCHES
        pending = [entry for entry in entries if log.complete_launches(entry.label, ending) < most]
        if math.isfinite(budget) and self.spent_seconds >= budget - self.plan.launch_seconds(len(pending)) / 2:
            return []
        if self.wanted and (log.ended or ending):
            labels = self.wanted(self.results())
            return [entry for entry in pending if entry.label in labels]
        return pending
