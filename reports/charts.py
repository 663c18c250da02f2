"""The pictures of a run: what each shows in words, its axes, and its data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.document import Picture
from reports.frame import case_frame, curve_frame
from reports.svg import COLOURS, HATCHES, INK, logarithmic, render_svg, styles
from samenet.speedups import choose_baseline, valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from samenet.results import CaseResult, Results

BLOCKS = 50  # points of a loss curve


def draw_speedups(results: Results) -> Picture:
    """Return the speedups of results of one workload, as a picture that a notebook displays; ``svg`` is its text.

    Raises:
        ValueError: no case is valid.
    """
    picture = speedups(results.cases, choose_baseline(results.cases))
    if picture is None:
        raise ValueError("no case of these results is valid; see the reason of each case")
    return picture


def speedups(cases: Sequence[CaseResult], baseline: str) -> Picture | None:
    """Draw each case's speedup over the baseline, with its interval."""
    data = case_frame(cases, baseline)[["case", "speedup", "speedup_low", "speedup_high"]]
    data = data.dropna(subset="speedup").sort_values("speedup")
    if data.empty:
        return None

    def draw(axes: Axes) -> None:
        looks = styles(case.case for case in cases)
        for place, (name, value, low, high) in enumerate(data.itertuples(index=False)):
            errors = np.nan_to_num(np.array([[value - low], [high - value]])).clip(0)
            look = looks[name] | {"linestyle": "none"}
            axes.errorbar(value, place, xerr=errors, capsize=4, markersize=7, **look)
        axes.set_yticks(range(len(data)), data["case"])
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xlabel(f"speedup over {baseline} (95 % interval)")

    best = data.iloc[-1]
    leader = f"{best['case']} leads with {best['speedup']:.2g}"
    alt = f"Speedup over {baseline} of {len(data)} cases, from slow to fast; {leader}."
    svg = render_svg(draw, height=1.1 + 0.34 * len(data))
    return Picture(name="speedup", title="Speedup", alt=alt, term="speedup", svg=svg, data=data)


def phases(cases: Sequence[CaseResult], baseline: str) -> Picture | None:
    """Draw the time per step of the first round of a cold process, its start included, by phase."""
    every = case_frame(cases, baseline)
    parts = {"import": "import_seconds", "build": "build_seconds_cold", "first step": "first_step_seconds_cold"}
    every = every.dropna(subset=["step_seconds", *parts.values()])
    if every.empty:
        return None
    count = int(every["iterations"].iloc[0])
    shares = {f"{name}_ms": 1000 * every[key].astype(float) / count for name, key in parts.items()}
    data = pd.DataFrame({"case": every["case"]} | shares)
    data["steady steps_ms"] = 1000 * every["step_seconds"].astype(float) * (count - 1) / count
    data = data.iloc[::-1]

    def draw(axes: Axes) -> None:
        left = np.zeros(len(data))
        for column, colour, hatch in zip(data.columns[1:], COLOURS, HATCHES, strict=False):
            label = column.removesuffix("_ms")
            bars = axes.barh(data["case"], data[column], left=left, label=label, color=colour, edgecolor=INK)
            for bar in bars:
                bar.set_hatch(hatch)
            left += data[column].to_numpy()
        axes.set_xlabel(f"ms per step over the first {count:,} of a cold process")

    alt = f"Time per step over the first {count:,} steps, start included: import, build, first step and the others."
    svg = render_svg(draw, height=1.5 + 0.34 * len(data))
    return Picture(name="phases", title="Time per step, by phase", alt=alt, term="steady", svg=svg, data=data)


