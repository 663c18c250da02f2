"""Results as pandas frames, unrounded: what notebooks, CSV files and pictures are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.cases import SPLITS, startup, versions, without_number
from reports.numbers import utc
from samenet.records import State
from samenet.speedups import choose_baseline, speedup, valid_cases
from samenet.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.results import CaseResult, Results
    from samenet.storage import Group

ESTIMATES = ("seconds", "speedup", "efficiency")
COLUMNS = (
    *("case", "implementation", "device", "state", "reason", "versions", "iterations", "fingerprint"),
    *(f"{name}{end}" for name in ESTIMATES for end in ("", "_low", "_high")),
    *(f"{split}_error_percent" for split in SPLITS),
    *("gflop_per_second", "joules", "import_seconds", "build_seconds_cold", "first_step_seconds_cold"),
    *("build_seconds_warm", "first_step_seconds_warm", "step_seconds", "peak_bytes"),
)


def to_frame(results: Results) -> pd.DataFrame:
    """Return one row a case, the fastest first, with every figure unrounded.

    Speedups are over numpy-cpu where it is valid, or else over theano-cpu or the slowest case. ``efficiency`` is the
    share of the matrix bound, ``*_low`` and ``*_high`` are the ends of 95 % intervals; a case without a number has its
    state and reason only.
    """
    workloads: dict[str, list[CaseResult]] = {}
    for case in results.cases:
        workloads.setdefault(case.fingerprint, []).append(case)
    rows = [row for cases in workloads.values() for row in case_rows(cases, choose_baseline(cases))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def case_frame(cases: Sequence[CaseResult], baseline: str) -> pd.DataFrame:
    """Return one row a case of one workload, with speedups over ``baseline``."""
    return pd.DataFrame(case_rows(cases, baseline), columns=list(COLUMNS))


def case_rows(cases: Sequence[CaseResult], baseline: str) -> list[dict[str, Any]]:
    """Return the rows of a frame, the fastest case first: the row of a case without a number has no figure."""
    valid = valid_cases(cases)
    base = {case.case: case for case in valid}.get(baseline)
    rows = []
    for case in [*valid, *without_number(cases)]:
        row: dict[str, Any] = {"case": case.case, "implementation": case.implementation, "device": case.device}
        row |= {"state": str(case.state), "reason": case.reason, "versions": versions(case)}
        row |= {"iterations": case.iterations, "fingerprint": case.fingerprint}
        rows.append(row | figures(case, base) if case.state is State.VALID else row)
    return rows


def figures(case: CaseResult, base: CaseResult | None) -> dict[str, Any]:
    """Return the figures of a valid case, with its speedup over ``base``."""
    # Over itself there is nothing to estimate.
    over_base = Estimate(1.0, 1.0, 1.0) if case is base else speedup(base, case) if base else None
    row: dict[str, Any] = {}
    for name, estimate in zip(ESTIMATES, (case.timed, over_base, case.efficiency), strict=True):
        if estimate:
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    row |= {f"{split}_error_percent": case.error_rates.get(split) for split in SPLITS}
    row |= {"gflop_per_second": case.step_flops * case.iterations / case.timed.value / 1e9, "joules": case.joules}
    return row | startup(case) | {"step_seconds": case.timed.value / case.iterations, "peak_bytes": case.peak_bytes}


def curve_frame(cases: Sequence[CaseResult]) -> pd.DataFrame:
    """Return the validation error of each valid case along the way; where no clock ran, seconds are the steps' own."""
    rows = [
        (
            case.case,
            point.updates,
            point.updates * case.timed.value / case.iterations if point.seconds is None else point.seconds,
            point.error_percent,
        )
        for case in valid_cases(cases)
        for point in case.curve
    ]
    return pd.DataFrame(rows, columns=["case", "iterations", "seconds", "validation_error_percent"])


def history_frame(group: Group) -> pd.DataFrame:
    """Return one row a run and case, oldest first."""
    rows = []
    for run in group.slices:
        about = {"measured_at": utc(run.when), "commit": run.commit.id, "dirty": run.commit.dirty}
        about |= {"file": str(run.path)}
        for case in run.cases:
            seconds = case.seconds
            ends = (seconds.value, seconds.low, seconds.high) if seconds else (math.nan,) * 3
            names = ("value_seconds", "low_seconds", "high_seconds")
            rows.append(about | {"case": case.case, "state": str(case.state)} | dict(zip(names, ends, strict=True)))
    return pd.DataFrame(rows)
