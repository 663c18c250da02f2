"""From a run's record to tables: data frames of text, whose digits follow the intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.book import BOOK_ROWS
from reports.stats import Estimate, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Case = Mapping[str, Any]


def clean_seconds(case: Case) -> dict[tuple[int, int], float]:
    """Return the wall seconds of the undisturbed rounds, keyed by (launch, turn)."""
    return {(each["launch"], each["turn"]): each["wall_seconds"] for each in case["rounds"] if not each["disturbance"]}


def digits(estimate: Estimate) -> int:
    """Return how many decimals ``estimate`` deserves: its interval's half width has one digit, or two from 10 to 19."""
    half = (estimate.high - estimate.low) / 2
    if not half > 0:  # no interval, or one of no width: three digits of the value
        return max(0, 2 - math.floor(math.log10(abs(estimate.value)))) if estimate.value else 0
    exponent = math.floor(math.log10(half))
    return max(0, -exponent + int(half < 2 * 10.0**exponent))


def figure(estimate: Estimate | None, suffix: str = "") -> str:
    """Return the estimate with its interval, such as ``9.83 (9.71 to 9.95)``; without an interval it says so."""
    if estimate is None:
        return ""
    places = digits(estimate)
    if not math.isfinite(estimate.low):
        return f"{estimate.value:.{places}f}{suffix} (one round)"
    return f"{estimate.value:.{places}f}{suffix} ({estimate.low:.{places}f} to {estimate.high:.{places}f})"


def median_of(case: Case, phase: str) -> float:
    """Return the median over launches of one phase's seconds."""
    return float(pd.Series([launch[phase] for launch in case["launches"]]).median())


def comparison(cases: Sequence[Case], baseline: str) -> pd.DataFrame:
    """Return one row a case: the book's on top, then those with a number from fast to slow, then the others.

    ``cases`` are the records of one campaign; speedups are paired ratios over ``baseline``, the label of one of them. A
    case that is not valid has its state in place of figures; ``reasons`` says why.
    """
    iterations = cases[0]["iterations"]
    time, speedup, errors = f"{iterations:,} iterations (s)", f"speedup over {baseline}", "error train/val/test (%)"
    rows = [
        {"case": row.case, time: f"{row.seconds:.0f}*", errors: f"{row.train_error_percent:.0f}", "state": row.protocol}
        for row in BOOK_ROWS
    ]
    valid = sorted((case for case in cases if case["state"] == "valid"), key=lambda case: case["seconds"]["value"])
    base = next((clean_seconds(case) for case in valid if case["case"] == baseline), {})
    rows += [
        {
            "case": case["case"],
            time: figure(Estimate.read(case["seconds"])),
            "of bound (%)": f"{100 * case['efficiency']['value']:.0f}" if case["efficiency"] else "",
            speedup: "1" if case["case"] == baseline else figure(paired_ratio(base, clean_seconds(case))),
            errors: " ".join(f"{case['error_rates'][name]:.2f}" for name in ("train", "validation", "test")),
            "state": case["state"],
        }
        for case in valid
    ]
    rows += [{"case": case["case"], "state": case["state"]} for case in without_number(cases)]
    return pd.DataFrame(rows, columns=["case", time, speedup, "of bound (%)", errors, "state"]).fillna("")


def phases(cases: Sequence[Case]) -> pd.DataFrame:
    """Return what each case needs before its first full round: medians over launches, compile caches cold at first."""
    rows = [
        {
            "case": case["case"],
            "import (s)": f"{median_of(case, 'import_seconds'):.2f}",
            "build, cold (s)": f"{case['launches'][0]['build_seconds']:.2f}",
            "first step, cold (s)": f"{case['launches'][0]['first_step_seconds']:.3f}",
            "peak memory (MiB)": f"{case['peak_bytes'] / 2**20:.0f}",
        }
        for case in cases
        if case["state"] == "valid"
    ]
    return pd.DataFrame(rows)


def noise_sentence(floor: Mapping[str, Any]) -> str:
    """Say what the A/A pair means for the reader: the smallest difference that the run could have seen."""
    ratio = Estimate.read(floor["ratio"]) if floor["ratio"] else None
    if ratio is None or math.isnan(ratio.low):
        return f"Noise floor: not known; {floor['case']} and its twin have no two pairs of valid rounds."
    smallest = max(abs(ratio.low - 1), abs(ratio.high - 1))
    return (
        f"Noise floor: {floor['case']} measured against itself gives {figure(ratio)};"
        f" this run cannot tell differences below {100 * smallest:.1f} %."
    )


def without_number(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that have not earned a figure."""
    return [case for case in cases if case["state"] != "valid"]


def reasons(cases: Sequence[Case]) -> list[str]:
    """Say of each case without a figure why it has none."""
    return [f"{case['case']} is {case['state']}: {case['reason']}" for case in without_number(cases)]


def as_text(frame: pd.DataFrame) -> str:
    """Return ``frame`` as aligned plain text; it is as wide as it needs to be, since a wrapped figure misleads."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in frame.columns:
        table.add_column(Text(column), no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*map(Text, row))
    console = Console(width=1000, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
