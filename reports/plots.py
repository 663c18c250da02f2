"""From measured cases to pictures: SVG that follows the reader's light or dark mode, a description, and its data."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reports.stats import Estimate
from reports.tables import CONTROLS, curve_numbers, history_numbers, numbers, valid_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from reports.changes import Change
    from reports.load import Case, Group

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its black and its pale yellow.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "///", r"\\", "xx")
INK = "#010203"  # stands for the page's text colour, and is replaced by it
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 11,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "samenet",  # the same data give the same file
    "text.color": INK,
    "text.parse_math": False,  # a case may have dollars in its name
    "xtick.color": INK,
    "ytick.color": INK,
}
ADAPT = (
    "<style>svg{color-scheme:light dark;color:#1b1b1b;font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){svg{color:#e8e8e8}}</style>"
)
BLOCKS = 50  # points of a loss curve
RUNS = 100  # points of a history


@dataclass(frozen=True)
class Picture:
    """One picture: ``alt`` says in words what it shows, ``term`` which definition explains it, ``data`` its numbers."""

    name: str
    title: str
    alt: str
    term: str
    svg: str
    data: pd.DataFrame


def styles(cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and dashes of each case, the same in every picture and different in black and white."""
    looks = zip(sorted({case.case for case in cases}), cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False)
    return {name: {"color": colour, "marker": marker, "linestyle": dash} for name, colour, marker, dash in looks}


def drawn(draw: Callable[..., None], *arguments: object, columns: int = 1, height: float = 3.2) -> str:
    """Let ``draw`` fill axes beside each other, and return them as SVG."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # the stub wants a literal of every key
        chart = Figure(figsize=(6.2, height))
        axes = chart.subplots(1, columns, squeeze=False)[0]
        for each in axes:
            each.grid(visible=True)
            each.set_axisbelow(True)
        draw(*axes, *arguments)
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            chart.legend(handles, labels, loc="outside lower center", ncols=3)
        target = io.StringIO()
        chart.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue().replace(INK, "currentColor").translate(CONTROLS)
    return svg[svg.index("<svg") :].replace("<defs>", ADAPT + "<defs>", 1)


def logarithmic(axes: Axes, *names: str) -> None:
    """Give the axes of these names, x or y, a logarithmic scale with plain numbers on it."""
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def speedups(cases: Sequence[Case], baseline: str) -> Picture | None:
    """Draw each case's speedup over the baseline, with its interval."""
    data = numbers(cases, baseline)
    wanted = ["case", "speedup", "speedup_low", "speedup_high"]
    if "speedup" not in data:
        return None
    data = data[wanted].dropna(subset="speedup").sort_values("speedup")

    def draw(axes: Axes) -> None:
        looks = styles(cases)
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
    svg = drawn(draw, height=1.1 + 0.34 * len(data))
    return Picture("speedup", "Speedup", alt, "speedup", svg, data)


def phases(cases: Sequence[Case], baseline: str) -> Picture | None:
    """Draw what an update costs in the first thousand, start included, broken into phases."""
    if not valid_cases(cases):
        return None
    every = numbers(cases, baseline).dropna(subset="step_seconds")
    parts = {"import": "import_seconds", "build": "build_seconds_cold", "first step": "first_step_seconds_cold"}
    count = every["iterations"].iloc[0]
    shares = {f"{name}_ms": 1000 * every[key] / count for name, key in parts.items()}
    data = pd.DataFrame({"case": every["case"]} | shares)
    data["steady steps_ms"] = 1000 * every["step_seconds"] * (count - 1) / count
    data = data.iloc[::-1]

    def draw(axes: Axes) -> None:
        left = np.zeros(len(data))
        for column, colour, hatch in zip(data.columns[1:], COLOURS, HATCHES, strict=False):
            label = column.removesuffix("_ms")
            bars = axes.barh(data["case"], data[column], left=left, label=label, color=colour, edgecolor=INK)
            for bar in bars:
                bar.set_hatch(hatch)
            left += data[column].to_numpy()
        axes.set_xlabel(f"ms a step over the first {count:,} of a cold process")

    alt = f"Time per step over the first {count:,} steps, start included: import, build, first step and the others."
    svg = drawn(draw, height=1.5 + 0.34 * len(data))
    return Picture("phases", "Time per step, by phase", alt, "steady", svg, data)


