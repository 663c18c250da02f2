"""Saved runs of schema 1 (samenet 0.1.0): a parsed file in, the same file in the fields of schema 2 out."""

from __future__ import annotations

import math
from typing import Any

from samenet.records import State
from samenet.stats import median

Fields = dict[str, Any]  # of one record; those that were null are already left out

CONTEXT = ("protocol", "iterations", "workload", "fingerprint", "step_flops", "data", "threads")
UNKNOWN = {"not told", "none", "not stated"}  # texts that schema 1 had for it


def upgrade(content: Fields) -> Fields:
    """Return the parsed file ``content`` of schema 1 in the fields of schema 2.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is not of schema 1 either.
    """
    section = content["samenet"]
    measured = [entry["extra_info"] for entry in content.get("benchmarks", []) if "case" in entry.get("extra_info", {})]
    benchmarks = [{"extra_info": _case(case)} for case in measured]
    without = [_case(case) for case in section.get("cases_without_number", [])]
    cases = [*(entry["extra_info"] for entry in benchmarks), *without]
    context = {name: cases[0][name] for name in CONTEXT if name in cases[0]} if cases else {}
    changed = {"schema": 2, "machine": _machine(section["machine"])}
    changed |= {"cases_without_number": without}
    if floor := section.get("noise_floor"):
        changed["noise_floor"] = _estimates(floor, "ratio")
    if against := section.get("against"):
        verdicts = [_estimates(verdict, "ratio") for verdict in against.get("verdicts", [])]
        before = [_entry(record, context) for record in against.get("before", [])]
        changed["against"] = against | {"verdicts": verdicts, "before": before}
    for role in ("bound", "again"):
        if role in section:
            changed[role] = _entry(section[role], context)
    return content | {"benchmarks": benchmarks, "samenet": section | changed}


def _machine(machine: Fields) -> Fields:
    """Return the record of the machine, without a variable that every file of schema 1 has and no other."""
    upgraded = _without(machine, UNKNOWN, "governor", "gpu_driver")
    if "environment" in machine:
        kept = {name: text for name, text in machine["environment"].items() if name != "KMP_DUPLICATE_LIB_OK"}
        upgraded["environment"] = kept
    return upgraded


def _case(case: Fields) -> Fields:
    """Return the record of a case."""
    upgraded = _without(_estimates(case, "seconds", "efficiency"), {0}, "peak_bytes")
    upgraded["rounds"] = [_round(saved) for saved in case.get("rounds", [])]
    if "manifest" in case:
        upgraded["manifest"] = {
            key: "unknown" if text in UNKNOWN - {"none"} else text for key, text in case["manifest"].items()
        }
    if "verdict" in case:
        upgraded["verdict"] = _estimates(case["verdict"], "ratio")
    return upgraded


def _entry(record: Fields, context: Fields) -> Fields:
    """Return a record that was saved without its run's ``context`` and without estimates."""
    upgraded = context | _case(record)
    if record["state"] != State.VALID:
        return upgraded
    counted = [saved for saved in upgraded["rounds"] if "disturbance" not in saved]
    clean = {(saved["launch"], saved["turn"]): saved["wall_seconds"] for saved in counted}
    if not clean:
        return upgraded | {"state": State.CONTENDED, "reason": "it has no undisturbed round"}
    if not all(0 < seconds < math.inf for seconds in clean.values()):
        return upgraded  # it is refused when its rounds are read
    estimate = median(clean)
    ends = {"low": estimate.low, "high": estimate.high} if estimate.has_interval else {}
    return upgraded | {"seconds": {"value": estimate.value, **ends}}


def _round(saved: Fields) -> Fields:
    """Return a round: its disturbance was a sentence, and 0 stood for what the machine does not report."""
    upgraded = _without(saved, {0}, "megahertz", "joules")
    if "gpu" in saved:
        upgraded["gpu"] = _without(saved["gpu"], {0}, "megahertz", "celsius", "watts", "joules")
    if sentence := upgraded.pop("disturbance", ""):
        cause = State.THROTTLED if sentence.startswith("throttled") else State.CONTENDED
        upgraded["disturbance"] = {"cause": cause, "detail": sentence}
    return upgraded


def _without(record: Fields, unknown: set[Any], *names: str) -> Fields:
    """Return ``record`` without those of the fields ``names`` whose value stood for the unknown."""
    return {name: value for name, value in record.items() if name not in names or value not in unknown}


def _estimates(record: Fields, *names: str) -> Fields:
    """Return ``record`` with the intervals dropped that reached 0: schema 1 computed them by addition."""
    reached = [name for name in names if name in record and record[name].get("low", 1.0) <= 0]
    return record | {name: {"value": record[name]["value"]} for name in reached}
