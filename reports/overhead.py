"""What a library costs that is written on top of another one: Keras over its backends, Flax and Equinox over jax."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from impls.registry import implementations
from reports.cases import without_device
from reports.document import Column, Picture, Table, plain_rows
from reports.numbers import figure, single
from reports.svg import INK, render_svg, styles
from samenet.speedups import speedup, valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from samenet.results import CaseResult
    from samenet.stats import Estimate


class Overhead(NamedTuple):
    """A case and the one that it is written on top of; ``ratio`` is that of their times, ``extra_ms`` per step."""

    case: CaseResult
    backend: CaseResult
    ratio: Estimate
    extra_ms: float


def overheads(cases: Sequence[CaseResult]) -> list[Overhead]:
    """Return each pair of valid cases on the same device of which one is written on top of the other."""
    backends = {each.name: each.backend for each in implementations() if each.backend}
    valid = {(without_device(case), case.device): case for case in valid_cases(cases) if not case.asked_version}
    found = []
    for (name, device), case in valid.items():
        below = valid.get((backends.get(name, ""), device))
        ratio = speedup(case, below) if below else None
        if below and ratio:
            step_ms = 1000 * below.timed.value / below.iterations
            found.append(Overhead(case, below, ratio, (ratio.value - 1) * step_ms))
    return sorted(found, key=lambda each: (each.backend.case, each.ratio.value))


def frame(found: Sequence[Overhead]) -> pd.DataFrame:
    """Return one row a pair, unrounded."""
    return pd.DataFrame(
        {
            "case": [each.case.case for each in found],
            "over": [each.backend.case for each in found],
            "ratio": [each.ratio.value for each in found],
            "ratio_low": [each.ratio.low for each in found],
            "ratio_high": [each.ratio.high for each in found],
            "extra_ms": [each.extra_ms for each in found],
        }
    )


def table(cases: Sequence[CaseResult]) -> Table:
    """Return one row a library: the ratio of its time to its backend's, and the difference for a step."""
    names = Column("case", "case", rank=0), Column("written on", "case", rank=0)
    ratio, extra = (
        Column("time ratio", "overhead", numeric=True),
        Column("extra (ms per step)", "overhead", numeric=True),
    )
    columns, found = (*names, ratio, extra), overheads(cases)
    rows = [(each.case.case, each.backend.case, figure(each.ratio), single(each.extra_ms)) for each in found]
    return Table(
        name="overhead",
        title="Overhead over the backend",
        columns=columns,
        rows=plain_rows(columns, rows),
        numbers=frame(found),
    )


def picture(cases: Sequence[CaseResult]) -> Picture | None:
    """Draw the ratios with their intervals."""
    data = frame(overheads(cases))[::-1]
    if data.empty:
        return None

    def draw(axes: Axes) -> None:
        looks = styles(case.case for case in cases)
        for place, (name, _, value, low, high, _) in enumerate(data.itertuples(index=False)):
            errors = np.array([[value - low], [high - value]]).clip(0)
            look = looks[name] | {"linestyle": "none"}
            axes.errorbar(value, place, xerr=errors, capsize=4, markersize=7, **look)
        axes.set_yticks(range(len(data)), data["case"] + " over " + data["over"])
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xlabel("time ratio (95 % interval)")

    alt = f"Time of {len(data)} libraries over that of the implementation that each is written on top of."
    svg = render_svg(draw, height=1.1 + 0.34 * len(data))
    return Picture(name="overhead", title="Overhead over the backend", alt=alt, term="overhead", svg=svg, data=data)
