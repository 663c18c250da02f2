"""Saved runs made up from the harness's own records: ``python -m tests.saved_runs FOLDER COUNT`` writes many."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import SCHEMA, CaseRecord, CurvePoint, Launch, Round, State
from impls.workload import Workload

LAUNCHES = 5
START = datetime(2026, 1, 1, tzinfo=UTC)


def record(
    name: str = "numpy", typical: float = 2.0, *, device: str = "cpu", workload: Workload | None = None, **more: Any
) -> dict[str, Any]:
    """Return a valid case's record as the harness saves it, with noise of 1 %; ``more`` replaces its fields."""
    workload = replace(workload or Workload(), data="d" * 64)
    rng = np.random.default_rng(list(name.encode()))
    walls = typical * rng.normal(1, 0.01, LAUNCHES)
    case = CaseRecord(
        f"{name}-{device}",
        name,
        device,
        launches=[Launch(each, 0.1, 0.3, 0.02, 0.05, None) for each in range(LAUNCHES)],
        rounds=[
            Round(each, 0, 0, each, float(wall), 2 * float(wall), float(wall), 0.0, 0.0, 0.0, 2400.0, "")
            for each, wall in enumerate(walls)
        ],
        versions={"python": "3.11.7", name: "1.0"},
        thread_pools=[{"user_api": "blas", "internal_api": "openblas", "num_threads": 2, "version": "0.3"}],
        peak_bytes=2**28,
        error_rates={"train": 13.35, "validation": 12.03, "test": 12.33},
        losses=list(2.3 * np.exp(-np.arange(1000) / 700)),
        curve=[CurvePoint(updates, None, 12 + 78 * math.exp(-updates / 200)) for updates in (0, 83, 166, 249, 1000)],
    )
    middle = float(np.median(walls))
    about = {
        "protocol": "iterations",
        "iterations": 1000,
        "workload": asdict(workload),
        "fingerprint": workload.fingerprint,
        "step_flops": workload.step_flops,
        "data": {"name": "MNIST", "source": "here", "sha256": workload.data},
        "threads": 2,
        "seconds": {"value": middle, "low": 0.99 * middle, "high": 1.01 * middle},
        "efficiency": {"value": 0.5, "low": 0.49, "high": 0.52},
    }
    return case.as_dict() | about | more


def training(name: str = "numpy", seconds: float = 600.0, *, epochs: int = 1000, **more: Any) -> dict[str, Any]:
    """Return the record of a training in epochs, in the book's settings; ``more`` replaces its fields."""
    updates = 83 * epochs
    described = more.pop("workload", Workload(init="book"))
    about = {"epochs": epochs, "target_error_percent": 2.7, "target_seconds": 0.99 * seconds, "resumed": 1}
    own: dict[str, Any] = {
        "protocol": "epochs",
        "iterations": updates,
        "training": about | {"weights_sha256": "0" * 64},
        "seconds": {"value": seconds, "low": None, "high": None},
        "error_rates": {"train": 2.0, "validation": 2.7, "test": 2.99},
        "curve": [
            {"updates": updates // 2, "seconds": seconds / 2, "error_percent": 4.0},
            {"updates": updates, "seconds": seconds, "error_percent": 2.7},
        ],
    }
    return record(name, workload=described, **(own | more))


def failed(name: str, reason: str = "it crashed", **more: Any) -> dict[str, Any]:
    """Return the record of a case that has not earned its number."""
    return record(name, state=str(State.FAILED), reason=reason, **more) | {"seconds": None, "efficiency": None}


def run(*cases: dict[str, Any], hours: float = 0, cpu: str = "Synthetic", commit: str = "c0ffee" * 6) -> dict[str, Any]:
    """Return a run of ``cases`` as pytest-benchmark saves it, so many hours after the first."""
    valid = [case for case in cases if case["state"] == "valid"]
    return {
        "machine_info": {"node": "made up"},
        "commit_info": {"id": commit, "branch": "main", "dirty": False},
        "benchmarks": [{"name": f"test_iterations[{case['case']}]", "extra_info": case} for case in valid],
        "datetime": (START + timedelta(hours=hours)).isoformat(),
        "version": "5.3.1",
        "samenet": {
            "schema": SCHEMA,
            "machine": {
                "hardware": {"cpu": cpu, "architecture": "x86_64", "cpus_used": 2},
                "fingerprint": f"{cpu:.12}",
                "system": "Linux",
                "governor": "performance",
                "virtualised": False,
                "load_average": 0.1,
                "environment": {},
            },
            "campaign": {"rounds": 1, "launches": LAUNCHES, "seed": 0, "interrupted": False, "wall_seconds": 90.0},
            "noise_floor": {"case": "numpy-cpu", "ratio": {"value": 1.001, "low": 0.99, "high": 1.02}},
            "cases_without_number": [case for case in cases if case["state"] != "valid"],
        },
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
        cases = [record(f"case{each}", (2 + each) * rng.normal(1, 0.03)) for each in range(10)]
        save(folder, f"{number:04}_run", run(*cases, hours=number, commit=f"{number:040x}"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
