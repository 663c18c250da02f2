"""What the figures say in words: which case is fastest, how fine a run can resolve, why a case has no number."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from statistics import fmean, median
from typing import TYPE_CHECKING

from impls.lanes import Device
from reports.cases import accelerators, versions, without_number
from reports.numbers import UNKNOWN, figure, moment
from samenet.records import State
from samenet.speedups import speedup, valid_cases
from samenet.stats import FEWEST_VALUES, by_launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from samenet.records import GpuLoad
    from samenet.results import CampaignRecord, CaseResult, NoiseFloor
    from samenet.storage import Rejected, Slice, Storage

DRIFT = 1.1  # the slowest launch over the fastest; on a quiet machine, with twenty blocks in each, they differ by 3 %
MOST_FILES = 5  # files that a sentence names; tables have them all
BLAS = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}  # as threadpoolctl and as their makers call them
# Of 2004, without AVX: the kernels that OpenBLAS takes on an x86 processor that is newer than itself.
FALLBACK = "Prescott"


def noise_sentence(floor: NoiseFloor) -> str:
    """Say what the A/A pair means for the reader: the smallest difference that the run can resolve."""
    if floor.ratio is None or not floor.ratio.has_interval:
        return f"Noise floor: {UNKNOWN}; {floor.case} and its twin have too few pairs of valid blocks."
    smallest = max(abs(floor.ratio.low - 1), abs(floor.ratio.high - 1))
    return (
        f"Noise floor: {floor.case} measured against itself gives {figure(floor.ratio)};"
        f" this run cannot resolve differences below {100 * smallest:.1f} %."
    )


def bound_sentence(bound: CaseResult, peak: CaseResult | None = None) -> str:
    """Say whose matrix products the bound is made of, and what it reaches of the peak."""
    blas = bound.manifest.get("blas")  # not what the process has loaded: numpy's BLAS is in every one
    products = f"the step's matrix products alone, by {blas}" if blas else "the step's matrix products alone"
    sentence = f"The bound is {bound.case}: {products} ({versions(bound)})."
    of_peak = speedup(peak, bound) if peak and bound.state is peak.state is State.VALID else None
    if not of_peak:
        return sentence
    return (
        f"{sentence} It reaches {figure(of_peak.scaled(100))} % of the peak, which is the step's arithmetic from"
        " registers alone: the rest is what loading and storing matrices costs, and sharing them among threads. Between"
        " a case and the bound lies the work that is no product (tanh, softmax, sums, updates) and its framework's own."
    )


def drift_sentence(bound: CaseResult) -> str:
    """Say that the machine was not equally fast in all launches, as on a host with other guests; empty if it was."""
    paces = [median(seconds) for seconds in by_launch(bound.clean_seconds) if len(seconds) >= FEWEST_VALUES]
    ratio = max(paces) / min(paces) if paces else 1.0
    if not DRIFT <= ratio < math.inf:  # a damaged file may have any times
        return ""
    return (
        f"The machine changed its speed during the run: in the slowest launch {bound.case} took {ratio:.2f} times as"
        " long as in the fastest. The intervals include this."
    )


def versions_sentence(cases: Sequence[CaseResult]) -> tuple[str, ...]:
    """Say once what all cases were measured with, where a table has no room to say it of each; nothing if unknown."""
    found: dict[str, dict[str, None]] = {}
    for case in cases:
        for name, version in case.versions.items():
            found.setdefault(name, {})[version] = None
    packages = [f"{name} {' and '.join(versions)}" for name, versions in found.items()]
    return (f"Versions: {', '.join(packages)}.",) if packages else ()


def reasons(cases: Sequence[CaseResult]) -> list[str]:
    """Say of each case without a figure why it has none; those with one reason in one sentence."""
    names: dict[str, list[str]] = {}
    for case in without_number(cases):
        names.setdefault(f"{case.state}: {case.reason}", []).append(case.case)
    return [f"{', '.join(same)} {'are' if same[1:] else 'is'} {reason}" for reason, same in names.items()]


def blas_notes(cases: Sequence[CaseResult]) -> list[str]:
    """Say of each case with a number that its OpenBLAS does not know this processor."""
    notes = []
    for case in valid_cases(cases):
        mistaken = [pool for pool in case.thread_pools if pool.get("architecture") == FALLBACK]
        if found := ", ".join(sorted({str(pool.get("version", UNKNOWN)) for pool in mistaken})):
            notes.append(
                f"{case.case} computes with an OpenBLAS ({found}) that does not know this processor and uses its "
                f"kernels for {FALLBACK}, without AVX; OPENBLAS_CORETYPE=SkylakeX (AVX-512) or Haswell (AVX2) selects "
                "others."
            )
    return notes


def gpu_notes(cases: Sequence[CaseResult]) -> list[str]:
    """Say of each case with a number what its GPU did that a reader should know, though it cost no block."""
    loads = {case.case: [each.gpu for each in case.clean_rounds if each.gpu] for case in valid_cases(cases)}
    return [f"{sentence}." for case, seen in loads.items() for sentence in gpu_remarks(case, seen)]


def gpu_remarks(case: str, loads: Sequence[GpuLoad]) -> list[str]:
    """Say for how long a power limit lowered the clock in a case's blocks, and which idle processes were on its GPU."""
    remarks = []
    capped = [load.power_capped for load in loads if load.power_capped is not None]
    if any(capped):
        remarks.append(f"a power limit lowered the GPU's clock for {100 * fmean(capped):.3g} % of the time of {case}")
    if idle := sorted({name for load in loads for name in load.idle_names}):
        were = "was" if len(idle) == 1 else "were"
        remarks.append(f"{' and '.join(idle)} {were} on the GPU of {case}, idle")
    return remarks


