"""Tables of cases, whose digits follow the intervals, with the numbers behind them."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from impls.workload import Workload
from reports.book import BOOK_ROWS, FOOTNOTE
from reports.cases import (
    accelerators,
    error_rates,
    row_name,
    start_seconds,
    startup,
    versions,
    without_device,
    without_number,
)
from reports.document import Column, Role, Row, Table, plain_rows
from reports.frame import case_frame, curve_frame
from reports.numbers import UNKNOWN, figure, mebibytes, single
from reports.sentences import blas_notes, bound_sentence, drift_sentence, gpu_notes, reasons, versions_sentence
from samenet.records import State
from samenet.speedups import speedup as speedup_over
from samenet.speedups import valid_cases
from samenet.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from typing import Any

    from samenet.results import CaseResult

CASE = Column("case", "case", rank=0)
VERSIONS = Column("versions", "versions", rank=6)
BOUND = Column("of bound (%)", "efficiency", numeric=True, rank=2)
PEAK = Column("of peak (%)", "peak", numeric=True, rank=4)
RATE = Column("GFLOP/s", "rate", numeric=True, rank=4)
ENERGY = Column("energy (J)", "energy", numeric=True, rank=4)
ERRORS = Column("error train/val/test (%)", "error", numeric=True, rank=3)
BUILD = Column("build, cold (s)", "build", numeric=True, rank=3)
FIRST = Column("first step, cold (s)", "first-step", numeric=True, rank=2)
MEMORY = Column("peak memory (MiB)", "memory", numeric=True, rank=5)
DISK = Column("disk (MB)", "disk", numeric=True, rank=5)
STATE = Column("state", "state", rank=4)
CPU, GPU = Column("CPU (s)", "time", numeric=True, rank=0), Column("GPU (s)", "time", numeric=True, rank=0)
IN_PHASES = [column.name for column in (BUILD, FIRST, MEMORY)]  # columns that the table of phases has too
CURVE_COLUMNS = 10


def comparison(
    cases: Sequence[CaseResult], baseline: str, bound: CaseResult | None = None, peak: CaseResult | None = None
) -> Table:
    """Return one row a case: the book's first, then those with a number from fast to slow, then the others."""
    time = Column(f"{cases[0].iterations:,} iterations (s)", "time", numeric=True, rank=0)
    speedup = Column(f"speedup over {baseline}", "speedup", numeric=True, rank=0)
    columns = [CASE, time, speedup, BOUND, PEAK, RATE, ENERGY, ERRORS, state_column(cases)]
    columns += [BUILD, FIRST, MEMORY, VERSIONS]
    if not any(case.joules for case in cases):
        columns.remove(ENERGY)
    if not (peak and peak.state is State.VALID):
        columns.remove(PEAK)
    book = [
        {CASE.name: row.case, time.name: f"{row.seconds:.0f}*", ERRORS.name: f"{row.train_error_percent:.0f}"}
        | {STATE.name: row.protocol}
        for row in BOOK_ROWS
    ]
    data = case_frame(cases, baseline)
    figures = {row["case"]: row for row in data.to_dict("records")}
    rows = [Row(cells, pinned=True) for cells in book]
    for case in valid_cases(cases):
        over = "1" if case.case == baseline else estimated(figures[case.case], "speedup")
        cells = {time.name: figure(case.timed), speedup.name: over, PEAK.name: share_of(peak, case)}
        rows.append(Row(result_cells(case, figures[case.case]) | cells))
    rows += [Row(described(case), marked=True) for case in without_number(cases)]
    of_bound = filter(None, (bound_sentence(bound, peak), drift_sentence(bound))) if bound else ()
    lost = (f"The peak is not known: {peak.reason}.",) if peak and peak.reason else ()
    notes = (FOOTNOTE, *of_bound, *lost, *blas_notes(cases), *gpu_notes(cases), *reasons(cases))
    instead = {VERSIONS.name: versions_sentence(cases), STATE.name: ()}  # a row without a number shows its state anyway
    return Table(
        name="comparison",
        title="Comparison",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=notes,
        numbers=data,
        role=Role.MAIN,
        instead=instead,
    )


def share_of(limit: CaseResult | None, case: CaseResult) -> str:
    """Return the percentage of a limit's speed that a case reaches on the same device; an empty text without one."""
    share = speedup_over(limit, case) if limit and limit.device == case.device else None
    return figure(share.scaled(100)) if share else ""


def state_column(cases: Sequence[CaseResult]) -> Column:
    """Return the column of states, which are more important where not every case is valid."""
    return replace(STATE, rank=1) if without_number(cases) else STATE


