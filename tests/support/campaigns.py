"""Small campaigns on a real machine, and observations made up for what judges them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from impls.lanes import Case, Device
from impls.workload import Workload
from samenet.campaign import Campaign
from samenet.context import Context, Data, Machine
from samenet.data import Dataset
from samenet.environments import ROOT, find_interpreter
from samenet.events import Entered, Header, Joined, Learned, Observations, Timed
from samenet.journal import Journal
from samenet.machine.cpus import choose_cpus
from samenet.plan import Entry, Plan, Role
from samenet.progress import NullProgress
from samenet.records import Disturbance, Launch, Parity, Round
from samenet.saved import Commit
from tests.support.data import make_split
from tests.support.workers import implementation

if TYPE_CHECKING:
    from pathlib import Path

NUMPY = Case(implementation("numpy"), Device("cpu"))
WORKLOAD = Workload(hidden=50, batch_size=100)


def plan(*, iterations: int = 50, **changes: Any) -> Plan:
    """Return a small plan on one CPU."""
    small = Plan(
        workload=WORKLOAD,
        dataset=Dataset(
            name="random",
            source="a generator",
            train=make_split(1000),
            validation=make_split(200),
            test=make_split(200),
        ),
        cpus=choose_cpus(1),
        iterations=iterations,
        rounds=1,
        launches=1,
    )
    return replace(small, **changes)


def header(measured: Plan, **changes: Any) -> Header:
    """Return the header of a campaign that follows ``measured``."""
    context = Context(
        protocol="iterations",
        iterations=measured.iterations,
        workload=measured.workload,
        fingerprint=measured.workload.fingerprint,
        step_flops=measured.workload.step_flops,
        data=Data(name="random", sha256="0" * 64),
        threads=len(measured.cpus),
    )
    made = Header(
        id="0" * 16,
        key="a key",
        when=datetime(2026, 1, 1, tzinfo=UTC),
        context=context,
        machine=Machine(hardware={}, fingerprint="here"),
        commit=Commit(),
        seed=measured.seed,
        rounds=measured.rounds,
        launches=measured.launches,
    )
    return replace(made, **changes)


def entries(*labels: str, role: Role = Role.CASE) -> list[Entry]:
    """Return numpy, entered once for each label."""
    python = find_interpreter(NUMPY.implementation, {}, ROOT)
    return [Entry(label=label, case=NUMPY, python=python, root=ROOT, role=role) for label in labels]


def campaign(measured: Plan, members: list[Entry], folder: Path | None = None, **options: Any) -> Campaign:
    """Return a campaign that is ready to run; its journal is in ``folder``, or nowhere."""
    journal = Journal.create(folder, header(measured))
    return Campaign(plan=measured, entries=members, journal=journal, **({"progress": NullProgress()} | options))


def timed(
    seconds: float, launch: int = 0, turn: int = 0, *, disturbance: Disturbance | None = None, **more: Any
) -> Timed:
    """Return a round of numpy that took so long on one CPU."""
    about: dict[str, Any] = {"attempt": 0, "order": turn, "cpu_seconds": seconds, "steps": 50} | more
    error = about.pop("error_percent", None)
    made = Round(
        launch=launch,
        turn=turn,
        wall_seconds=seconds,
        harness_seconds=seconds,
        disturbance=disturbance,
        **about,
    )
    return Timed(label="numpy-cpu", round=made, peak_bytes=2**20, error_percent=error)


def observed(*rounds: Timed, role: Role = Role.CASE, learned: bool = True) -> Observations:
    """Return what was observed of numpy: one launch that agrees with the reference, and ``rounds``."""
    parity = Parity(steps=10, errors={"loss": 1e-7}, tolerances={"loss": 1e-5}, verified=True)
    seen = Observations(entry=Entered(label="numpy-cpu", implementation="numpy", device="cpu", role=role))
    seen = seen.after(Joined(label="numpy-cpu", launch=Launch(launch=0, parity=parity), versions={"numpy": "2"}))
    for each in rounds:
        seen = seen.after(each)
    errors = {"train": 10.0, "validation": 11.0, "test": 12.0}
    return seen.after(Learned(label="numpy-cpu", error_rates=errors)) if learned else seen
