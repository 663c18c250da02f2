"""The picture of one framework over its releases: the steady step, the start of a process and its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.cases import start_seconds
from reports.document import Picture
from reports.svg import render_svg, styles
from samenet.records import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from samenet.results import CaseResult

AXES = ("step (ms)", "start to first step (s)", "memory (MiB)")
FEWEST = 3  # releases that make a line


def releases(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw each lane over the versions of a package, in the order in which they were asked for."""
    rows = [
        {
            "lane": f"{case.implementation}-{case.device}",
            "version": case.asked_version.version,
            "package": case.asked_version.package,
            "step_ms": 1000 * case.timed.value / case.iterations,
            "step_ms_low": 1000 * case.timed.low / case.iterations,
            "step_ms_high": 1000 * case.timed.high / case.iterations,
            "start_seconds": start_seconds(case),
            "peak_mebibytes": case.peak_bytes / 2**20 if case.peak_bytes else None,
        }
        for case in cases
        if case.asked_version and case.state is State.VALID
    ]
    data = pd.DataFrame(rows)
    if data.empty or data["version"].nunique() < FEWEST:
        return None
    order = list(dict.fromkeys(data["version"]))

    def draw(step: Axes, start: Axes, memory: Axes) -> None:
        looks = styles(data["lane"])
        for name, frame in data.groupby("lane", sort=False):
            places, look = frame["version"].map(order.index), looks[str(name)]
            errors = np.array([frame["step_ms"] - frame["step_ms_low"], frame["step_ms_high"] - frame["step_ms"]])
            step.errorbar(places, frame["step_ms"], yerr=np.nan_to_num(errors).clip(0), capsize=3, label=name, **look)
            start.plot(places, frame["start_seconds"].astype(float), **look)
            memory.plot(places, frame["peak_mebibytes"].astype(float), **look)
        for axes, label in zip((step, start, memory), AXES, strict=True):
            axes.set_xticks(range(len(order)), order, rotation=60, fontsize=9)
            axes.set_title(label, fontsize=10)
        for axes in (start, memory):
            axes.set_ylim(bottom=0)

    package, first, last = data["package"].iloc[0], order[0], order[-1]
    alt = (
        f"Steady step, time from a cold start to the end of the first step, and memory of {package} {first} to {last}."
    )
    svg = render_svg(draw, columns=3, height=3.4)
    return Picture(name="releases", title=f"Releases of {package}", alt=alt, term="releases", svg=svg, data=data)
