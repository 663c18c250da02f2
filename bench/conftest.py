"""pytest's side of the harness: options, the one campaign of a session, and the table at its end."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import data, machine
from bench.campaign import Campaign, Entry, Plan
from bench.environments import NoInterpreterError, find_interpreter
from bench.progress import Display
from bench.records import SCHEMA, CaseRecord, State
from impls.registry import Case, cases
from impls.workload import Workload, WorkloadError, parse_overrides
from reports import book, stats, tables

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
BASELINE = "numpy-cpu"


def count(text: str) -> int:
    """Read an option that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def seconds(text: str) -> float:
    """Read an option that is a time."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def interpreter(text: str) -> tuple[str, Path]:
    """Read ``name=path``: the interpreter for an implementation or an environment."""
    known = {name for case in cases() for name in (case.implementation.name, case.implementation.environment)}
    name, _, path = text.partition("=")
    if name not in known:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no implementation; write name=path with one of: {', '.join(sorted(known))}"
        )
    if not os.access(path, os.X_OK) or Path(path).is_dir():
        raise argparse.ArgumentTypeError(
            f"{path or 'the empty path'} is no interpreter; write {name}=/path/to/bin/python"
        )
    return name, Path(path).absolute()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add samenet's options."""
    group = parser.getgroup("samenet", "samenet: the same network in every framework")
    add = group.addoption
    add("--iterations", type=count, default=1000, help="Updates in one timed round. Default: %(default)s.")
    add("--rounds", type=count, default=3, help="Rounds of each case in one launch. Default: %(default)s.")
    add("--launches", type=count, default=3, help="Worker processes of each case, in turn. Default: %(default)s.")
    add("--threads", type=count, help="CPUs, and threads, for every case. Default: one for each core.")
    add("--timeout", type=seconds, default=300.0, help="Seconds that a worker may take for one request.")
    add("--seed", type=int, default=0, help="Draws the initial weights and the order of rounds.")
    add("--workload", default="", metavar="FIELD=VALUE,...", help="Change the workload, such as hidden=100,init=book.")
    add("--data", type=Path, metavar="DIR", help="Folder with MNIST's four idx .gz files. Default: $SAMENET_DATA.")
    add(
        "--python",
        type=interpreter,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="The interpreter for one implementation, such as torch=/opt/torch/bin/python. May be repeated.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register this session's state."""
    config.pluginmanager.register(Session(config), "samenet")


class WorkerClock:
    """The timer that pytest-benchmark reads: it shows what the worker measured, one duration a call of ``advance``."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now = 0.0
        self.durations: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def reset(self) -> None:
        """Go back to zero, before each round: a sum of durations would lose their last digits."""
        self.now = 0.0

    def advance(self) -> None:
        """Let the next duration pass."""
        self.now = self.durations.pop(0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test a case."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize(
            "case",
            [pytest.param(case, id=case.id, marks=pytest.mark.benchmark(timer=WorkerClock())) for case in cases()],
        )


class Session:
    """One pytest session: prepares the campaign once tests are selected, runs it on demand, keeps its record."""

    def __init__(self, config: pytest.Config) -> None:
        """Prepare nothing yet: ``--help`` and ``--collect-only`` need no data."""
        self._config = config
        self.records: dict[str, CaseRecord] = {}
        self.summary: list[dict[str, Any]] = []
        self.campaign: Campaign | None = None
        self._about: dict[str, Any] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Check everything that can be wrong before the first second is spent on measuring."""
        selected = [item.callspec.params["case"] for item in session.items if hasattr(item, "callspec")]
        if selected and not self._config.option.collectonly:
            self._prepare(selected)

    def _prepare(self, selected: list[Case]) -> None:
        option = self._config.option
        self._check_storage()
        try:
            cpus = machine.choose_cpus(option.threads)
            folder = option.data or (Path(os.environ["SAMENET_DATA"]) if "SAMENET_DATA" in os.environ else None)
            dataset = data.load(folder)
            workload = parse_overrides(Workload(data=dataset.sha256, seed=option.seed), option.workload)
            if workload.batch_size > len(dataset.train.labels):
                raise WorkloadError(
                    f"batch_size is {workload.batch_size}; the training set has {len(dataset.train.labels)} images"
                )
        except (data.DataError, ValueError) as error:
            raise pytest.UsageError(str(error)) from None
        plan = Plan(
            workload,
            dataset,
            cpus,
            iterations=option.iterations,
            rounds=option.rounds,
            launches=option.launches,
            seed=option.seed,
            timeout_seconds=option.timeout,
        )
        entries = []
        for case in selected:
            try:
                entries.append(
                    Entry(case.id, case, find_interpreter(case.implementation, dict(option.python), ROOT), ROOT)
                )
            except NoInterpreterError as error:
                record = CaseRecord(case.id, case.implementation.name, case.device)
                record.give_up(State.SKIPPED, str(error))
                self.records[case.id] = record
        self.campaign = Campaign(plan, entries, Display())
        self._about = {
            "protocol": "iterations",
            "iterations": plan.iterations,
            "workload": asdict(workload),
            "fingerprint": workload.fingerprint,
            "data": {"name": dataset.name, "source": dataset.source, "sha256": dataset.sha256},
            "threads": len(cpus),
        }
        say = self._config.pluginmanager.getplugin("terminalreporter").write_line
        say(f"data: {dataset.name} from {dataset.source}, sha256 {dataset.sha256[:12]}")
        say(
            f"workload {workload.fingerprint}: {workload.inputs}-{workload.hidden}-{workload.classes}"
            f" {workload.activation}, init {workload.init}, batch {workload.batch_size},"
            f" learning rate {workload.learning_rate:g}, seed {workload.seed}, {workload.precision}"
        )
        say(f"CPUs: {', '.join(map(str, cpus))}; one thread each, for every case")

    def _check_storage(self) -> None:
        """Refuse a storage that cannot be written before anything is measured, not after.

        Raises:
            pytest.UsageError: the folder cannot be made or written.
        """
        option = self._config.option
        storage = str(option.benchmark_storage)
        if not (option.benchmark_save or option.benchmark_autosave) or "://" in storage.removeprefix("file://"):
            return
        folder = Path(storage.removeprefix("file://"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".samenet-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise pytest.UsageError(
                f"cannot save into {folder}: {error.strerror}; give another with --benchmark-storage"
            ) from None

    def measure(self) -> None:
        """Run the campaign, once."""
        campaign = self.campaign
        if campaign is None or campaign.wall_seconds or not campaign.entries:
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        shown = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
        try:
            with machine.only_campaign(), shown, campaign.progress:
                campaign.run()
        except machine.BusyError as error:
            raise pytest.UsageError(str(error)) from None
        self.records |= campaign.records

    def case_record(self, case: Case) -> dict[str, Any]:
        """Return the record of ``case`` as it is saved: with its estimate and with what it was measured on."""
        record = self.records[case.id]
        saved = record.as_dict() | self._about
        if record.state is State.VALID:
            saved["seconds"] = stats.median(tables.clean_seconds(saved))._asdict()
        self.summary.append(saved)
        return saved

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Report an interruption as such: what was measured before it has been kept."""
        if self.campaign and self.campaign.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what pytest-benchmark has no place for: the machine, the campaign, the cases without a number."""
        if self.campaign is None:
            return
        plan = self.campaign.plan
        output_json["samenet"] = {
            "schema": SCHEMA,
            "machine": machine.record(plan.cpus),
            "campaign": {
                "iterations": plan.iterations,
                "rounds": plan.rounds,
                "launches": plan.launches,
                "seed": plan.seed,
                "interrupted": self.campaign.interrupted,
                "wall_seconds": self.campaign.wall_seconds,
            },
            "cases_without_number": [case for case in self.summary if case["state"] != State.VALID],
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the comparison."""
        if not self.summary or self.campaign is None:
            return
        iterations = self.campaign.plan.iterations
        terminalreporter.section(f"{iterations:,} iterations of the same network")
        width = shutil.get_terminal_size().columns
        terminalreporter.write_line(tables.as_text(tables.comparison(self.summary, BASELINE), width))
        terminalreporter.write_line(book.FOOTNOTE)
        terminalreporter.write_line(tables.as_text(tables.phases(self.summary), width))
        if self.campaign.interrupted:
            terminalreporter.write_line("interrupted: the rounds measured until then were kept")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[Case], dict[str, Any]]:
    """Run the session's campaign if it has not run yet; return the lookup of a case's record."""
    session: Session = request.config.pluginmanager.getplugin("samenet")
    session.measure()
    return session.case_record
