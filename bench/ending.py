"""How a session ends: a regression or a failed case has exit code 1, every other failure a code and a sentence."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_benchmark.session import PerformanceRegression

from reports import bugs, streams
from samenet import SamenetError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

HERE = Path(__file__).parent
KEY: pytest.StashKey[Ending] = pytest.StashKey()
Code = int | pytest.ExitCode


class Ending:
    """What went wrong in a session apart from its cases, and the exit code that this makes.

    ``problems`` are outputs that failed and other things that the user can change, ``bugs`` are errors that nothing
    expected. ``kept`` says where the measured rounds are, which ``keeps_journals`` says have to stay there.
    """

    def __init__(self) -> None:
        """Begin without a failure."""
        streams.prepare()
        self.output = streams.Output(sys.stdout)
        self.problems: list[str] = []
        self.keeps_journals = False
        self.kept: Callable[[], str] = str
        self._bugs: dict[str, str] = {}  # by the kind and the place of the error
        self._unsaid: list[str] = []
        self._case_failed = False

    @classmethod
    def of(cls, config: pytest.Config) -> Ending:
        """Return that of the session."""
        if KEY not in config.stash:
            config.stash[KEY] = cls()
        return config.stash[KEY]

    def problem(self, text: str, *, saved: bool = False) -> None:
        """Note what the user can change; unless everything is ``saved`` all the same, the journals stay."""
        self.keeps_journals = self.keeps_journals or not saved
        self.problems.append(text)
        self._unsaid.append(text)

    def fail(self, error: BaseException) -> str:
        """Note an error that nothing caught, and return its sentence."""
        if isinstance(error, (SamenetError, OSError)):
            self.problem(f"{streams.sentence(error)}{self.kept()}")
            return self.problems[-1]
        if isinstance(error, ImportError):
            self.problem(f"{error}; run: python -m pip install --group bench")
            return self.problems[-1]
        self.keeps_journals = True
        innermost = error.__traceback__
        while innermost and innermost.tb_next:
            innermost = innermost.tb_next
        place = f"{type(error)} {innermost and (innermost.tb_frame.f_code, innermost.tb_lineno)}"
        if place not in self._bugs:
            self._bugs[place] = f"{bugs.sentence(error)}{self.kept()}"
            self._unsaid.append(self._bugs[place])
        return self._bugs[place]

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Note an error instead of raising it, so that what comes after it still happens."""
        try:
            yield
        except PerformanceRegression:
            raise
        except Exception as error:  # noqa: BLE001  # it has its sentence and its exit code
            self.fail(error)

    def unsaid(self) -> list[str]:
        """Return the sentences that have not been printed, which the caller does."""
        texts, self._unsaid = self._unsaid, []
        return texts

    def code(self, code: Code) -> Code:
        """Return the exit code of a session that pytest would end with ``code``; a failed case wins."""
        if self._case_failed:  # --stepwise and Ctrl-C end with another code after it
            return pytest.ExitCode.TESTS_FAILED
        if self._bugs:
            return pytest.ExitCode.INTERNAL_ERROR
        unusable = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED}
        return pytest.ExitCode.USAGE_ERROR if self.problems and code in unusable else code

    def session(self) -> Generator[None, Code, Code]:
        """Run the session, around which this is, and return its exit code."""
        code: Code
        try:
            code = yield
        except pytest.UsageError as error:
            code = pytest.ExitCode.USAGE_ERROR
            self._unsaid += [f"ERROR: {text}" for text in error.args]
        except PerformanceRegression:  # pytest-benchmark's own gate, which has printed its reason
            code, self._case_failed = pytest.ExitCode.TESTS_FAILED, True
        except Exception as error:  # noqa: BLE001  # as in caught()
            code = pytest.ExitCode.OK
            self.fail(error)
        streams.prepare()  # pytest has put back the streams that the caller has closed, and flushes them
        self.output.flush()
        if self.output.error and not any(self.output.error in text for text in self._unsaid):
            self.problem(self.output.error, saved=True)
        for text in self.unsaid():
            streams.complain(text)
        return self.code(code)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None]:
        """Let a terminal that goes away cost nothing else."""
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter._tw._file = self.output  # noqa: SLF001  # pytest has no public way
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Print one sentence in place of pytest's pages.

        Raises:
            pytest.exit.Exception: always; pytest ends the session with its code.
        """
        text = self.fail(excinfo.value)
        self._unsaid = [each for each in self._unsaid if each != text]  # pytest prints it
        code = pytest.ExitCode.INTERNAL_ERROR if self._bugs else pytest.ExitCode.USAGE_ERROR
        raise pytest.exit.Exception(text, code)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell a test that broke from a case that failed."""
        report = yield
        if report.failed and call.excinfo:
            if item.path.parent == HERE and isinstance(call.excinfo.value, Exception):
                report.longrepr = self.fail(call.excinfo.value)
            else:
                self._case_failed = True
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Replace the traceback of a file of ours that cannot be collected."""
        report = yield
        call = getattr(report, "call", None)
        if report.failed and call and HERE in {collector.path, collector.path.parent}:
            report.longrepr = self.fail(call.excinfo.value)
        return report
