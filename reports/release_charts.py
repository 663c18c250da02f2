"""The picture of one framework over its releases: its step, what comes before the first one, memory and disk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from reports.cases import startup
from reports.document import Picture
from reports.svg import render_svg, styles
from samenet.gates import typical
from samenet.records import Quantity, State
from samenet.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from samenet.results import CaseResult

COLUMNS = 3
FEWEST = 3  # releases that make a line
STARTS = (Quantity.IMPORT, Quantity.FIRST_STEP)


def quantities(case: CaseResult, *, once: bool) -> dict[str, Estimate | None]:
    """Return what the picture shows of a valid case, by the title of its axes.

    ``once``: no case has starts of several launches, so that the one cold start stands for them, without an interval.
    """
    imported, first = (typical(quantity, case) for quantity in STARTS)
    if once:
        start = startup(case)
        build = start.get("build_seconds_cold", math.nan) + start.get("first_step_seconds_cold", math.nan)
        imported, first = single(start.get("import_seconds", math.nan)), single(build)
    memory = typical(Quantity.MEMORY, case)
    return {
        "step (ms)": case.timed.scaled(1000 / case.iterations),
        "to first step (s)": first,
        "start, import (s)": imported,
        "own memory (MiB)": memory.scaled(2**-20) if memory else None,
        "disk (MB)": single((case.environment_bytes or math.nan) / 1e6),
    }


def single(value: float) -> Estimate | None:
    """Return a figure that was seen once, None for one that is unknown or impossible."""
    return Estimate(value) if 0 < value < math.inf else None


def releases(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw each lane over the versions of a package, in the order in which they were asked for."""
    known = [(case, case.asked_version) for case in cases if case.asked_version and case.state is State.VALID]
    order = list(dict.fromkeys(asked.version for _, asked in known))
    if len(order) < FEWEST:
        return None
    once = not any(typical(quantity, case) for case, _ in known for quantity in STARTS)
    figures = [
        {"lane": f"{case.implementation}-{case.device}", "version": asked.version, "quantity": name}
        | {"value": each.value, "low": each.low, "high": each.high}
        for case, asked in known
        for name, each in quantities(case, once=once).items()
        if each
    ]
    data = pd.DataFrame(figures)
    titles = list(dict.fromkeys(data["quantity"]))
    looks = styles(data["lane"])

    def draw(*every: Axes) -> None:
        for axes, title in zip(every, titles, strict=False):
            for name, frame in data[data["quantity"] == title].groupby("lane", sort=False):
                places, errors = frame["version"].map(order.index), [frame["value"] - frame["low"]]
                errors.append(frame["high"] - frame["value"])  # NaN, which draws nothing, without an interval
                axes.errorbar(places, frame["value"], yerr=errors, capsize=3, label=name, **looks[str(name)])
            axes.set_xticks(range(len(order)), order, rotation=60, fontsize=9)
            axes.set_title(title, fontsize=10)
            if axes is not every[0]:  # small changes of the step are looked for
                axes.set_ylim(0, 1.1 * data.loc[data["quantity"] == title, ["value", "high"]].max().max())
        for axes in every[len(titles) :]:
            axes.set_visible(False)

    package = known[0][1].package
    listed = ", ".join(title.rpartition(" (")[0] for title in titles)
    alt = f"{package} {order[0]} to {order[-1]}: {listed}."
    lines = math.ceil(len(titles) / COLUMNS)
    svg = render_svg(draw, columns=COLUMNS, rows=lines, height=2.7 * lines)
    return Picture(name="releases", title=f"Releases of {package}", alt=alt, term="releases", svg=svg, data=data)