def learning(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw the training loss against iterations and against seconds."""
    learned = [case for case in valid_cases(cases) if case.losses]
    if not learned:
        return None
    frames = []
    for case in learned:
        blocks = np.array_split(np.array(case.losses), min(BLOCKS, len(case.losses)))
        done = np.cumsum([len(block) for block in blocks])
        loss = np.array([block.mean() for block in blocks])
        seconds = done * case.timed.value / case.iterations
        frames.append(pd.DataFrame({"case": case.case, "iterations": done, "seconds": seconds, "loss_nats": loss}))
    data = pd.concat(frames, ignore_index=True)

    def draw(left: Axes, right: Axes) -> None:
        looks = styles(case.case for case in cases)
        for axes, column in ((left, "iterations"), (right, "seconds")):
            for shift, (name, frame) in enumerate(data.groupby("case")):
                # The curves coincide where the training does: their marks are at different places.
                marks = (shift % 9, 9)
                axes.plot(frame[column], frame["loss_nats"], label=name, markevery=marks, **looks[str(name)])
            axes.set_xlabel(column)
        left.set_ylabel("training loss (nats)")

    alt = (
        f"Training loss of {len(learned)} cases. Against iterations the curves coincide, since it is the same training;"
        f" against seconds {learned[0].case} arrives first."
    )
    svg = render_svg(draw, columns=2, height=3.6)
    return Picture(name="loss", title="Loss against iterations and seconds", alt=alt, term="loss", svg=svg, data=data)


def errors(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw the validation error against iterations and against seconds."""
    data = curve_frame(cases)
    if data.empty:
        return None

    def draw(left: Axes, right: Axes) -> None:
        looks = styles(case.case for case in cases)
        for axes, column in ((left, "iterations"), (right, "seconds")):
            for name, frame in data.groupby("case"):
                axes.plot(frame[column], frame["validation_error_percent"], label=name, **looks[str(name)])
            axes.set_xlabel(column)
            logarithmic(axes, "y")
        left.set_ylabel("validation error (%)")

    first, last = data["validation_error_percent"].max(), data["validation_error_percent"].min()
    alt = (
        f"Validation error of {data['case'].nunique()} cases, from {first:.0f} % down to {last:.1f} %. Against"
        f" iterations the curves coincide, since it is the same training; against seconds {data['case'].iloc[0]}"
        " arrives first."
    )
    svg = render_svg(draw, columns=2, height=3.6)
    return Picture(
        name="error", title="Error against iterations and seconds", alt=alt, term="curve", svg=svg, data=data
    )


def chapter_errors(runs: Sequence[Sequence[CaseResult]]) -> list[Picture]:
    """Draw the validation error of each network that was trained in epochs."""
    pictures = ((cases, errors(cases)) for cases in runs)
    return [
        replace(picture, name=f"error-{number}", title=f"{cases[0].workload.network}: {picture.title}")
        for number, (cases, picture) in enumerate(pictures, 1)
        if picture
    ]


def drift(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw every block in the order of measuring, as a share of its case's typical time."""
    rows = [
        (case.case, timed.order, seconds, 100 * seconds / case.timed.value, detail)
        for case in valid_cases(cases)
        for timed in case.rounds
        for seconds in [timed.round_seconds(case.iterations)]
        for detail in [timed.disturbance.detail if timed.disturbance else ""]
    ]
    if not rows:
        return None
    data = pd.DataFrame(rows, columns=["case", "order", "round_seconds", "percent_of_median", "disturbance"])

    def draw(axes: Axes) -> None:
        looks = styles(case.case for case in cases)
        for name, frame in data.groupby("case"):
            look = looks[str(name)] | {"linestyle": "none"}
            clean = frame["disturbance"] == ""
            axes.plot(frame["order"][clean], frame["percent_of_median"][clean], label=name, **look)
            hollow = look | {"markerfacecolor": "none"}
            axes.plot(frame["order"][~clean], frame["percent_of_median"][~clean], **hollow)
        axes.axhline(100, color=INK, linewidth=1)
        axes.set_xlabel("place in the campaign's random order")
        axes.set_ylabel("time (% of the case's time)")

    low, high = data["percent_of_median"].min(), data["percent_of_median"].max()
    alt = f"{len(data)} blocks in the order of measuring, between {low:.0f} and {high:.0f} % of their case's time."
    return Picture(
        name="drift", title="Blocks over time", alt=alt, term="drift", svg=render_svg(draw, height=3.6), data=data
    )
