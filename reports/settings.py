"""What was recorded of a run, apart from its conditions, that can change its times: which of it two runs differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import UNKNOWN, counted, known
from samenet.worker_environment import same_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.context import Machine
    from samenet.results import CaseResult
    from samenet.storage import Slice

SETTINGS = ("governor", "microcode", "virtualised", "cpu-quota", "variables", "gpu-driver")  # see ``decisive``
SPELLINGS = {"cpu-quota": "CPU quota", "gpu-driver": "GPU driver"}  # of those whose option is spelled differently
GPU_ONLY = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_")  # variables that a case on the CPU does not read


def changes(
    before: Mapping[str, object], after: Mapping[str, object], absent: str = "absent", word: str = "and"
) -> str:
    """Say which entries differ, such as ``jax 0.10.1 and 0.10.2``."""
    names = dict.fromkeys([*before, *after])
    return ", ".join(
        f"{name} {before.get(name, absent)} {word} {after.get(name, absent)}"
        for name in names
        if before.get(name) != after.get(name)
    )


def settings(part: Slice) -> dict[str, str]:
    """Return everything that was recorded of a run's settings, as text."""
    machine = part.machine
    return {
        "governor": known(machine.governor),
        "microcode": known(machine.microcode),
        "virtualised": known(machine.virtualised),
        "CPU quota": quota(machine),
        "GPU driver": known(machine.gpu_driver),
        "CPUs": numbers(machine),
        "system": machine.system,
        "launches": counted(part.campaign.launches),
    }


def quota(machine: Machine) -> str:
    """Return how many CPUs the cgroup allows, as far as it is known."""
    return "none known" if machine.cpu_quota is None else f"{machine.cpu_quota:g}"


def numbers(machine: Machine) -> str:
    """Return which CPUs were used, such as ``0,1``."""
    return ",".join(map(str, machine.cpus)) or UNKNOWN


def libraries(case: CaseResult) -> dict[str, str]:
    """Return the BLAS and OpenMP libraries of a case by name, version and architecture, such as ``openblas 0.3.27``.

    Not by their files, whose paths differ with each environment, nor by their threads.
    """
    found: dict[str, set[str]] = {"BLAS": set(), "OpenMP": set()}
    kinds = {"blas": "BLAS", "openmp": "OpenMP"}
    for pool in case.thread_pools:
        names = [pool.get(key) for key in ("internal_api", "version", "architecture")]
        if pool.get("internal_api") == "openmp":  # the interface, which several libraries have
            names[0] = pool.get("prefix")
        if (kind := kinds.get(str(pool.get("user_api")))) and any(names):
            found[kind].add(" ".join(str(name) for name in names if name))
    absent = "none" if case.thread_pools else UNKNOWN
    return {kind: " + ".join(sorted(texts)) or absent for kind, texts in found.items()}


def variables(before: Slice, after: Slice) -> tuple[dict[str, str], dict[str, str]]:
    """Return the recorded environment variables of two runs, as far as they are known to differ."""
    old, new = dict(before.machine.environment), dict(after.machine.environment)
    for name in old.keys() & new.keys():
        if same_variable(old[name], new[name]):
            del old[name], new[name]
    return old, new


def decisive(before: Slice, after: Slice, device: str) -> dict[str, str]:
    """Return the settings that two runs of a case on ``device`` differ in, and that can explain a change, with how.

    Each of them can change a time by more than the usual tolerance of 2 %. What is unknown on one side, such as a
    microcode that an older version did not record, is not known to differ.
    """
    names = ("governor", "microcode", "virtualised", "CPU quota", *(("GPU driver",) if device != "cpu" else ()))
    (old, new), different = (settings(part) for part in (before, after)), {}
    for name in names:
        if old[name] != new[name] and UNKNOWN not in {old[name], new[name]}:
            different[name.replace(" ", "-").lower()] = f"{old[name]} and {new[name]}"
    old, new = ({name: text for name, text in part.items() if reads(device, name)} for part in variables(before, after))
    if text := changes(old, new, absent="unset"):
        different["variables"] = text
    return different


def reads(device: str, variable: str) -> bool:
    """Return whether a case on ``device`` reads an environment variable."""
    return device != "cpu" or not variable.startswith(GPU_ONLY)


def other_settings(before: Slice, after: Slice, cases: tuple[CaseResult, CaseResult]) -> str:
    """Say in which settings two ``cases`` differ without barring a comparison: its reader should know of them."""
    device = cases[1].device
    named = {SPELLINGS.get(name, name) for name in decisive(before, after, device)}
    unread = (
        {name: text for name, text in part.items() if not reads(device, name)} for part in variables(before, after)
    )
    old, new = (
        {name: text for name, text in (settings(part) | libraries(case) | rest).items() if name not in named}
        for part, case, rest in zip((before, after), cases, unread, strict=True)
    )
    return changes(old, new, absent="unset")
