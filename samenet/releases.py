"""One case over the releases of a package: its step, large and small, what comes before the first one, and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from samenet.data import load
from samenet.gates import typical
from samenet.machine.lock import only_campaign
from samenet.measurement import Measurement
from samenet.records import Quantity, State
from samenet.results import Outcome
from samenet.versions import other_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from samenet.progress import Progress
    from samenet.protocols import Settings
    from samenet.results import CaseResult, Results, Verdict
    from samenet.stats import Estimate

SMALL = "batch_size=32,hidden=100"  # where the products take little time, and the framework's own work dominates
HEADER = ("", "step", "small step", "to first step", "start, import", "own memory", "disk (MB)")
UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True)
class ReleaseTable:
    """Two campaigns with the same ``versions``: a ``large`` step, with every start cold, and a ``small`` one."""

    versions: tuple[str, ...]
    large: Results
    small: Results

    @property
    def pairs(self) -> list[tuple[CaseResult, CaseResult]]:
        """The case with each version in both campaigns, in the order of the versions."""
        found = [{version_of(case): case for case in each.cases} for each in (self.large, self.small)]
        return [(found[0][version], found[1][version]) for version in self.versions]

    @property
    def has_ratio(self) -> bool:
        """Whether anything could be compared."""
        judged = [(large.verdict, *large.other_verdicts, small.verdict) for large, small in self.pairs]
        return any(as_ratio(verdict) != UNKNOWN for verdicts in judged for verdict in verdicts)

    def lines(self) -> Iterator[str]:
        """Yield the table: of the reference version the figures, of the others their ratios to these, and all reasons.

        A ratio is there if it has an interval and the work was the same.
        """
        table = [HEADER, *(_row(*pair) for pair in self.pairs)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        reference = next((large for large, _ in self.pairs if not large.verdict), None)
        for large, small in self.pairs:
            asked = large.asked_version
            if reference and asked and large.versions:  # a skipped one has none
                others = other_differences(asked.package, large.versions, reference.versions)
                yield from [f"{asked.version} has {others}"] if others else []
            yield from dict.fromkeys((*_reasons(large), *_reasons(small, "small step ")))


def version_of(case: CaseResult) -> str:
    """Return the version that a case was asked to have."""
    return case.asked_version.version if case.asked_version else ""


def _reasons(case: CaseResult, which: str = "") -> Iterator[str]:
    """Yield why a case has no number, or no ratio that is earned."""
    if case.state is State.SKIPPED:  # in both campaigns
        yield f"{version_of(case)} is skipped: {case.reason}"
    elif case.state is not State.VALID:
        yield f"{version_of(case)} {which}is {case.state}: {case.reason}"
    elif case.verdict and case.verdict.word is Outcome.UNVERIFIED:
        yield f"{version_of(case)} {which}is {case.verdict.word}: {case.verdict.reason}"


def _row(large: CaseResult, small: CaseResult) -> tuple[str, ...]:
    disk = f"{large.environment_bytes / 1e6:.0f}" if large.environment_bytes else UNKNOWN
    if large.verdict:  # it is from paired blocks, and corrected for the number of versions
        found = {each.quantity: each for each in (large.verdict, *large.other_verdicts)}
        first, *others = (as_ratio(found.get(quantity)) for quantity in Quantity)
        return (version_of(large), first, as_ratio(small.verdict), *others, disk)
    if large.state is not State.VALID:
        return (version_of(large), *[UNKNOWN] * (len(HEADER) - 2), disk)
    step, *starts, memory = (typical(quantity, large) for quantity in Quantity)
    steps = ((step, large.iterations), (small.seconds, small.iterations))
    figures = [as_figure(each, 1000 / iterations, "ms") for each, iterations in steps]
    figures += [as_figure(each, 1, "s") for each in starts]
    return (version_of(large), *figures, as_figure(memory, 2**-20, "MiB"), disk)


def as_ratio(verdict: Verdict | None) -> str:
    """Return a verdict's ratio as ``1.38 ±0.06``, by the larger side of its interval, or ``?`` if it has none."""
    if verdict is None or verdict.word is Outcome.UNVERIFIED or not verdict.ratio or not verdict.ratio.has_interval:
        return UNKNOWN
    ratio = verdict.ratio
    reach = max(ratio.high - ratio.value, ratio.value - ratio.low)
    return f"{ratio.value:.{ratio.decimals}f} \u00b1{reach:.{ratio.decimals}f}"


def as_figure(estimate: Estimate | None, factor: float, unit: str) -> str:
    """Return an estimate in another unit, with as many digits as it deserves, or ``?`` for none."""
    if estimate is None:
        return UNKNOWN
    figure = estimate.scaled(factor)
    return f"{figure.value:.{figure.decimals}f} {unit}"


def compare_releases(
    case: str, settings: Settings, progress: Progress, say: Callable[[str], None], save: Callable[[str, Results], None]
) -> ReleaseTable:
    """Measure ``case`` with the versions that ``settings`` name, and ``save`` each campaign as it ends.

    What an earlier call has measured counts, until both are saved: then the journals are removed.

    Raises:
        SettingsError: a setting is wrong, or there are no two versions to compare.
        BusyError: another campaign is running on this machine.
        KeyboardInterrupt: Ctrl-C ended it; the next call continues.
    """
    gates = ",".join(Quantity)
    small = ",".join(filter(None, (settings.workload, SMALL)))
    asked = {"large": replace(settings, gate=gates), "small": replace(settings, workload=small)}
    dataset, measurements, results = load(settings.data), [], {}
    with only_campaign():
        for name, each in asked.items():
            say(f"measuring {name} steps" + (", cold starts and memory" if name == "large" else ""))
            measurements.append(Measurement.continued([case], each, dataset, say))
            results[name] = measurements[-1].run_to_end(progress, say)
            save(name, results[name])
        for measurement in measurements:
            measurement.release_journals()
    versions = settings.asked_versions
    return ReleaseTable(versions=versions.versions if versions else (), **results)