def progress(campaign: CampaignRecord) -> str:
    """Return ``unfinished`` or ``interrupted`` where the campaign did not run to its end, else an empty text."""
    return "unfinished" if campaign.unfinished else "interrupted" if campaign.interrupted else ""


def progress_sentence(run: Slice) -> str:
    """Say how far a campaign came that did not run to its end; an empty text for one that did."""
    word = progress(run.campaign)
    if not word:
        return ""
    launches = max(len(case.launches) for case in run.cases)
    rounds = sum(len(case.rounds) for case in run.cases)
    so_far = " so far" if run.campaign.unfinished else ""
    asked = f" of {run.campaign.launches}" if run.campaign.launches else ""
    return f"{word.capitalize()} campaign: {launches}{asked} launches, {rounds} blocks{so_far}."


def measured_at(run: Slice) -> str:
    """Return when a run was saved, and whether its campaign ran to its end."""
    return ", ".join(filter(None, (moment(run.when), progress(run.campaign))))


def from_the_future(dates: Mapping[Path, datetime], now: datetime | None = None) -> list[str]:
    """Say which runs have a date later than ``now``: a clock is wrong, and histories are in the order of dates."""
    present = now or datetime.now(UTC)
    late = [f"{path} ({moment(when)})" for path, when in dates.items() if when > present]
    if not late:
        return []
    return [f"Dated in the future, since it is {moment(present)}: {shortened(late)}; check the clock of that machine."]


def dates(storage: Storage) -> dict[Path, datetime]:
    """Return when each run was saved."""
    return {part.path: part.when for group in storage.groups for part in group.slices}


def left_out(files: Sequence[Rejected]) -> list[str]:
    """Say which files were left out, and why."""
    if not files:
        return []
    reasons = [f"{file.path} {file.reason}" for file in files]
    return [f"Left out: {shortened(reasons)}."]


def shortened(texts: Sequence[str]) -> str:
    """Return the first ``MOST_FILES`` texts on one line, and how many there are beyond."""
    more = f"; and {len(texts) - MOST_FILES:,} more" if len(texts) > MOST_FILES else ""
    return "; ".join(texts[:MOST_FILES]) + more


def verdict(cases: Sequence[CaseResult], baseline: str) -> str:
    """Return the answer in one sentence: which case is fastest on the CPU and on the GPU, and by how much."""
    valid = valid_cases(cases)
    on_cpu, gpus = [case for case in valid if case.device == "cpu"], accelerators(valid)
    if not valid:
        return "No case of this run has a valid time."
    sentences = []
    if on_cpu:
        best, others = on_cpu[0], [case for case in on_cpu[1:] if case.case == baseline] or on_cpu[1:2]
        alone = f"{best.case} is the only valid CPU case"
        sentences = [faster(best, others[0], "on this CPU") if others else alone]
    for gpu in gpus:
        only = "this TPU" if Device.parse(gpu).kind == "tpu" else "this GPU"
        best, where = next(case for case in valid if case.device == gpu), only if len(gpus) == 1 else gpu
        alone = f"{best.case} is the fastest case on {where}"
        sentences.append(faster(best, on_cpu[0], f"on {where}") if on_cpu else alone)
    if not gpus:
        sentences.append("no GPU was measured")
    return "; ".join(sentences) + "."


def faster(case: CaseResult, other: CaseResult, where: str) -> str:
    """Say how much faster ``case`` trains than ``other``, if the interval shows it."""
    estimate = speedup(other, case)
    if estimate is None or not estimate.has_interval:
        return f"{case.case} and {other.case} have too few pairs of valid blocks for a comparison {where}"
    if not estimate.low > 1:
        return f"{case.case} and {other.case} cannot be distinguished {where}: {figure(estimate, '×')}"
    return f"{case.case} trains this network {figure(estimate, '×')} as fast as {other.case} {where}"
