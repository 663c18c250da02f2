"""The schedule of a campaign: launches of all its entries, until each has as many as planned or needs no more."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impls.workload import initial_params
from samenet.acceptance import accept_all
from samenet.events import Entered, LaunchEnded, Retried, Withdrawn
from samenet.launch import LiveLaunch
from samenet.plan import Role
from samenet.records import State
from samenet.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from samenet.journal import Journal
    from samenet.plan import Entry, Plan
    from samenet.progress import Progress
    from samenet.results import CaseResult


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
    reference: Reference | None = None  # made when it is needed, unless it is given
    interrupted: bool = False
    wall_seconds: float = 0.0  # of which:
    startup_seconds: float = 0.0

    def results(self) -> dict[str, CaseResult]:
        """Return the result of every entry, by label, from what was observed so far."""
        return accept_all(self.journal.log, self.journal.header)

    @property
    def measured_seconds(self) -> float:
        """How long all rounds took together, the disturbed ones, the A/A pair's and the bound's too."""
        return sum(each.round.harness_seconds for seen in self.journal.log.entries.values() for each in seen.timed)

    def run(self) -> dict[str, CaseResult]:
        """Measure everything and return the results; Ctrl-C ends it early and keeps what was measured."""
        begin = time.perf_counter()
        self._enter_all()
        entries = self._pending()
        counted = math.isinf(self.plan.launch_seconds)
        ahead = sum(self.plan.launches - self.journal.log.complete_launches(entry.label) for entry in entries)
        self.progress.start(1 + ahead * (1 + self.plan.rounds) if counted else None)
        try:
            if entries:
                self._launch_until_done(entries)
        except KeyboardInterrupt:
            self.interrupted = True
        self.wall_seconds = time.perf_counter() - begin
        return self.results()

    def _launch_until_done(self, entries: Sequence[Entry]) -> None:
        self.progress.advance("the float64 reference")
        initial = initial_params(self.plan.workload)
        reference = self.reference or Reference(self.plan.workload, self.plan.dataset.train, initial)
        cold = True
        with tempfile.TemporaryDirectory(prefix="samenet-") as folder:
            while entries:
                number, begin = self.journal.log.next_launch, time.perf_counter()
                with LiveLaunch(
                    number=number,
                    entries=entries,
                    plan=self.plan,
                    journal=self.journal,
                    progress=self.progress,
                    reference=reference,
                    initial=initial,
                    folder=Path(folder),
                    cold=cold,
                ) as launch:
                    try:
                        launch.start()
                        self.startup_seconds += time.perf_counter() - begin
                        launch.measure()
                    except KeyboardInterrupt:
                        launch.learn(follow=False)
                        raise
                    launch.learn()
                self.journal.write(LaunchEnded(launch=number))
                cold, entries = False, self._pending()

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

    def _pending(self) -> list[Entry]:
        """Return the entries that take part in the next launch."""
        log = self.journal.log
        entries = [entry for entry in self.entries if log.is_live(entry.label)]
        pending = [entry for entry in entries if log.complete_launches(entry.label) < self.plan.launches]
        if self.wanted and log.ended:
            labels = self.wanted(self.results())
            return [entry for entry in pending if entry.label in labels]
        return pending
