"""Draws SVG that follows the reader's light or dark mode, in colours and marks that differ in black and white too."""

from __future__ import annotations

import io
import math
import warnings
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reports.numbers import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matplotlib.axes import Axes

# Okabe and Ito's palette, which colour-blind readers can distinguish, without its black and its pale yellow.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "///", r"\\", "xx")
LEGEND_CHARACTERS = 54  # that fit into a line of a legend, besides its marks
LEGEND_LINES = 4  # for which a picture has room; one with more lines is higher
LINE_INCHES = 0.23  # of a legend
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
    "timezone": "UTC",
    "xtick.color": INK,
    "ytick.color": INK,
}
ADAPT = (
    "<style>svg{color-scheme:light dark;color:#1b1b1b;font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){svg{color:#e8e8e8}}</style>"
)


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and dashes of each case: the same in all pictures of the same cases."""
    looks = zip(sorted(set(names)), cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False)
    return {name: {"color": colour, "marker": marker, "linestyle": dash} for name, colour, marker, dash in looks}


def render_svg(draw: Callable[..., None], *, columns: int = 1, rows: int = 1, height: float = 3.2) -> str:
    """Let ``draw`` fill so many axes, row by row, and return them as SVG; ``height`` is in inches."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]  # the stub wants a literal
        # Text stays text: whatever alphabet a name is in, it is shown in the reader's fonts and not in matplotlib's.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        chart = Figure(figsize=(6.2, height))
        axes = chart.subplots(rows, columns, squeeze=False).ravel()
        for each in axes:
            each.grid(visible=True)
            each.set_axisbelow(True)
        draw(*axes)
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            ncols = max(1, min(3, LEGEND_CHARACTERS // max(map(len, labels))))
            surplus = math.ceil(len(labels) / ncols) - LEGEND_LINES
            chart.set_figheight(height + LINE_INCHES * max(0, surplus))
            chart.legend(handles, labels, loc="outside lower center", ncols=ncols)
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
