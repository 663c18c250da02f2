"""What was recorded of a run, apart from its conditions, that can change its times: which of it two runs differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import UNKNOWN, counted, known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.storage import Slice

SETTINGS = ("governor", "microcode", "virtualised", "variables", "gpu-driver")  # decisive: see ``decisive``
GPU_ONLY = ("CUDA_", "NVIDIA_")  # variables that a case on the CPU does not read


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
        "GPU driver": known(machine.gpu_driver),
        "system": machine.system,
        "launches": counted(part.campaign.launches),
    }


def decisive(before: Slice, after: Slice, device: str) -> dict[str, str]:
    """Return the settings that two runs of a case on ``device`` differ in, and that can explain a change, with how.

    Each of them can change a time by more than the usual tolerance of 2 %. What is unknown on one side, such as a
    microcode that an older version did not record, is not known to differ.
    """
    names = ("governor", "microcode", "virtualised", *(("GPU driver",) if device != "cpu" else ()))
    (old, new), different = (settings(part) for part in (before, after)), {}
    for name in names:
        if old[name] != new[name] and UNKNOWN not in {old[name], new[name]}:
            different[name.replace(" ", "-").lower()] = f"{old[name]} and {new[name]}"
    variables = [read_variables(part, device) for part in (before, after)]
    if text := changes(variables[0], variables[1], absent="unset"):
        different["variables"] = text
    return different


def read_variables(part: Slice, device: str) -> dict[str, str]:
    """Return the recorded environment variables, without those that a case on this ``device`` does not read."""
    variables = part.machine.environment
    return {name: text for name, text in variables.items() if device != "cpu" or not name.startswith(GPU_ONLY)}


def other_settings(before: Slice, after: Slice, device: str) -> str:
    """Say which settings differ without barring a comparison: its reader should know of them."""
    named = {name.replace("gpu-driver", "GPU driver") for name in decisive(before, after, device)}
    old, new = (settings(part) | rest_of_variables(part, device) for part in (before, after))
    for name in named:
        old.pop(name, None)
        new.pop(name, None)
    return changes(old, new, absent="unset")


def rest_of_variables(part: Slice, device: str) -> dict[str, str]:
    """Return the recorded variables that a case on this ``device`` does not read."""
    read = read_variables(part, device)
    return {name: text for name, text in part.machine.environment.items() if name not in read}
