"""pytest's side of the harness: options, the one campaign of a session, and the table at its end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import data, machine
from bench.against import Against
from bench.campaign import Campaign, Entry, Plan
from bench.environments import NoInterpreterError, find_interpreter
from bench.options import add_options, amount
from bench.progress import Display
from bench.records import SCHEMA, CaseRecord, State
from bench.revision import RevisionError, check_out
from impls.registry import BOUNDS, Case, cases
from impls.workload import Workload, WorkloadError, parse_overrides
from reports import book, load, stats, tables
from reports.ci import announce

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.verdicts import Verdict

ROOT = Path(__file__).parent.parent
BASELINE = "numpy-cpu"
IMPOSSIBLE = 1.05  # a case's speed over that of its own matrix products
AGAIN = " again"  # the label of the A/A pair's second half


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add samenet's options."""
    add_options(parser.getgroup("samenet", "samenet: the same network in every framework"))


def pytest_configure(config: pytest.Config) -> None:
    """Register this session's state."""
    config.pluginmanager.register(Session(config), "samenet")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the hours of ``test_scaling.py`` out, unless it is named."""
    named = any("test_scaling" in argument for argument in config.args)
    return True if collection_path.name == "test_scaling.py" and not named else None


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
            [
                pytest.param(
                    case,
                    id=case.id,
                    marks=[pytest.mark.benchmark(timer=WorkerClock()), getattr(pytest.mark, case.implementation.lane)],
                )
                for case in cases()
            ],
        )


def conclude(record: CaseRecord, bound: CaseRecord | None, about: dict[str, Any]) -> dict[str, Any]:
    """Return ``record`` as it is saved, with the estimates that a valid one has earned.

    A case that beats its own matrix products has not done them, or not with the work that the bound did: the figure
    goes, whatever the reason is.
    """
    if bound and (bound.device != record.device or bound.state is not State.VALID):
        bound = None
    efficiency = stats.paired_ratio(bound.clean_seconds, record.clean_seconds) if bound else None
    if efficiency and efficiency.low > IMPOSSIBLE:
        record.give_up(State.UNVERIFIED, f"it runs at {100 * efficiency.value:.0f} % of its matrix products' own speed")
    saved = record.as_dict() | about | {"efficiency": None, "gflop_per_second": None}
    if record.state is State.VALID:
        seconds = stats.median(record.clean_seconds)
        saved["seconds"] = seconds.as_dict()
        saved["gflop_per_second"] = about["step_flops"] * about["iterations"] / seconds.value / 1e9
        saved["efficiency"] = efficiency.as_dict() if efficiency else None
    return saved


class Session:
    """One pytest session: prepares the campaign once tests are selected, runs it on demand, keeps its record."""

    def __init__(self, config: pytest.Config) -> None:
        """Prepare nothing yet: ``--help`` and ``--collect-only`` need no data."""
        self._config = config
        self.records: dict[str, CaseRecord] = {}
        self.summary: list[dict[str, Any]] = []
        self.campaign: Campaign | None = None
        self.verdicts: list[Verdict] = []
        self._about: dict[str, Any] = {}
        self._machine: dict[str, Any] = {}
        self._against: Against | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="samenet-revision-")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Check everything that can be wrong before the first second is spent on measuring."""
        params = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
        selected = [each["case"] for each in params if "case" in each]
        if selected and not self._config.option.collectonly:
            self.prepare(selected)

    def prepare(self, selected: list[Case], protocol: str = "iterations") -> None:
        """Make the campaign of ``selected``, and check everything that it needs.

        Raises:
            pytest.UsageError: an option is wrong.
        """
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
            if option.against:
                revision = check_out(option.against, ROOT, Path(self._folder.name))
                self._against = Against(revision, option.tolerance / 100)
        except (data.DataError, RevisionError, ValueError) as error:
            raise pytest.UsageError(str(error)) from None
        plan = Plan(
            workload,
            dataset,
            cpus,
            iterations=amount(option).iterations,
            rounds=amount(option).rounds,
            launches=option.launches,
            launch_seconds=amount(option).launch_seconds,
            seed=option.seed,
            timeout_seconds=option.timeout,
            curve=protocol == "iterations" and not option.against,
        )
        self.campaign = Campaign(plan, self._entries(selected), Display(), self._enough)
        self._machine = machine.record(cpus)  # before the campaign becomes the load that it tells of
        self._about = {
            "protocol": protocol,
            "iterations": plan.iterations,
            "workload": asdict(workload),
            "fingerprint": workload.fingerprint,
            "step_flops": workload.step_flops,
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

    def _entries(self, selected: list[Case]) -> list[Entry]:
        """Return what there is an interpreter for: the cases, one of them a second time, and the bounds.

        Two revisions need neither of these: the cases stand beside themselves as they were.
        """
        given = dict(self._config.option.python)
        entries = []
        for case in selected:
            try:
                entries.append(Entry(case.id, case, find_interpreter(case.implementation, given, ROOT), ROOT))
            except NoInterpreterError as error:
                self.records[case.id] = CaseRecord(case.id, case.implementation.name, case.device)
                self.records[case.id].give_up(State.SKIPPED, str(error))
        if self._against:
            return self._against.beside(entries, given, ROOT)
        if entries:
            twin = next((entry for entry in entries if entry.label == BASELINE), entries[0])
            entries.append(replace(twin, label=twin.label + AGAIN))
        for bound in BOUNDS if entries else ():
            with contextlib.suppress(NoInterpreterError):
                case = Case(bound, "cpu")
                entries.append(Entry(case.id, case, find_interpreter(bound, given, ROOT), ROOT, bound=True))
        return entries

    def _enough(self, campaign: Campaign) -> bool:
        """Tell whether every case's interval is as narrow as ``--until-width`` asks, or every verdict known."""
        if self._against:
            return self._against.decided(campaign)
        wanted = self._config.option.until_width
        if wanted is None:
            return False
        valid = [record for record in campaign.records.values() if record.state is State.VALID]
        widths = [stats.median(record.clean_seconds).half_width for record in valid]
        return all(2 * 100 * width < wanted for width in widths)

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
        """Run the campaign, once, past pytest's capture."""
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
        """Return the record of ``case`` as it is saved: with its estimates and with what it was measured on."""
        bound = self.campaign.bound if self.campaign else None
        record = self.records[case.id]
        saved = conclude(record, bound, self._about | {"manifest": dict(case.implementation.manifest)})
        self.summary.append(saved)
        if self._against:
            self.verdicts.append(self._against.verdict(record, self.records))
            saved["verdict"] = self.verdicts[-1].as_dict()
        return saved

    @property
    def _again(self) -> CaseRecord | None:
        """The second half of the A/A pair."""
        return next((record for label, record in self.records.items() if label.endswith(AGAIN)), None)

    def noise_floor(self) -> dict[str, Any] | None:
        """Return the ratio of a case to itself, which the campaign measured as it measured every other pair."""
        again = self._again
        if again is None:
            return None
        once = self.records[again.case.removesuffix(AGAIN)]
        ratio = stats.paired_ratio(again.clean_seconds, once.clean_seconds)
        valid = ratio and again.state is once.state is State.VALID
        return {"case": once.case, "ratio": ratio.as_dict() if ratio and valid else None}

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
            "machine": self._machine,
            "campaign": {
                "iterations": plan.iterations,
                "rounds": plan.rounds,
                "launches": plan.launches,
                "seed": plan.seed,
                "interrupted": self.campaign.interrupted,
                "wall_seconds": self.campaign.wall_seconds,
                "startup_seconds": self.campaign.startup_seconds,
                "measured_seconds": self.campaign.measured_seconds,
            },
            "noise_floor": self.noise_floor(),
            "against": self._against.as_dict(self.verdicts, self.records) if self._against else None,
            "bound": self.campaign.bound.as_dict() if self.campaign.bound else None,
            "again": self._again.as_dict() if self._again else None,
            "cases_without_number": [case for case in self.summary if case["state"] != State.VALID],
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the comparison."""
        if not self.summary or self.campaign is None:
            return
        iterations = self.campaign.plan.iterations
        if self._against:
            comparison = self._against.comparison(self.verdicts)
            terminalreporter.section(comparison.title)
            terminalreporter.write_line(tables.as_text(comparison.table))
            for line in (comparison.summary, *announce(comparison, os.environ)):
                terminalreporter.write_line(line)
            if self._config.option.comment:
                self._config.option.comment.write_text(comparison.as_markdown(), encoding="utf-8")
            return
        terminalreporter.section(f"{iterations:,} iterations of the same network")
        measured = [load.as_case(record) for record in self.summary]
        baseline = tables.choose_baseline(measured, BASELINE)
        terminalreporter.write_line(tables.as_text(tables.comparison(measured, baseline), drop=tables.DETAIL))
        terminalreporter.write_line(book.FOOTNOTE)
        for reason in tables.reasons(measured):
            terminalreporter.write_line(reason)
        terminalreporter.write_line(tables.as_text(tables.phases(measured, baseline)))
        floor = self.noise_floor()
        if floor:
            terminalreporter.write_line(tables.noise_sentence(load.as_noise_floor(floor)))
        if self.campaign.interrupted:
            terminalreporter.write_line("interrupted: the rounds measured until then were kept")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[Case], dict[str, Any]]:
    """Run the session's campaign if it has not run yet; return the lookup of a case's record."""
    session: Session = request.config.pluginmanager.getplugin("samenet")
    session.measure()
    return session.case_record
