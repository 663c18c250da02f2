"""Saved runs made up from the types that are saved: ``python -m tests.support.saved_runs FOLDER COUNT`` writes many."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from impls.workload import Workload
from samenet.context import Data, Machine
from samenet.records import CurvePoint, Launch, Round, State
from samenet.results import CampaignRecord, CaseResult, NoiseFloor, Results, Training
from samenet.stats import Estimate
from samenet.storage import as_builtins

LAUNCHES = 5
START = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>|$x$\\input{y}_%&"  # a name that could break out of each format


def case_result(
    name: str = "numpy", typical: float = 2.0, *, device: str = "cpu", workload: Workload | None = None
) -> CaseResult:
    """Return a valid case whose rounds take ``typical`` seconds, with noise of 1 %."""
    workload = replace(workload or Workload(), data="d" * 64)
    walls = typical * np.random.default_rng(list(name.encode())).normal(1, 0.01, LAUNCHES)
    middle = float(np.median(walls))
    return CaseResult(
        case=f"{name}-{device}",
        implementation=name,
        device=device,
        state=State.VALID,
        protocol="iterations",
        iterations=1000,
        workload=workload,
        fingerprint=workload.fingerprint,
        step_flops=workload.step_flops,
        data=Data(name="MNIST", source="here", sha256=workload.data),
        threads=2,
        seconds=Estimate(middle, 0.99 * middle, 1.01 * middle),
        efficiency=Estimate(0.5, 0.49, 0.52),
        launches=tuple(
            Launch(launch=launch, start_seconds=0.1, import_seconds=0.3, build_seconds=0.02, first_step_seconds=0.05)
            for launch in range(LAUNCHES)
        ),
        rounds=tuple(timed_round(launch, float(wall)) for launch, wall in enumerate(walls)),
        versions={"python": "3.11.7", name: "1.0"},
        thread_pools=({"user_api": "blas", "internal_api": "openblas", "num_threads": 2, "version": "0.3"},),
        peak_bytes=2**28,
        error_rates={"train": 13.35, "validation": 12.03, "test": 12.33},
        losses=tuple((2.3 * np.exp(-np.arange(1000) / 700)).tolist()),
        curve=tuple(
            CurvePoint(updates=updates, error_percent=12 + 78 * math.exp(-updates / 200))
            for updates in (0, 83, 166, 249, 1000)
        ),
    )


def timed_round(launch: int, wall: float) -> Round:
    """Return the only round of a launch, ``wall`` seconds on two CPUs."""
    return Round(
        launch=launch,
        turn=0,
        order=launch,
        wall_seconds=wall,
        cpu_seconds=2 * wall,
        harness_seconds=wall,
        waiting_seconds=0.0,
        others_seconds=0.0,
        steal_seconds=0.0,
        megahertz=2400.0,
    )


def record(
    name: str = "numpy", typical: float = 2.0, *, device: str = "cpu", workload: Workload | None = None, **more: Any
) -> dict[str, Any]:
    """Return a valid case as it is saved; ``more`` replaces its fields, whether or not they make sense."""
    saved: dict[str, Any] = as_builtins(case_result(name, typical, device=device, workload=workload))
    return saved | more


def training_result(
    name: str = "numpy",
    seconds: float = 600.0,
    *,
    epochs: int = 1000,
    device: str = "cpu",
    workload: Workload | None = None,
    **fields: Any,
) -> CaseResult:
    """Return a training in epochs, in the book's settings; ``fields`` replace its own."""
    updates = 83 * epochs
    own: dict[str, Any] = {
        "protocol": "epochs",
        "iterations": updates,
        "training": Training(
            epochs=epochs,
            target_error_percent=2.7,
            target_seconds=0.99 * seconds,
            weights_sha256="0" * 64,
            resumed=1,
        ),
        "seconds": Estimate(seconds),
        "error_rates": {"train": 2.0, "validation": 2.7, "test": 2.99},
        "curve": (
            CurvePoint(updates=updates // 2, seconds=seconds / 2, error_percent=4.0),
            CurvePoint(updates=updates, seconds=seconds, error_percent=2.7),
        ),
    }
    return replace(case_result(name, device=device, workload=workload or Workload(init="book")), **own | fields)


def training(name: str = "numpy", seconds: float = 600.0, **fields: Any) -> dict[str, Any]:
    """Return a training in epochs as it is saved; ``fields`` replace its own."""
    saved: dict[str, Any] = as_builtins(training_result(name, seconds, **fields))
    return saved


def failed(name: str, reason: str = "it crashed", **more: Any) -> dict[str, Any]:
    """Return a case that has not earned its number as it is saved."""
    return record(name, state=str(State.FAILED), reason=reason, **more) | {"seconds": None, "efficiency": None}


def results(cpu: str = "Synthetic", cases: tuple[CaseResult, ...] = ()) -> Results:
    """Return a campaign on a machine with this processor."""
    machine = Machine(
        hardware={"cpu": cpu, "architecture": "x86_64", "cpus_used": 2},
        fingerprint=f"{cpu:.12}",
        system="Linux",
        governor="performance",
        load_average=0.1,
    )
    plan = CampaignRecord(rounds=1, launches=LAUNCHES, seed=0, wall_seconds=90.0)
    floor = NoiseFloor(case="numpy-cpu", ratio=Estimate(1.001, 0.99, 1.02))
    return Results(machine=machine, campaign=plan, cases=cases, noise_floor=floor)


def run(
    *cases: dict[str, Any],
    hours: float = 0,
    cpu: str = "Synthetic",
    commit: str = "c0ffee" * 6,
    machine: dict[str, Any] | None = None,
    campaign: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a run of ``cases`` as pytest-benchmark saves it, so many hours after the first.

    ``machine`` and ``campaign`` replace fields of the records with these names.
    """
    section: dict[str, Any] = as_builtins(results(cpu))
    section["machine"] |= machine or {}
    section["campaign"] |= campaign or {}
    del section["cases"]
    valid = [case for case in cases if case["state"] == "valid"]
    return {
        "machine_info": {"node": "made up"},
        "commit_info": {"id": commit, "branch": "main", "dirty": False},
        "benchmarks": [{"name": f"test_iterations[{case['case']}]", "extra_info": case} for case in valid],
        "datetime": (START + timedelta(hours=hours)).isoformat(),
        "version": "5.3.1",
        "samenet": section | {"cases_without_number": [case for case in cases if case["state"] != "valid"]},
    }


def save(folder: Path, name: str, content: object) -> Path:
    """Write ``content`` as pytest-benchmark would."""
    path = folder / "Linux-CPython-3.11-64bit" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4))
    return path


def main(folder: Path, count: int) -> None:
    """Write ``count`` runs of ten cases, whose speed differs from run to run."""
    rng = np.random.default_rng(0)
    for number in range(count):
        cases = [record(f"case{place}", (2 + place) * rng.normal(1, 0.03)) for place in range(10)]
        save(folder, f"{number:04}_run", run(*cases, hours=number, commit=f"{number:040x}"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