def learning(cases: Sequence[Case]) -> Picture | None:
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
        looks = styles(cases)
        for axes, column in ((left, "iterations"), (right, "seconds")):
            for shift, (name, frame) in enumerate(data.groupby("case")):
                # The curves coincide where the training does: their marks stand at different places.
                marks = (shift % 9, 9)
                axes.plot(frame[column], frame["loss_nats"], label=name, markevery=marks, **looks[str(name)])
            axes.set_xlabel(column)
        left.set_ylabel("training loss (nats)")

    alt = (
        f"Training loss of {len(learned)} cases. Against iterations the curves coincide, since it is the same training;"
        f" against seconds {learned[0].case} is the first to arrive."
    )
    return Picture("loss", "Loss against iterations and seconds", alt, "loss", drawn(draw, columns=2, height=3.6), data)


def errors(cases: Sequence[Case]) -> Picture | None:
    """Draw the validation error against iterations and against seconds."""
    data = curve_numbers(cases)
    if data.empty:
        return None

    def draw(left: Axes, right: Axes) -> None:
        looks = styles(cases)
        for axes, column in ((left, "iterations"), (right, "seconds")):
            for name, frame in data.groupby("case"):
                axes.plot(frame[column], frame["validation_error_percent"], label=name, **looks[str(name)])
            axes.set_xlabel(column)
            logarithmic(axes, "y")
        left.set_ylabel("validation error (%)")

    first, last = data["validation_error_percent"].max(), data["validation_error_percent"].min()
    alt = (
        f"Validation error of {data['case'].nunique()} cases, from {first:.0f} % down to {last:.1f} %. Against"
        f" iterations the curves coincide, since it is the same training; against seconds {data['case'].iloc[0]} is the"
        " first to arrive."
    )
    svg = drawn(draw, columns=2, height=3.6)
    return Picture("error", "Error against iterations and seconds", alt, "curve", svg, data)


def drift(cases: Sequence[Case]) -> Picture | None:
    """Draw every round in the order of measuring, as a share of its case's median."""
    rows = [
        (case.case, each.order, each.wall_seconds, 100 * each.wall_seconds / case.timed.value, each.disturbance)
        for case in valid_cases(cases)
        for each in case.rounds
    ]
    if not rows:
        return None
    data = pd.DataFrame(rows, columns=["case", "order", "wall_seconds", "percent_of_median", "disturbance"])

    def draw(axes: Axes) -> None:
        looks = styles(cases)
        for name, frame in data.groupby("case"):
            look = looks[str(name)] | {"linestyle": "none"}
            clean = frame["disturbance"] == ""
            axes.plot(frame["order"][clean], frame["percent_of_median"][clean], label=name, **look)
            hollow = look | {"markerfacecolor": "none"}
            axes.plot(frame["order"][~clean], frame["percent_of_median"][~clean], **hollow)
        axes.axhline(100, color=INK, linewidth=1)
        axes.set_xlabel("place in the campaign's random order")
        axes.set_ylabel("time (% of the case's median)")

    low, high = data["percent_of_median"].min(), data["percent_of_median"].max()
    alt = f"{len(data)} rounds in the order of measuring, between {low:.0f} and {high:.0f} % of their case's median."
    return Picture("drift", "Rounds over time", alt, "drift", drawn(draw, height=3.6), data)


