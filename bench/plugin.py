"""samenet's hooks of pytest: they prepare one measurement, run it before the tests, and save and show its results."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from bench import outputs
from bench.display import Display, render
from bench.options import settings
from bench.selection import select
from reports import ci, verdicts
from samenet import Measurement, SamenetError, Scaling
from samenet.assembly import merge
from samenet.errors import BusyError
from samenet.machine.lock import only_campaign
from samenet.measurement import check_resume
from samenet.records import State
from samenet.saved import campaign_section
from samenet.verdicts import Comparison

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from bench.ending import Ending
    from bench.selection import Selection
    from impls.lanes import Case
    from samenet.results import CaseResult, Results


class Plugin:
    """One pytest session: the measurement of the selected cases, for a protocol of sizes one for each size."""

    def __init__(self, config: pytest.Config, ending: Ending) -> None:
        """Prepare nothing yet: ``--help`` and ``--collect-only`` need no data."""
        self._config, self._ending = config, ending
        self._measurements: dict[str, Measurement] = {}  # by size, "" where there are no sizes
        self._waiting: set[tuple[Case, str]] = set()  # measured, or going to be, and not handed to a test yet
        self.results: dict[str, Results] = {}
        ending.kept = self.kept

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Check everything that can be wrong, and then measure."""
        if session.testsfailed or self._config.option.collectonly:  # pytest ends where a file cannot be collected
            return
        selection = select(session)
        if selection is None:
            return
        try:
            with only_campaign():  # environments for versions are made here
                self._prepare(selection)
                self._check_terminal()
                self._measure()
        except BusyError as error:
            raise pytest.exit.Exception(str(error), BusyError.EXIT_CODE) from None
        except SamenetError as error:
            raise pytest.UsageError(f"{error}{self.kept()}") from None
        self._config.option.maxfail = 0  # everything has been measured: -x would lose the results of the other cases

    def _prepare(self, selection: Selection) -> None:
        """Make the measurements of what is selected.

        Raises:
            SamenetError: an option is wrong, or an output cannot be written.
        """
        option, protocol = self._config.option, selection.module.protocol(self._config.option)
        benchmarks = self._config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
        if protocol.saves_as and not (option.benchmark_save or option.benchmark_autosave):
            benchmarks.save = protocol.saves_as  # an hour of training is worth a file
        outputs.check(self._config)
        dataset = None
        for size, chosen in selection.cases.items():
            of_size = Scaling(sizes=(size,)) if size else protocol
            measurement = Measurement(chosen, settings(option, of_size), dataset, self._say)
            self._measurements[size], dataset = measurement, measurement.dataset
            self._waiting |= {(case, size) for case in chosen}
        check_resume(list(self._measurements.values()))
        for line in next(iter(self._measurements.values())).description:
            self._say(line)

    def _say(self, line: str, **markup: bool) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter.write_line(line, **markup)
        else:
            self._ending.output.write(f"{line}\n")

    def _check_terminal(self) -> None:
        """Refuse an output that has ended already, as where it is a pipe to ``head -1``.

        Raises:
            pytest.UsageError: it has.
        """
        self._ending.output.flush()
        if self._ending.output.error:
            raise pytest.UsageError(f"{self._ending.output.error}; nothing was measured")

    def _measure(self) -> None:
        """Run the measurements past pytest's capture, until one is interrupted."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        for size, measurement in self._measurements.items():
            display = Display(self._ending.output, measurement.parts[0].plan.budget_seconds)
            with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
                self.results[size] = measurement.run_locked(display)
            if self.results[size].campaign.interrupted:
                break

    def result(self, case: Case, size: str = "") -> CaseResult | None:
        """Hand over the result of ``case``, or None where the measurement was interrupted before."""
        self._waiting.discard((case, size))
        return self.results[size][case.id] if size in self.results else None

    @property
    def merged(self) -> Results | None:
        """All results as one."""
        return merge(list(self.results.values())) if self.results else None

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what pytest-benchmark has no place for: the machine, the campaign, the cases without a number."""
        if self.merged:
            output_json["samenet"] = campaign_section(self.merged)

    def pytest_benchmark_update_commit_info(self, commit_info: dict[str, Any]) -> None:
        """Name the commit that was measured: pytest-benchmark follows a hook's GIT_DIR to another repository."""
        if self._measurements:
            commit = next(iter(self._measurements.values())).parts[0].header.commit
            if commit.id != commit_info["id"]:
                commit_info |= {"id": commit.id or "unversioned", "time": None, "author_time": None}
            commit_info |= {"branch": commit.branch or "(unknown)", "dirty": bool(commit.dirty)}
            commit_info.pop("error", None)  # has paths

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Save; this is inside of the terminal's hook, which prints the summary."""
        ending, results = self._ending, self.merged
        outputs.guard_saving(session.config._benchmarksession, ending, self.kept)  # type: ignore[attr-defined]  # noqa: SLF001
        if results and results.against:
            with ending.caught():
                comparison = Comparison.saved(results.against)
                outputs.write_comparison(verdicts.as_markdown(comparison), self._config.option.comment, ending)
        try:
            yield
        except OSError as error:
            # What is left of the known outputs; pytest opens the file without naming it in the error of a full disk.
            error.filename = error.filename or getattr(self._config.option, "xmlpath", None)
            if session.exitstatus != pytest.ExitCode.USAGE_ERROR:  # it may have been refused for this reason
                ending.fail(error)
        except Exception as error:  # noqa: BLE001  # the summary comes after this
            ending.fail(error)
        if results:
            with ending.caught():
                self._conclude(session, results)

    def _conclude(self, session: pytest.Session, results: Results) -> None:
        """Say what was not stored or not judged."""
        if results.campaign.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif self._waiting:
            self._ending.problem(f"the session ended before every result was stored{self.kept()}")
        for journal in [journal for each in self._measurements.values() for journal in each.journals]:
            if journal.broken:
                self._say(journal.broken, yellow=True)
        ended = not results.campaign.interrupted and not self._config.option.allow_empty
        if results.against and ended and Comparison.saved(results.against).is_empty:
            reason = "nothing was compared, since no case could be judged; --allow-empty lets this pass"
            self._ending.problem(reason, saved=True)
        if not self._has_summary:
            self._show(results)

    def kept(self, remedy: str = "") -> str:
        """Say where the rounds are that have been measured, to be added to a sentence; ``remedy`` comes first."""
        journals = [journal for each in self._measurements.values() for journal in each.journals]
        paths = [str(journal.path) for journal in journals if journal.path and journal.path.exists()]
        return f"; its rounds are in {', '.join(paths)}: {remedy}rerun with --resume" if paths else ""

    @property
    def _has_summary(self) -> bool:
        """Whether pytest prints a summary; with --no-summary it does not call the hook before its version 9.2."""
        return self._config.pluginmanager.hasplugin("terminalreporter") and not self._config.option.no_summary

    def pytest_terminal_summary(self) -> None:
        """Print the results, and what went wrong with the outputs."""
        with self._ending.caught():
            if self.merged and self._has_summary:
                self._show(self.merged)
        for text in self._ending.unsaid():
            self._say(text, red=True)

    def _show(self, results: Results) -> None:
        protocol = next(iter(self._measurements.values())).settings.protocol
        title, lines = render(protocol, results, self._ending.output)
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter.section(title)
        for line in [*lines, *self._annotations(results)]:
            self._say(line)

    @staticmethod
    def _annotations(results: Results) -> Iterator[str]:
        if results.against:
            yield from ci.workflow_commands(Comparison.saved(results.against), os.environ)

    def pytest_unconfigure(self) -> None:
        """Remove the journals of what was saved and shown; a failed training is tried again from that of the others."""
        results = self.merged
        if results is None or results.campaign.interrupted or self._ending.keeps_journals:
            return
        failed = any(case.rounds and case.state is State.FAILED for case in results.cases)
        for measurement in self._measurements.values():
            if not (failed and measurement.settings.protocol.resumes):
                measurement.release_journals()