def described(case: CaseResult) -> dict[str, str]:
    """Return the cells that a case has with or without a number."""
    return {CASE.name: case.case, VERSIONS.name: versions(case), STATE.name: str(case.state)}


def estimated(row: Mapping[Hashable, Any], name: str) -> str:
    """Return an estimate that a frame holds in three columns; an empty text where it has none."""
    if pd.isna(row[name]):
        return ""
    return figure(Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]))


def result_cells(case: CaseResult, row: Mapping[Hashable, Any]) -> dict[str, str]:
    """Return the cells of a valid case but for its time and its speedup."""
    start = startup(case)
    return described(case) | {
        BOUND.name: figure(case.efficiency.scaled(100)) if case.efficiency else "",
        RATE.name: f"{row['gflop_per_second']:.0f}",
        ENERGY.name: single(case.joules) or UNKNOWN,
        ERRORS.name: error_rates(case),
        BUILD.name: single(start.get("build_seconds_cold")) or UNKNOWN,
        FIRST.name: single(start.get("first_step_seconds_cold")) or UNKNOWN,
        MEMORY.name: mebibytes(case.peak_bytes),
    }


def gpu(cases: Sequence[CaseResult]) -> Table:
    """Return CPU against GPU, one row an implementation, and the book's 8.7."""
    speedup_column = Column("GPU speedup", "gpu-speedup", numeric=True)
    transfer_column = Column("data to GPU (s)", "transfer", numeric=True)
    columns = (Column("implementation", "case"), CPU, GPU, speedup_column, transfer_column)
    cpu_seconds, gpu_seconds = (row.seconds for row in BOOK_ROWS)
    book = ("book, Theano", f"{cpu_seconds:.0f}*", f"{gpu_seconds:.0f}*", f"{cpu_seconds / gpu_seconds:.1f}", "")
    rows, data = [], []
    valid = {(without_device(case), case.device): case for case in valid_cases(cases)}
    for name in dict.fromkeys(name for name, _ in valid):
        on_cpu = valid.get((name, "cpu"))
        for device in accelerators([case for (other, _), case in valid.items() if other == name]) or ["cuda"]:
            on_gpu = valid.get((name, device))
            times = [figure(case.timed) if case else "" for case in (on_cpu, on_gpu)]
            times_faster = speedup_over(on_cpu, on_gpu) if on_cpu and on_gpu else None
            transfer = transfer_seconds(on_gpu) if on_gpu else None
            label = row_name(on_gpu) if on_gpu else name
            rows.append((label, *times, figure(times_faster), single(transfer)))
            if times_faster:
                about = {"implementation": name, "device": device, "transfer_seconds": transfer}
                data.append(about | {"value": times_faster.value, "low": times_faster.low, "high": times_faster.high})
    measured = accelerators(list(valid.values()))
    notes = (FOOTNOTE,) + (() if measured else ("No case of this run was measured on a GPU.",))
    pinned = Row(dict(zip((column.name for column in columns), book, strict=True)), pinned=True)
    return Table(
        name="gpu",
        title="CPU against GPU",
        columns=columns,
        rows=(pinned, *plain_rows(columns, rows)),
        notes=notes,
        numbers=pd.DataFrame(data),
    )


def transfer_seconds(case: CaseResult) -> float | None:
    """Return what it takes to put the training set on the case's GPU: the median of its launches, if one knows."""
    seconds = [launch.transfer_seconds for launch in case.launches if launch.transfer_seconds]
    return median(seconds) if seconds else None


def break_even(start: float, step: float, base_start: float, base_step: float) -> str:
    """Return from or until how many steps a case is ahead of the baseline; all in seconds, steps per step."""
    if step == base_step or (start > base_start) == (step > base_step):
        return "never" if start > base_start else "from 0"
    steps = abs((start - base_start) / (base_step - step))
    rounded = round(steps, 1 - math.floor(math.log10(steps))) if steps >= 1 else 1  # two digits; a startup has no more
    return f"{'from' if step < base_step else 'until'} {rounded:,.0f}"


