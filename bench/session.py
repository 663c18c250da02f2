"""One pytest session: its campaign, what it saves, and what it prints at the end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import data, gpu, machine
from bench.against import Against
from bench.campaign import Campaign, Entry, Plan
from bench.environments import ROOT, NoInterpreterError, find_interpreter
from bench.epochs import EPOCHS, Checkpoints, Epochs, source_digest
from bench.options import amount
from bench.progress import Display
from bench.records import SCHEMA, CaseRecord, State
from bench.revision import RevisionError, check_out
from impls.registry import BOUNDS, Case
from impls.workload import Workload, WorkloadError, parse_overrides
from reports import book, chapter, load, stats, tables
from reports.ci import announce

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from reports.verdicts import Verdict

BASELINE = "numpy-cpu"
IMPOSSIBLE = 1.05  # a case's speed over that of its own matrix products
AGAIN = " again"  # the label of the A/A pair's second half


def conclude(
    record: CaseRecord, bound: CaseRecord | None, least_seconds: float | None, about: dict[str, Any]
) -> dict[str, Any]:
    """Return ``record`` as it is saved, with the estimates that a valid one has earned; a training has one duration.

    A case is held against the rounds of ``bound`` or, on a GPU, against ``least_seconds`` for a round. One that beats
    its own matrix products has not done them, or not with the work that the bound did: the figure goes, whatever the
    reason is.
    """
    if bound and (bound.device != record.device or bound.state is not State.VALID):
        bound = None
    efficiency = stats.paired_ratio(bound.clean_seconds, record.clean_seconds) if bound else None
    if least_seconds and record.clean_seconds:
        efficiency = stats.median({key: least_seconds / each for key, each in record.clean_seconds.items()})
    if efficiency and efficiency.low > IMPOSSIBLE:
        record.give_up(State.UNVERIFIED, f"it runs at {100 * efficiency.value:.0f} % of its matrix products' own speed")
    saved = record.as_dict() | about | {"efficiency": None, "gflop_per_second": None, "least_seconds": least_seconds}
    if record.state is State.VALID:
        whole = record.curve[-1].seconds if about["protocol"] == "epochs" else None
        seconds = stats.median({(0, 0): whole} if whole else record.clean_seconds)
        saved["seconds"] = seconds.as_dict()
        saved["gflop_per_second"] = about["step_flops"] * about["iterations"] / seconds.value / 1e9
        saved["efficiency"] = efficiency.as_dict() if efficiency else None
    return saved


def storage_folder(option: argparse.Namespace) -> Path | None:
    """Return pytest-benchmark's storage, or None where it is no folder."""
    storage = str(option.benchmark_storage).removeprefix("file://")
    return None if "://" in storage else Path(storage)


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
        self._epochs: Epochs | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="samenet-revision-")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Check everything that can be wrong before the first second is spent on measuring."""
        items = [item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
        # A size has a campaign of its own, which test_scaling.py prepares.
        items = [item for item in items if {"case", "size"} & item.callspec.params.keys() == {"case"}]
        protocols = {"epochs" if item.path.name == "test_epochs.py" else "iterations" for item in items}
        if len(protocols) > 1:
            raise pytest.UsageError("test_epochs.py is a run of its own; name it alone")
        if items and not self._config.option.collectonly:
            selected: list[Any] = [item.callspec.params["case"] for item in items]
            self.prepare(selected, *protocols)

    def prepare(self, selected: list[Case], protocol: str = "iterations") -> None:
        """Make the campaign of ``selected``, and check everything that it needs.

        Raises:
            pytest.UsageError: an option is wrong.
        """
        option = self._config.option
        self._check_storage()
        try:
            cpus = machine.choose_cpus(option.threads)
            dataset = data.load(option.data)
            init = "book" if protocol == "epochs" else Workload.init
            workload = parse_overrides(Workload(data=dataset.sha256, seed=option.seed, init=init), option.workload)
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
            **amount(option)._asdict(),
            seed=option.seed,
            timeout_seconds=option.timeout,
            curve=protocol == "iterations" and not option.against,
        )
        self._machine = machine.record(cpus)  # before the campaign becomes the load that it tells of
        if protocol == "epochs":
            self._epochs = self._course(workload, dataset)
            plan = replace(plan, iterations=self._epochs.updates, rounds=len(self._epochs.ends), launches=1)
        entries = self._entries(selected, workload)
        self.campaign = Campaign(plan, entries, Display(), self._wanted, course=self._epochs)
        source = Path(dataset.source).name if Path(dataset.source).is_absolute() else dataset.source
        self._about = {
            "protocol": protocol,
            "iterations": plan.iterations,
            "workload": asdict(workload),
            "fingerprint": workload.fingerprint,
            "step_flops": workload.step_flops,
            "data": {"name": dataset.name, "source": source, "sha256": dataset.sha256},
            "threads": len(cpus),
        }
        say = self._config.pluginmanager.getplugin("terminalreporter").write_line
        say(f"data: {dataset.name} from {dataset.source}, sha256 {dataset.sha256[:12]}")
        say(
            f"workload {workload.fingerprint}: {workload.network}, init {workload.init}, batch {workload.batch_size},"
            f" learning rate {workload.learning_rate:g}, seed {workload.seed}, {workload.precision}"
        )
        say(f"CPUs: {', '.join(map(str, cpus))}; one thread each, for every case")

    def _course(self, workload: Workload, dataset: data.Dataset) -> Epochs:
        """Return the long training that the options ask for, and say where its state is kept.

        Raises:
            pytest.UsageError: two revisions would have to be compared.
        """
        option = self._config.option
        if option.against:
            raise pytest.UsageError("--against compares short rounds; leave test_epochs.py out")
        epochs = option.epochs or EPOCHS[workload.model]
        conditions = {
            "workload": asdict(workload),
            "epochs": epochs,
            "threads": len(self._machine["cpus"]),
            "hardware": self._machine["fingerprint"],
            "source": source_digest(ROOT),
        }
        folder = (storage_folder(option) or data.cache_folder()) / "checkpoints"
        return Epochs(workload, dataset, epochs, Checkpoints(folder, conditions))

    def _entries(self, selected: list[Case], workload: Workload) -> list[Entry]:
        """Return what there is an interpreter for: the cases, one of them a second time, and the bounds.

        Two revisions need neither of these: the cases stand beside themselves as they were. Nor does a long training.
        """
        given = dict(self._config.option.python)
        entries = []
        for case in selected:
            try:
                reason = case.unsupported(workload) or gpu.missing(case.device)
                python = None if reason else find_interpreter(case.implementation, given, ROOT)
            except NoInterpreterError as error:
                reason, python = str(error), None
            if python is None:
                self.records[case.id] = CaseRecord(case.id, case.implementation.name, case.device)
                self.records[case.id].give_up(State.SKIPPED, reason)
            else:
                entries.append(Entry(case.id, case, python, ROOT))
        if self._against:
            return self._against.beside(entries, given, ROOT)
        if self._epochs:
            return entries
        if entries:
            twin = next((entry for entry in entries if entry.label == BASELINE), entries[0])
            entries.append(replace(twin, label=twin.label + AGAIN))
        for bound in BOUNDS if entries and workload.bounded else ():
            with contextlib.suppress(NoInterpreterError):
                case = Case(bound, "cpu")
                entries.append(Entry(case.id, case, find_interpreter(bound, given, ROOT), ROOT, bound=True))
        return entries

    def _wanted(self, campaign: Campaign) -> Sequence[Entry]:
        """Return all entries until each interval is as narrow as ``--until-width`` asks, or those without a verdict."""
        if self._against:
            return self._against.undecided(campaign)
        width = self._config.option.until_width
        if width is None:
            return campaign.entries
        valid = [record for record in campaign.records.values() if record.state is State.VALID]
        widths = [stats.median(record.clean_seconds).half_width for record in valid]
        return [] if all(2 * 100 * each < width for each in widths) else campaign.entries

    def _check_storage(self) -> None:
        """Refuse a storage that cannot be written before anything is measured, not after.

        Raises:
            pytest.UsageError: the folder cannot be made or written.
        """
        option = self._config.option
        folder = storage_folder(option)
        if not (option.benchmark_save or option.benchmark_autosave) or folder is None:
            return
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
        manifest = {"precision": self._about["workload"]["precision"]} | case.manifest
        saved = conclude(record, bound, self._least_seconds(case), self._about | {"manifest": manifest})
        self.summary.append(saved)
        if self._epochs:
            saved["training"] = self._epochs.summary(record, self._config.option.target_error)
        if self._against and not gpu.missing(case.device):  # nobody changes a case that cannot run here
            self.verdicts.append(self._against.verdict(record, self.records))
            saved["verdict"] = self.verdicts[-1].as_dict()
        return saved

    def _least_seconds(self, case: Case) -> float | None:
        """Return the least time of a round on the GPU of ``case``, None for a CPU and where it is not known."""
        if self.campaign is None or self._epochs or gpu.missing(case.device):
            return None
        plan = self.campaign.plan
        peak = gpu.peak(case.device, plan.workload.precision) if plan.workload.bounded else None
        return peak.step_seconds(plan.workload) * plan.iterations if peak else None

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
        """Report an interruption as such: what was measured before it has been kept.

        By now pytest-benchmark has saved the run: the trainings need their checkpoints no more.
        """
        if self.campaign and self.campaign.interrupted:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        if self._epochs:
            self._epochs.clear(self.records.values())

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

    def _told_epochs(self, campaign: Campaign, protocol: Epochs) -> tuple[str, list[str]]:
        runs = [[load.as_case(record) for record in self.summary]]
        told = chapter.table(runs)
        lines = [tables.as_text(told), *told.notes, chapter.verdict(runs)]
        if campaign.interrupted:
            lines.append("interrupted: the same command goes on from here")
        return f"{protocol.epochs:,} epochs of the same network", lines

    def _told_verdicts(self, against: Against) -> tuple[str, list[str]]:
        comparison = against.comparison(self.verdicts)
        if self._config.option.comment:
            self._config.option.comment.write_text(comparison.as_markdown(), encoding="utf-8")
        lines = [tables.as_text(comparison.table), comparison.summary, *announce(comparison, os.environ)]
        return comparison.title, lines

    def _told_iterations(self, campaign: Campaign) -> tuple[str, list[str]]:
        measured = [load.as_case(record) for record in self.summary]
        baseline = tables.choose_baseline(measured, BASELINE)
        lines = [
            tables.as_text(tables.comparison(measured, baseline), drop=tables.DETAIL),
            book.FOOTNOTE,
            *tables.reasons(measured),
            tables.as_text(tables.phases(measured, baseline)),
        ]
        floor = self.noise_floor()
        if floor:
            lines.append(tables.noise_sentence(load.as_noise_floor(floor)))
        if campaign.interrupted:
            lines.append("interrupted: the rounds measured until then were kept")
        return f"{campaign.plan.iterations:,} iterations of the same network", lines

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the comparison."""
        if not self.summary or self.campaign is None:
            return
        if self._epochs:
            title, lines = self._told_epochs(self.campaign, self._epochs)
        elif self._against:
            title, lines = self._told_verdicts(self._against)
        else:
            title, lines = self._told_iterations(self.campaign)
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
