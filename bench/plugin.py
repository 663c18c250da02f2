"""samenet's hooks of pytest: they prepare one measurement, run it before the tests, and save and show its results."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bench.display import Display, render
from bench.options import settings, storage_folder
from reports import ci, verdicts
from samenet import Measurement, SamenetError, Scaling
from samenet.assembly import merge
from samenet.errors import SettingsError
from samenet.measurement import check_resume
from samenet.records import State
from samenet.saved import as_builtins
from samenet.verdicts import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impls.lanes import Case
    from samenet.results import CaseResult, Results


class Plugin:
    """One pytest session: the measurement of the selected cases, for a protocol of sizes one for each size."""

    def __init__(self, config: pytest.Config) -> None:
        """Prepare nothing yet: ``--help`` and ``--collect-only`` need no data."""
        self._config = config
        self._measurements: dict[str, Measurement] = {}  # by size, "" where there are no sizes
        self.results: dict[str, Results] = {}
        self._stored: dict[str, set[str]] = {}  # cases whose tests have run, by size
        self._saved = True  # until the run cannot be
        self._warnings: list[str] = []  # printed at the end
        self._errors: list[str] = []  # of outputs, printed at the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Check everything that can be wrong, and then measure."""
        items = [item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
        selected = [item for item in items if "case" in item.callspec.params and hasattr(item.module, "protocol")]
        modules = {item.module for item in selected}
        if len(modules) > 1:
            names = ", ".join(sorted(module.__name__.rpartition(".")[2] for module in modules))
            raise pytest.UsageError(f"{names} measure by different protocols; run one at a time")
        option = self._config.option
        failed_to_collect = session.testsfailed and not option.continue_on_collection_errors
        if not selected or option.collectonly or option.setupplan or option.benchmark_skip or failed_to_collect:
            return
        try:
            self._prepare(selected, modules.pop().protocol(self._config.option))
            self._measure()
        except SamenetError as error:
            raise pytest.UsageError(str(error)) from None

    def _prepare(self, items: list[Any], protocol: Any) -> None:  # noqa: ANN401  # a Protocol of any kind
        """Make the measurements of what is selected.

        Raises:
            SamenetError: an option is wrong, or an output cannot be written.
        """
        option = self._config.option
        self._check_outputs(protocol.saves_as)
        cases: dict[str, list[Case]] = {}
        for item in items:
            cases.setdefault(item.callspec.params.get("size", ""), []).append(item.callspec.params["case"])
        dataset = None
        for size, chosen in cases.items():
            of_size = Scaling(sizes=(size,)) if size else protocol
            measurement = Measurement(chosen, settings(option, of_size), dataset)
            self._measurements[size], dataset = measurement, measurement.dataset
        check_resume(list(self._measurements.values()))
        for line in next(iter(self._measurements.values())).description:
            self._say(line)

    def _say(self, line: str) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter.write_line(line)

    def _check_outputs(self, saves_as: str | None) -> None:
        """Refuse an output that cannot be written before anything is measured, not after."""
        option, benchmarks = self._config.option, self._config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
        if saves_as and not (option.benchmark_save or option.benchmark_autosave):
            benchmarks.save = saves_as  # an hour of training is worth a file
        folder = storage_folder(option)
        if (benchmarks.save or benchmarks.autosave) and folder:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f".samenet-{os.getpid()}"
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise pytest.UsageError(
                    f"cannot save into {folder}: {error.strerror}; choose another with --benchmark-storage"
                ) from None
        self._write("")

    def _measure(self) -> None:
        """Run the measurements past pytest's capture, until one is interrupted."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        for size, measurement in self._measurements.items():
            with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
                self.results[size] = measurement.run(Display())
            if self.results[size].campaign.interrupted:
                break

    def result(self, case: Case, size: str = "") -> CaseResult | None:
        """Return the result of ``case`` to be stored, or None where the measurement was interrupted before."""
        self._stored.setdefault(size, set()).add(case.id)
        return self.results[size][case.id] if size in self.results else None

    @property
    def merged(self) -> Results | None:
        """All results as one."""
        return merge(list(self.results.values())) if self.results else None

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what pytest-benchmark has no place for: the machine, the campaign, the cases without a number."""
        if self.merged:
            section = as_builtins(replace(self.merged, cases=()))
            del section["cases"]
            without = [case for case in self.merged.cases if case.state is not State.VALID]
            output_json["samenet"] = section | {"cases_without_number": [as_builtins(case) for case in without]}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Save, and only then remove the journals; the exit code says what happened."""
        benchmarks = session.config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
        save = benchmarks.handle_saving

        def guarded() -> None:
            try:
                save()
            except OSError as error:
                self._saved = False
                self._errors.append(f"the run could not be saved: {error.strerror}{self._rescue()}")

        benchmarks.handle_saving = guarded  # a full disk would end the session before its summary
        results = self.merged
        if results:
            self._finish(session, results)
        yield
        if results and self._saved and not results.campaign.interrupted:
            self._release_journals(results)
        if self._errors and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _release_journals(self, results: Results) -> None:
        """Remove what is saved from the journals; a failed training is tried again from the journal of the others."""
        failed = any(case.rounds and case.state is State.FAILED for case in results.cases)
        for size, measurement in self._measurements.items():
            if not (failed and measurement.settings.protocol.resumes):
                valid = {case.case for case in self.results[size].cases if case.state is State.VALID}
                measurement.release_journals(kept=valid - self._stored.get(size, set()))

    def _rescue(self) -> str:
        """Say how a run that could not be saved is kept."""
        paths = [journal.path for each in self._measurements.values() for journal in each.journals if journal.path]
        return f"; its rounds are in {', '.join(map(str, paths))}: free space, and rerun with --resume" if paths else ""

    def _write(self, comment: str) -> None:
        """Write the Markdown of a comparison; without any this checks that it can be written.

        Raises:
            SettingsError: an output cannot be written.
        """
        path = self._config.option.comment
        try:
            if path:
                path.open("a" if not comment else "w", encoding="utf-8").write(comment)
        except OSError as error:
            raise SettingsError(f"cannot write {path}: {error.strerror}; choose another with --comment") from None
        ci.append_summary(comment, os.environ)

    def _finish(self, session: pytest.Session, results: Results) -> None:
        """Write the verdicts, and set the exit code of an interruption."""
        if results.campaign.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        if results.against:
            comparison = Comparison.saved(results.against)
            try:
                self._write(verdicts.as_markdown(comparison))
            except SettingsError as error:
                self._errors.append(str(error))
            if comparison.is_empty and not self._config.option.allow_empty:
                self._errors.append("nothing was compared, since no case could be judged; --allow-empty lets this pass")
        journals = [journal for each in self._measurements.values() for journal in each.journals]
        self._warnings += [journal.broken for journal in journals if journal.broken]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the results, and what went wrong with the outputs."""
        results = self.merged
        if results:
            protocol = next(iter(self._measurements.values())).settings.protocol
            title, lines = render(protocol, results)
            terminalreporter.section(title)
            for line in [*lines, *self._annotations(results)]:
                terminalreporter.write_line(line)
        for warning in self._warnings:
            terminalreporter.write_line(warning, yellow=True)
        for error in self._errors:
            terminalreporter.write_line(error, red=True)

    @staticmethod
    def _annotations(results: Results) -> Iterator[str]:
        if results.against:
            yield from ci.workflow_commands(Comparison.saved(results.against), os.environ)
