"""From measured cases to tables of text, whose digits follow the intervals, with the numbers behind them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.records import State
from reports.book import BOOK_ROWS, FOOTNOTE
from reports.stats import Estimate, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.load import Case, Group, NoiseFloor, Part, Rejected

BASELINES = ("theano-cpu", "numpy-cpu")  # the book's framework, or else what everybody has
SPLITS = ("train", "validation", "test")
BUILD, FIRST, MEMORY = "build, cold (s)", "first step, cold (s)", "peak memory (MiB)"
BOUND, RATE, ERRORS, STATE = "of bound (%)", "GFLOP/s", "error train/val/test (%)", "state"
ENERGY = "energy (J)"
DETAIL = ["versions", BUILD, FIRST, MEMORY]  # what a terminal's narrow table leaves to others
HISTORY_ROWS = 20
CURVE_COLUMNS = 10
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], " ")  # XML has no way to write them


@dataclass(frozen=True)
class Table:
    """A table of text: ``terms`` says which definition explains a column, ``pinned`` how many rows stay on top.

    ``numbers`` holds the same facts unrounded, for other programs.
    """

    name: str
    title: str
    frame: pd.DataFrame
    terms: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pinned: int = 0
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)


def digits(estimate: Estimate) -> int:
    """Return how many decimals ``estimate`` deserves: its interval's half width has one digit, or two from 10 to 19.

    Five significant digits are the most: no clock here knows more, however narrow the interval of a few rounds is.
    """
    half = (estimate.high - estimate.low) / 2
    if not 0 < half < math.inf:  # no interval, or one of no width: three digits of the value
        return significant(estimate.value, 3)
    exponent = math.floor(math.log10(half))
    return min(max(0, -exponent + int(half < 2 * 10.0**exponent)), significant(estimate.value, 5))


def significant(value: float, count: int) -> int:
    """Return how many decimals show ``count`` significant digits of ``value``."""
    return max(0, count - 1 - math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0


def figure(estimate: Estimate | None, suffix: str = "") -> str:
    """Return the estimate with its interval, such as ``9.83 (9.71 to 9.95)``; without an interval it says so."""
    if estimate is None:
        return ""
    places = digits(estimate)
    if not math.isfinite(estimate.low):
        return f"{estimate.value:.{places}f}{suffix} (no interval)"
    return f"{estimate.value:.{places}f}{suffix} ({estimate.low:.{places}f} to {estimate.high:.{places}f})"


def single(value: float | None) -> str:
    """Return something that was measured once, with two significant digits."""
    return "" if value is None else f"{value:.{significant(value, 2)}f}"


def scaled(estimate: Estimate | None, factor: float) -> Estimate | None:
    """Return the estimate in another unit."""
    return estimate and Estimate(*(factor * each for each in estimate))


def ratio(slower: Case, faster: Case) -> Estimate | None:
    """Return how many times faster the second case is, from the pairs of their rounds."""
    return paired_ratio(slower.clean_seconds, faster.clean_seconds)


def valid_cases(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with a figure, the fastest first."""
    return sorted((case for case in cases if case.state is State.VALID), key=lambda case: case.timed.value)