def phases(cases: Sequence[CaseResult], baseline: str) -> Table:
    """Return what each valid case needs before its first full round, and when that has paid off."""
    phase_columns = {
        "import_seconds": Column("start, import (s)", "import", numeric=True, rank=3),
        "build_seconds_cold": BUILD,
        "build_seconds_warm": Column("build, warm (s)", "build", numeric=True, rank=5),
        "first_step_seconds_cold": FIRST,
        "first_step_seconds_warm": Column("first step, warm (s)", "first-step", numeric=True, rank=5),
    }
    steady = Column("steady step (ms)", "steady", numeric=True, rank=0)
    ahead = Column(f"ahead of {baseline} (steps)", "break-even", numeric=True)
    base = {case.case: case for case in valid_cases(cases)}.get(baseline)
    rows = []
    for case in valid_cases(cases):
        seconds = startup(case)
        cells = {CASE.name: case.case, MEMORY.name: mebibytes(case.peak_bytes)}
        cells |= {DISK.name: f"{case.environment_bytes / 1e6:.0f}" if case.environment_bytes else UNKNOWN}
        cells |= {steady.name: figure(case.timed.scaled(1000 / case.iterations)), ahead.name: paid_off(case, base)}
        rows.append(Row(cells | {column.name: single(seconds.get(key)) for key, column in phase_columns.items()}))
    columns = (CASE, *phase_columns.values(), steady, ahead, MEMORY, DISK)
    return Table(name="phases", title="Phases and break-even", columns=columns, rows=tuple(rows))


def paid_off(case: CaseResult, base: CaseResult | None) -> str:
    """Return from or until how many steps a case is ahead of the baseline ``base``."""
    if base is None or case is base:
        return "baseline" if base else ""
    start, base_start = start_seconds(case), start_seconds(base)
    if start is None or base_start is None:
        return UNKNOWN
    steps = case.timed.value / case.iterations, base.timed.value / base.iterations
    return break_even(start, steps[0], base_start, steps[1])


def errors(cases: Sequence[CaseResult]) -> Table:
    """Return the validation error after so many updates, and when each case had done them."""
    data = curve_frame(cases)
    every = data["iterations"].unique()
    shown = every[np.linspace(0, len(every) - 1, min(len(every), CURVE_COLUMNS)).astype(int)]
    columns = tuple(Column(f"after {updates:,} (%)", "curve", numeric=True) for updates in shown)
    rows: dict[str, dict[str, str]] = {}
    for name, updates, seconds, error in data[data["iterations"].isin(shown)].itertuples(index=False):
        cell = f"{error:.2f} ({single(seconds)} s)"
        rows.setdefault(name, {CASE.name: name})[f"after {updates:,} (%)"] = cell
    title = "Validation error along the way"
    return Table(name="error", title=title, columns=(CASE, *columns), rows=tuple(map(Row, rows.values())), numbers=data)


def pool(case: CaseResult, interface: str) -> str:
    """Return the thread pools of one kind that the case's process had loaded."""
    return ", ".join(
        f"{each.get('internal_api', UNKNOWN)} {each.get('version') or ''}".rstrip()
        + f", {each.get('num_threads', UNKNOWN)} threads"
        for each in case.thread_pools
        if each.get("user_api") == interface
    )


def threads_working(case: CaseResult) -> str:
    """Return how many threads were seen to share the case's work, such as ``2`` or, in different launches, ``2-3``."""
    seen = [launch.threads_working for launch in case.launches if launch.threads_working is not None]
    return "-".join(map(str, sorted({min(seen), max(seen)}))) if seen else UNKNOWN


def manifest(cases: Sequence[CaseResult]) -> Table:
    """Return what differs between the cases in a way that a reader must know."""
    keys = dict.fromkeys(key for case in cases for key in case.manifest)
    names = ("BLAS loaded", "thread runtime loaded", "threads working", *keys)
    columns = (CASE, *(Column(name, "manifest") for name in names))
    rows = [
        (
            case.case,
            pool(case, "blas"),
            pool(case, "openmp"),
            threads_working(case),
            *(case.manifest.get(key) or UNKNOWN for key in keys),
        )
        for case in cases
    ]
    notes = () if keys else ("This run was saved without a manifest: only what its processes had loaded is known.",)
    return Table(
        name="manifest", title="Fairness manifest", columns=columns, rows=plain_rows(columns, rows), notes=notes
    )


def scaling(cases: Sequence[CaseResult]) -> Table:
    """Return the milliseconds of a step, one row a case and one column a size."""
    base = Workload()
    sizes: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for case in cases:
        workload = case.workload
        name = f"hidden={workload.hidden}" if workload.hidden != base.hidden else f"batch_size={workload.batch_size}"
        columns.setdefault(name)
        step = f"{1e3 * case.timed.value / case.iterations:.3g}" if case.state is State.VALID else str(case.state)
        sizes.setdefault(case.case, {CASE.name: case.case})[name] = step
    rows = tuple(Row(cells) for cells in sizes.values())
    heads = (CASE, *(Column(name, "steady", numeric=True) for name in columns))
    return Table(
        name="scaling", title="Milliseconds of a step", columns=heads, rows=rows, role=Role.MAIN, is_split=True
    )
