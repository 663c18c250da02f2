"""The pictures of many runs: each case over time, and a step's time against one size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.document import Picture
from reports.frame import history_frame
from reports.numbers import utc
from reports.svg import INK, logarithmic, render_svg, styles
from samenet.speedups import valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.changes import Change
    from samenet.results import CaseResult
    from samenet.stats import Estimate
    from samenet.storage import Group

RUNS = 100  # points of a history
SIZES = {"hidden": "hidden width", "batch_size": "batch size"}


def history(group: Group, changes: Sequence[Change], runs: int = RUNS) -> Picture | None:
    """Draw each case over the newest saved ``runs``, with a ring where it changed."""
    data = history_frame(group)
    data = data[data["measured_at"].isin([utc(run.when) for run in group.slices[-runs:]])]
    data = data.dropna(subset="value_seconds").assign(changed=False)
    if len(group.slices) < 2 or data.empty:
        return None
    for change in changes:
        if change.group is group:
            data["changed"] |= (data["case"] == change.case) & (data["measured_at"] == utc(change.first.when))

    def draw(axes: Axes) -> None:
        looks = styles(case.case for run in group.slices for case in run.cases)
        ring: dict[str, Any] = {"markersize": 12, "markerfacecolor": "none", "markeredgecolor": INK, "zorder": 3}
        for name, frame in data.groupby("case"):
            low, high = frame["low_seconds"].astype(float), frame["high_seconds"].astype(float)
            look = looks[str(name)]
            axes.plot(frame["measured_at"], frame["value_seconds"], label=name, markersize=3, **look)
            axes.fill_between(frame["measured_at"], low, high, color=look["color"], alpha=0.2, linewidth=0)
            new = frame[frame["changed"]]
            axes.plot(new["measured_at"], new["value_seconds"], "o", **ring)
        logarithmic(axes, "y")
        axes.set_ylabel(f"seconds for {group.conditions.iterations:,} iterations")
        axes.set_xlabel("measured at (UTC)")
        axes.tick_params("x", rotation=30)

    shown, rings = min(runs, len(group.slices)), int(data["changed"].sum())
    alt = f"Seconds of {data['case'].nunique()} cases over the newest {shown} runs, with intervals; changes: {rings}."
    return Picture(name="history", title="History", alt=alt, term="history", svg=render_svg(draw, height=4), data=data)


def scaling(groups: Sequence[Group]) -> list[Picture]:
    """Draw a step's time over hidden width and over batch size, from cases that differ in nothing else."""
    curves: dict[tuple[Any, ...], dict[tuple[str, int], Estimate]] = defaultdict(dict)
    examples: dict[tuple[Any, ...], CaseResult] = {}
    for group in groups:  # the newest first: its point stays
        for case in valid_cases(group.newest.cases):
            for axis in SIZES:
                size = getattr(case.workload, axis)
                rest = tuple((name, str(value)) for name, value in asdict(case.workload).items() if name != axis)
                key = (axis, group.conditions.hardware, group.conditions.threads, case.protocol, rest)
                curves[key].setdefault((case.case, size), case.timed.scaled(1 / case.iterations))
                examples.setdefault(key, case)
    several = [(key, points) for key, points in curves.items() if len({size for _, size in points}) > 1]
    return [scaling_picture(number, key, points, examples[key]) for number, (key, points) in enumerate(several, 1)]


def scaling_picture(
    number: int, key: tuple[Any, ...], points: dict[tuple[str, int], Estimate], example: CaseResult
) -> Picture:
    """Draw one family of curves."""
    axis, hardware = key[0], key[1]
    (other,) = SIZES.keys() - {axis}
    rows = [(name, size, step.value, step.low, step.high) for (name, size), step in sorted(points.items())]
    data = pd.DataFrame(rows, columns=["case", axis, "step_seconds", "step_seconds_low", "step_seconds_high"])

    def draw(axes: Axes) -> None:
        looks = styles(data["case"])
        for name, frame in data.groupby("case"):
            axes.plot(frame[axis], 1000 * frame["step_seconds"], label=name, **looks[str(name)])
        logarithmic(axes, "x", "y")
        axes.set_xlabel(SIZES[axis])
        axes.set_ylabel("milliseconds per step")

    fixed = f"{other.replace('_', ' ')} {getattr(example.workload, other)}"
    alt = f"Milliseconds per step of {data['case'].nunique()} cases over {data[axis].nunique()} values of the"
    title = f"Time per step against {SIZES[axis]} ({fixed}, hardware {hardware})"
    return Picture(
        name=f"scaling-{number}",
        title=title,
        alt=f"{alt} {SIZES[axis]}.",
        term="scaling",
        svg=render_svg(draw, height=4),
        data=data,
    )
