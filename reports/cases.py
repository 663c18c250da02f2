"""Which cases have a number, which one speedups are over, and what they took to start."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from impls.lanes import Device
from samenet.records import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from samenet.results import CaseResult

SPLITS = ("train", "validation", "test")
FIRST = ("cpu", "cuda")  # devices
PHASES = 4  # start, import, build, first step


def without_number(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the cases that have no number."""
    return [case for case in cases if case.state is not State.VALID]


def without_device(case: CaseResult) -> str:
    """Return the name that a case has on every device: its implementation, and its version if one was asked for."""
    return case.implementation + (f" @ {case.asked_version}" if case.asked_version else "")


def row_name(case: CaseResult) -> str:
    """Return the name of the row that has a case's time on the CPU and on one GPU, or on another GPU."""
    return without_device(case) if case.device in FIRST else f"{without_device(case)} on {case.device}"


def accelerators(cases: Sequence[CaseResult]) -> list[str]:
    """Return the devices of ``cases`` that are not the CPU, in their order."""
    return [device for device in dict.fromkeys(case.device for case in cases) if Device.parse(device).is_gpu]


def by_device(texts: Mapping[str, str]) -> str:
    """Return what is said of each device: once if it is the same, or else with the devices."""
    said = {device: text for device, text in texts.items() if text}
    if len(set(said.values())) < 2:
        return next(iter(said.values()), "")
    return ", ".join(f"{text} ({device})" for device, text in said.items())


def versions(case: CaseResult) -> str:
    """Return what the case was measured with, on one line."""
    return ", ".join(f"{name} {version}" for name, version in case.versions.items())


def error_rates(case: CaseResult) -> str:
    """Return the error rates at the end (percent), in the order of ``SPLITS``."""
    return " ".join(f"{case.error_rates[name]:.2f}" for name in SPLITS if name in case.error_rates)


def startup(case: CaseResult) -> dict[str, float]:
    """Return the seconds before the first full round: the medians of cold launches, and of the warm ones.

    What a launch does not know, because it started next to another one, is left out. Of several cold launches the first
    one, which reads the disk, does not count.
    """
    phases: dict[str, float] = {}
    known = [launch for launch in case.launches if len(launch.phases) == PHASES]
    is_cold = [launch is case.launches[0] if launch.cold is None else launch.cold for launch in known]
    cold = [launch.phases for launch, yes in zip(known, is_cold, strict=True) if yes]
    if cold:
        start, imported, build, first_step = map(median, zip(*(cold[1:] or cold), strict=True))
        phases["import_seconds"] = start + imported
        phases |= {"build_seconds_cold": build, "first_step_seconds_cold": first_step}
    if warm := [launch.phases[2:] for launch, yes in zip(known, is_cold, strict=True) if not yes]:
        phases["build_seconds_warm"], phases["first_step_seconds_warm"] = map(median, zip(*warm, strict=True))
    return phases


def start_seconds(case: CaseResult) -> float | None:
    """Return the seconds from the start of the cold process to the end of its first step, or None if unknown."""
    phases = startup(case)
    cold = ("import_seconds", "build_seconds_cold", "first_step_seconds_cold")
    return sum(phases[name] for name in cold) if cold[0] in phases else None
