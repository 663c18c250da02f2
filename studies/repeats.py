"""The same campaign repeated: whether its intervals hold the truth, and how much its answers vary."""

from __future__ import annotations

from collections import defaultdict
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from samenet import stats
from samenet.records import State
from studies.laboratory import Laboratory, enter
from studies.options import BASELINE
from studies.pytest_runs import PytestRuns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studies.options import Options


def same(options: Options) -> None:
    """Enter one implementation twice: how often does the interval of the ratio hold 1.00?"""
    laboratory, ratios = Laboratory(options.settings), []
    for repeat in range(options.repeats):
        results = laboratory.measure([enter(options.case, label) for label in "ab"], options.seed + repeat)
        a, b = (results[label] for label in "ab")
        ratio = stats.paired_ratio(a.clean_seconds, b.clean_seconds)
        lost = [result for result in (a, b) if result.state is not State.VALID]
        if lost:
            print(f"{repeat + 1:3} {lost[0].state}: {lost[0].reason}", flush=True)
        elif ratio is None or not ratio.has_interval:
            print(f"{repeat + 1:3} too few pairs of undisturbed rounds", flush=True)
        else:
            ratios.append(ratio)
            print(f"{repeat + 1:3} {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})", flush=True)
    if ratios:
        held = sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
        widths = [100 * ratio.half_width for ratio in ratios]
        print(
            f"{held} of {len(ratios)} intervals hold 1.00; their half width is {np.median(widths):.2f} % in the median,"
            f" {max(widths):.2f} % at most"
        )


def spread(options: Options) -> None:
    """Measure speedups interleaved, and with the plain suite: how much does each vary from repeat to repeat?"""
    names = tuple(dict.fromkeys((BASELINE, *options.names)))
    laboratory, entries = Laboratory(options.settings), [enter(name) for name in names]
    baseline = enter(BASELINE).label
    paired: dict[str, list[float]] = defaultdict(list)
    plain: dict[str, list[float]] = defaultdict(list)
    for repeat in range(options.repeats):
        results = laboratory.measure(entries, options.seed + repeat)
        with TemporaryDirectory(prefix="samenet-study-") as folder:
            medians = PytestRuns(options, folder).plain_medians(names)
        shown = []
        for case in sorted(medians.keys() - {baseline}):
            lost = [each for each in (results[case], results[baseline]) if each.state is not State.VALID]
            ratio = stats.paired_ratio(results[baseline].clean_seconds, results[case].clean_seconds)
            if ratio and not lost:
                paired[case].append(ratio.value)
                shown.append(f"{case} {ratio.value:.4f} paired")
            else:
                shown.append(f"{case} {lost[0].state}: {lost[0].reason}" if lost else f"{case} has no pair")
            plain[case].append(medians[baseline] / medians[case])
            shown.append(f"{case} {plain[case][-1]:.4f} plain")
        print(f"{repeat + 1:3} {', '.join(shown)}", flush=True)
    for case in sorted(plain):
        print(
            f"{case}: the speedup's standard deviation is {deviation(paired[case])} paired,"
            f" {deviation(plain[case])} plain"
        )


def deviation(values: Sequence[float]) -> str:
    """Return the standard deviation of the logarithms of ``values``, in percent."""
    return f"{100 * float(np.std(np.log(values), ddof=1)):.2f} %" if len(values) > 1 else "unknown"