def history(group: Group, changes: Sequence[Change], runs: int = RUNS) -> Picture | None:
    """Draw each case over the newest saved ``runs``, with a ring where it changed."""
    data = history_numbers(group)
    data = data[data["measured_at"].isin([part.when for part in group.parts[-runs:]])].dropna(subset="value_seconds")
    data["changed"] = False
    for change in changes:
        if change.group is group:
            data["changed"] |= (data["case"] == change.case) & (data["measured_at"] == change.first.when)
    if len(group.parts) < 2 or data.empty:
        return None

    def draw(axes: Axes) -> None:
        looks = styles([case for part in group.parts for case in part.cases])
        for name, frame in data.groupby("case"):
            low, high = frame["low_seconds"].astype(float), frame["high_seconds"].astype(float)
            look = looks[str(name)]
            axes.plot(frame["measured_at"], frame["value_seconds"], label=name, markersize=3, **look)
            axes.fill_between(frame["measured_at"], low, high, color=look["color"], alpha=0.2, linewidth=0)
            new = frame[frame["changed"]]
            ring: dict[str, Any] = {"markersize": 12, "markerfacecolor": "none", "markeredgecolor": INK, "zorder": 3}
            axes.plot(new["measured_at"], new["value_seconds"], "o", **ring)
        logarithmic(axes, "y")
        axes.set_ylabel(f"seconds for {group.conditions.iterations:,} iterations")
        axes.tick_params("x", rotation=30)

    shown, rings = min(runs, len(group.parts)), int(data["changed"].sum())
    alt = f"Seconds of {data['case'].nunique()} cases over the newest {shown} runs, with intervals; changes: {rings}."
    return Picture("history", "History", alt, "history", drawn(draw, height=4), data)


def scaling(groups: Sequence[Group]) -> list[Picture]:
    """Draw a step's time over hidden width and over batch size, from cases that differ in nothing else."""
    curves: dict[tuple[Any, ...], dict[tuple[str, int], Estimate]] = defaultdict(dict)
    about: dict[tuple[Any, ...], Case] = {}
    for group in groups:  # the newest first: its point stays
        for case in valid_cases(group.newest.cases):
            for axis in ("hidden", "batch_size"):
                size = getattr(case.workload, axis)
                rest = tuple((name, str(value)) for name, value in asdict(case.workload).items() if name != axis)
                key = (axis, group.conditions.hardware, group.conditions.threads, case.protocol, rest)
                per_step = Estimate(*(each / case.iterations for each in case.timed))
                curves[key].setdefault((case.case, size), per_step)
                about.setdefault(key, case)
    found = [(key, points) for key, points in curves.items() if len({size for _, size in points}) > 1]
    return [scaling_picture(number, key, points, about[key]) for number, (key, points) in enumerate(found, 1)]


def scaling_picture(
    number: int, key: tuple[Any, ...], points: dict[tuple[str, int], Estimate], example: Case
) -> Picture:
    """Draw one family of curves."""
    axis, hardware = key[0], key[1]
    label, other = ("hidden width", "batch_size") if axis == "hidden" else ("batch size", "hidden")
    rows = [(name, size, *estimate) for (name, size), estimate in sorted(points.items())]
    data = pd.DataFrame(rows, columns=["case", axis, "step_seconds", "step_seconds_low", "step_seconds_high"])

    def draw(axes: Axes) -> None:
        names = sorted(data["case"].unique())
        for name, colour, marker, dash in zip(names, cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False):
            frame = data[data["case"] == name]
            axes.plot(frame[axis], 1000 * frame["step_seconds"], dash, label=name, color=colour, marker=marker)
        logarithmic(axes, "x", "y")
        axes.set_xlabel(label)
        axes.set_ylabel("milliseconds a step")

    fixed = f"{other.replace('_', ' ')} {getattr(example.workload, other)}"
    alt = f"Milliseconds a step of {data['case'].nunique()} cases over {data[axis].nunique()} values of the {label}."
    title = f"Time per step against {label} ({fixed}, hardware {hardware})"
    return Picture(f"scaling-{number}", title, alt, "scaling", drawn(draw, height=4), data)