def without_number(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that have not earned a figure."""
    return [case for case in cases if case.state is not State.VALID]


def choose_baseline(cases: Sequence[Case], wanted: str | None = None) -> str:
    """Return the case that speedups are over: the wanted one, or else Theano, numpy or the slowest, if valid."""
    names = [case.case for case in reversed(valid_cases(cases))]
    preferred = [name for name in (wanted, *BASELINES) if name in names]
    return str((preferred or names or [wanted or BASELINES[0]])[0])


def numbers(cases: Sequence[Case], baseline: str) -> pd.DataFrame:
    """Return one row a case with every figure unrounded: nothing stands in a case's row that it has not earned."""
    valid = valid_cases(cases)
    base = {case.case: case for case in valid}.get(baseline)
    rows = []
    for case in [*valid, *without_number(cases)]:
        row: dict[str, Any] = {"case": case.case, "implementation": case.implementation, "device": case.device}
        row |= {"state": str(case.state), "reason": case.reason, "versions": versions(case)}
        row |= {"iterations": case.iterations}
        if case.state is State.VALID:
            # Over itself there is nothing to estimate.
            speedup = base and (Estimate(1.0, 1.0, 1.0) if case is base else ratio(base, case))
            for name, each in (("seconds", case.timed), ("speedup", speedup), ("efficiency", case.efficiency)):
                if each:
                    row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            row |= {f"{split}_error_percent": case.error_rates.get(split) for split in SPLITS}
            row |= {"gflop_per_second": case.step_flops * case.iterations / case.timed.value / 1e9}
            row |= {"joules": case.joules}
            row |= startup(case) | {"step_seconds": case.timed.value / case.iterations, "peak_bytes": case.peak_bytes}
        rows.append(row)
    return pd.DataFrame(rows)


def startup(case: Case) -> dict[str, float]:
    """Return the seconds before the first full round: of the first launch, and the medians of the later ones."""
    start, imported, build, first_step = case.launches[0].phases
    found = {"import_seconds": start + imported, "build_seconds_cold": build, "first_step_seconds_cold": first_step}
    later = [each.phases[2:] for each in case.launches[1:] if each.phases]
    if later:
        found["build_seconds_warm"], found["first_step_seconds_warm"] = map(median, zip(*later, strict=True))
    return found


def versions(case: Case) -> str:
    """Return what the case was measured with, on one line."""
    return ", ".join(f"{name} {version}" for name, version in case.versions.items())


def comparison(cases: Sequence[Case], baseline: str) -> Table:
    """Return one row a case: the book's on top, then those with a number from fast to slow, then the others."""
    time, speedup = f"{cases[0].iterations:,} iterations (s)", f"speedup over {baseline}"
    data = numbers(cases, baseline)
    speedups = {row["case"]: row for row in data.to_dict("records")}
    rows: list[dict[str, Any]] = [
        {"case": row.case, time: f"{row.seconds:.0f}*", ERRORS: f"{row.train_error_percent:.0f}", STATE: row.protocol}
        for row in BOOK_ROWS
    ]
    for case in valid_cases(cases):
        row = speedups[case.case]
        over = Estimate(*(row.get(key, math.nan) for key in ("speedup", "speedup_low", "speedup_high")))
        rows.append(
            {
                "case": case.case,
                "versions": versions(case),
                time: figure(case.timed),
                speedup: "1" if case.case == baseline else "" if math.isnan(over.value) else figure(over),
                BOUND: figure(scaled(case.efficiency, 100)),
                RATE: f"{row['gflop_per_second']:.0f}",
                ENERGY: single(case.joules),
                ERRORS: " ".join(f"{case.error_rates[name]:.2f}" for name in SPLITS if name in case.error_rates),
                BUILD: single(row["build_seconds_cold"]),
                FIRST: single(row["first_step_seconds_cold"]),
                MEMORY: f"{case.peak_bytes / 2**20:.0f}",
                STATE: str(case.state),
            }
        )
    rows += [{"case": case.case, "versions": versions(case), STATE: str(case.state)} for case in without_number(cases)]
    terms = {"case": "case", "versions": "versions", time: "time", speedup: "speedup", BOUND: "efficiency"}
    terms |= {
        RATE: "rate",
        ENERGY: "energy",
        ERRORS: "error",
        BUILD: "build",
        FIRST: "first-step",
        MEMORY: "memory",
        STATE: "state",
    }
    if not any(case.joules for case in cases):
        del terms[ENERGY]
    frame = pd.DataFrame(rows, columns=list(terms)).fillna("")
    return Table("comparison", "Comparison", frame, terms, (FOOTNOTE, *reasons(cases)), len(BOOK_ROWS), data)


def gpu(cases: Sequence[Case]) -> Table:
    """Return CPU against GPU, one row an implementation, beside the book's 8.7."""
    book_cpu, book_gpu = BOOK_ROWS
    terms = {"implementation": "case", "CPU (s)": "time", "GPU (s)": "time", "GPU speedup": "gpu-speedup"}
    terms |= {"data to GPU (s)": "transfer"}
    book = (f"{book_cpu.seconds:.0f}*", f"{book_gpu.seconds:.0f}*", f"{book_cpu.seconds / book_gpu.seconds:.1f}", "")
    rows: list[tuple[str, ...]] = [("book, Theano", *book)]
    data = []
    valid = {(case.implementation, case.device): case for case in valid_cases(cases)}
    for name in dict.fromkeys(name for name, _ in valid):
        on_cpu = valid.get((name, "cpu"))
        for device in [device for other, device in valid if other == name and device != "cpu"] or ["cuda"]:
            on_gpu = valid.get((name, device))
            times = [figure(case.timed) if case else "not measured" for case in (on_cpu, on_gpu)]
            speedup = ratio(on_cpu, on_gpu) if on_cpu and on_gpu else None
            told = [each.transfer_seconds for each in on_gpu.launches if each.transfer_seconds] if on_gpu else []
            transfer = median(told) if told else None
            label = name if device == "cuda" else f"{name} on {device}"
            rows.append((label, *times, figure(speedup), single(transfer)))
            if speedup:
                about = {"implementation": name, "device": device, "transfer_seconds": transfer}
                data.append(about | speedup._asdict())
    measured = any(device != "cpu" for _, device in valid)
    notes = (FOOTNOTE,) + (() if measured else ("There is no GPU row: no case of this run has run on a GPU.",))
    frame = pd.DataFrame(rows, columns=list(terms))
    return Table("gpu", "CPU against GPU", frame, terms, notes, 1, pd.DataFrame(data))


def break_even(start: float, step: float, base_start: float, base_step: float) -> str:
    """Return from or until how many steps a case is ahead of the baseline; all in seconds, steps per step."""
    if step == base_step or (start > base_start) == (step > base_step):
        return "never" if start > base_start else "from 0"
    steps = abs((start - base_start) / (base_step - step))
    rounded = round(steps, 1 - math.floor(math.log10(steps))) if steps >= 1 else 1  # two digits; a startup has no more
    return f"{'from' if step < base_step else 'until'} {rounded:,.0f}"


def phases(cases: Sequence[Case], baseline: str) -> Table:
    """Return what each valid case needs before its first full round, and when that has paid off."""
    terms = {
        "case": "case",
        "start, import (s)": "import",
        BUILD: "build",
        "build, warm (s)": "build",
        FIRST: "first-step",
    }
    terms |= {"first step, warm (s)": "first-step", "steady step (ms)": "steady"}
    terms |= {f"ahead of {baseline} (steps)": "break-even", MEMORY: "memory"}
    begin = {case.case: sum(case.launches[0].phases) for case in valid_cases(cases)}
    step = {case.case: case.timed.value / case.iterations for case in valid_cases(cases)}
    rows = []
    for case in valid_cases(cases):
        name, found = case.case, startup(case)
        ahead = break_even(begin[name], step[name], begin[baseline], step[baseline]) if name != baseline else "baseline"
        steady = figure(scaled(case.timed, 1000 / case.iterations))
        memory = f"{case.peak_bytes / 2**20:.0f}"
        keys = ("import_seconds", *(f"{a}_seconds_{b}" for a in ("build", "first_step") for b in ("cold", "warm")))
        rows.append((name, *(single(found.get(key)) for key in keys), steady, ahead, memory))
    return Table("phases", "Phases and break-even", pd.DataFrame(rows, columns=list(terms)), terms)


def curve_numbers(cases: Sequence[Case]) -> pd.DataFrame:
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


def errors(cases: Sequence[Case]) -> Table:
    """Return the validation error after so many updates, and when each case had done them."""
    data = curve_numbers(cases)
    every = data["iterations"].unique()
    shown = every[np.linspace(0, len(every) - 1, min(len(every), CURVE_COLUMNS)).astype(int)]
    rows: dict[str, dict[str, str]] = {}
    for row in data[data["iterations"].isin(shown)].to_dict("records"):
        name, cell = row["case"], f"{row['validation_error_percent']:.2f} ({single(row['seconds'])} s)"
        rows.setdefault(name, {"case": name})[f"after {row['iterations']:,} (%)"] = cell
    frame = pd.DataFrame(list(rows.values()), columns=None if rows else ["case"]).fillna("")
    terms = dict.fromkeys(frame.columns, "curve") | {"case": "case"}
    return Table("error", "Validation error along the way", frame, terms, numbers=data)


def pool(case: Case, interface: str) -> str:
    """Return the thread pools of one kind that the case's process had loaded."""
    return ", ".join(
        f"{each.get('internal_api')} {each.get('version') or ''}".rstrip() + f", {each.get('num_threads')} threads"
        for each in case.thread_pools
        if each.get("user_api") == interface
    )


def manifest(cases: Sequence[Case]) -> Table:
    """Return what differs between the cases in a way that a reader must know."""
    keys = dict.fromkeys(key for case in cases for key in case.manifest)
    rows: list[dict[str, str]] = []
    for case in cases:
        found = {"case": case.case, "BLAS found": pool(case, "blas"), "thread runtime found": pool(case, "openmp")}
        rows.append(found | {key: case.manifest.get(key, "not told") for key in keys})
    notes = () if keys else ("This run was saved without a manifest: only what its processes had loaded is known.",)
    frame = pd.DataFrame(rows)
    return Table("manifest", "Fairness manifest", frame, dict.fromkeys(rows[0], "manifest") | {"case": "case"}, notes)


def circumstances(part: Part) -> Table:
    """Return the machine, the data and the workload."""
    case, machine, plan = part.cases[0], part.machine, part.plan
    facts: dict[str, Any] = {f"hardware: {name}": value for name, value in machine.hardware.items() if value != []}
    facts |= {"hardware fingerprint": machine.fingerprint, "threads": case.threads, "system": machine.system}
    facts |= {"virtual machine": machine.virtualised, "governor": machine.governor}
    facts |= {"load average before": f"{machine.load_average:.1f}"}
    facts |= {f"environment: {name}": value for name, value in machine.environment.items()}
    facts |= {"data": f"{case.data.name}, sha256 {case.data.sha256}", "workload fingerprint": case.fingerprint}
    facts |= {f"workload: {name}": value for name, value in asdict(case.workload).items() if name != "data"}
    facts |= {"protocol": case.protocol, "launches": plan.launches, "rounds a launch": plan.rounds}
    facts |= {"measured in (s)": f"{plan.wall_seconds:.0f}", "interrupted": plan.interrupted, "saved as": part.path}
    if part.noise_floor:
        facts |= {"noise floor": noise_sentence(part.noise_floor)}
    facts |= {"commit": part.commit.label, "measured at": f"{part.when:%Y-%m-%d %H:%M %Z}"}
    frame = pd.DataFrame([(name, str(value)) for name, value in facts.items()], columns=["what", "value"])
    return Table("machine", "Machine and data", frame, {"what": "machine", "value": "machine"})


def history(group: Group) -> Table:
    """Return each run's figures, the newest first."""
    names = sorted({case.case for part in group.parts for case in part.cases})
    rows = []
    for part in reversed(group.parts[-HISTORY_ROWS:]):
        found = {case.case: figure(case.seconds) or str(case.state) for case in part.cases}
        when = {"measured at": f"{part.when:%Y-%m-%d %H:%M}", "commit": part.commit.label}
        rows.append(when | {f"{name} (s)": found.get(name, "") for name in names})
    frame, total = pd.DataFrame(rows), len(group.parts)
    notes = (f"The newest {HISTORY_ROWS} of {total:,} runs; the CSV has them all.",) if total > HISTORY_ROWS else ()
    return Table("history", "History", frame, dict.fromkeys(rows[0], "history"), notes, 0, history_numbers(group))


def history_numbers(group: Group) -> pd.DataFrame:
    """Return one row a run and case, unrounded, oldest first."""
    rows = [
        {
            "measured_at": part.when,
            "commit": part.commit.id,
            "dirty": part.commit.dirty,
            "file": str(part.path),
            "case": case.case,
            "state": str(case.state),
            **((case.seconds or Estimate(math.nan, math.nan, math.nan))._asdict()),
        }
        for part in group.parts
        for case in part.cases
    ]
    return pd.DataFrame(rows).rename(columns={name: f"{name}_seconds" for name in Estimate._fields})


def groups(found: Sequence[Group]) -> Table:
    """Return the groups of runs, and what keeps each apart from the first."""
    rows = [
        {
            "group": str(number),
            "runs": f"{len(group.parts):,}",
            "newest": f"{group.newest.when:%Y-%m-%d %H:%M}",
            "hardware": f"{group.newest.machine.hardware.get('cpu', '')} ({group.conditions.hardware})",
            "threads": str(group.conditions.threads),
            "data": f"{group.newest.cases[0].data.name} ({group.conditions.data[:12]})",
            "workload": group.conditions.workload,
            "precision": group.conditions.precision,
            "protocol": f"{group.conditions.protocol}, {group.conditions.iterations:,} iterations",
            "apart from group 1 by": group.conditions.differences(found[0].conditions),
        }
        for number, group in enumerate(found, 1)
    ]
    frame = pd.DataFrame(rows)
    return Table("groups", "What may be compared", frame, dict.fromkeys(rows[0], "conditions"))


def rejected(files: Sequence[Rejected]) -> Table:
    """Return the files that could not be used."""
    frame = pd.DataFrame([(str(each.path), each.reason) for each in files], columns=["file", "why it is left out"])
    return Table("left-out", "Files left out", frame)


def noise_sentence(floor: NoiseFloor) -> str:
    """Say what the A/A pair means for the reader: the smallest difference that the run could have seen."""
    if floor.ratio is None or math.isnan(floor.ratio.low):
        return f"Noise floor: not known; {floor.case} and its twin have too few pairs of valid rounds."
    smallest = max(abs(floor.ratio.low - 1), abs(floor.ratio.high - 1))
    return (
        f"Noise floor: {floor.case} measured against itself gives {figure(floor.ratio)};"
        f" this run cannot tell differences below {100 * smallest:.1f} %."
    )


def reasons(cases: Sequence[Case]) -> list[str]:
    """Say of each case without a figure why it has none; those with one reason in one sentence."""
    found: dict[str, list[str]] = {}
    for case in without_number(cases):
        found.setdefault(f"{case.state}: {case.reason}", []).append(case.case)
    return [f"{', '.join(names)} {'are' if names[1:] else 'is'} {reason}" for reason, names in found.items()]


def verdict(cases: Sequence[Case], baseline: str) -> str:
    """Return the answer in one sentence: who is fastest on the CPU and on the GPU, and by how much."""
    valid = valid_cases(cases)
    on_cpu, on_gpu = ([case for case in valid if (case.device == "cpu") is cpu] for cpu in (True, False))
    if not valid:
        return "No case of this run has earned a figure."
    sentences = []
    if on_cpu:
        best, others = on_cpu[0], [case for case in on_cpu[1:] if case.case == baseline] or on_cpu[1:2]
        sentences = [faster(best, others[0], "on this CPU") if others else f"{best.case} is alone on this CPU"]
    if on_gpu:
        best = on_gpu[0]
        sentences.append(faster(best, on_cpu[0], "on this GPU") if on_cpu else f"{best.case} leads on the GPU")
    else:
        sentences.append("no GPU was measured")
    return "; ".join(sentences) + "."


def faster(case: Case, other: Case, where: str) -> str:
    """Say how much faster ``case`` trains than ``other``, if that can be told."""
    estimate = ratio(other, case)
    if estimate is None or math.isnan(estimate.low):
        return f"{case.case} and {other.case} have too few pairs of valid rounds to be told apart {where}"
    if not estimate.low > 1:
        return f"{case.case} and {other.case} cannot be told apart {where}: {figure(estimate, '×')}"
    return f"{case.case} trains this network {figure(estimate, '×')} faster than {other.case} {where}"


def as_rich(table: Table, *, drop: Sequence[str] = ()) -> RichTable:
    """Return the table for a terminal, without the columns to ``drop``.

    It is as wide as it needs to be, since a wrapped figure misleads.
    """
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    frame = table.frame.drop(columns=list(drop), errors="ignore")
    for place, column in enumerate(frame.columns):
        shown.add_column(Text(column), no_wrap=True, style="" if place else "bold")
    for number, row in enumerate(frame.itertuples(index=False)):
        sound = STATE not in frame or frame[STATE].iloc[number] == State.VALID
        shown.add_row(*map(Text, row), style="dim" if number < table.pinned else "" if sound else "red")
    return shown


def as_text(table: Table, *, drop: Sequence[str] = ()) -> str:
    """Return the table as aligned plain text, without the columns to ``drop``."""
    console = Console(width=1000, color_system=None)
    with console.capture() as captured:
        console.print(as_rich(table, drop=drop))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
