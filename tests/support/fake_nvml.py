"""A fake NVML, which is compiled here and answers what a test writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from samenet.environments import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CLOCK_SM, CLOCK_MEMORY = 1, 2  # NVML's
UNKNOWN_ERROR, FUNCTION_NOT_FOUND = "!999", "!13"
NO_PERMISSION, NOT_SUPPORTED, DRIVER_NOT_LOADED, LOST, VERSION_MISMATCH = "!4", "!3", "!9", "!15", "!18"
POWER, HEAT, BRAKE = 74, 75, 271  # fields, of the installed nvidia-ml-py
OURS, XORG, GAME = 1000, 2000, 3000  # process ids
MILLISECOND = 10**6  # ns

Answers = Mapping[tuple[Any, ...], Sequence[Any]]

# An A100 as it is when nothing is wrong: by function, device and argument; "*" is any.
CLEAN: Answers = {
    ("DriverVersion",): ["580.0"],
    ("CudaVersion",): [13000],
    ("Count",): [1],
    ("Name",): ["NVIDIA A100-SXM4-40GB (fake)"],
    ("Capability",): [80],
    ("Cores",): [6912],
    ("BusWidth",): [5120],
    ("MaxClock", "*", CLOCK_SM): [1410],
    ("MaxClock", "*", CLOCK_MEMORY): [1215],
    ("Clock", "*", CLOCK_SM): [1410],
    ("Temperature",): [40],
    ("Power",): [250_000],
    ("Energy",): ["1000+250000/s"],
    ("Reasons",): [0],
    ("ComputeMode",): [0],
    ("MigMode",): [0],
    ("Utilization",): [0],
    ("Compute",): ["ours"],
    ("Graphics",): ["-"],
    ("ProcessName", "*", XORG): ["/usr/lib/xorg/Xorg :0"],
    ("ProcessName", "*", GAME): ["/opt/game/game"],
    ("Field", "*", POWER): [0],
    ("Field", "*", HEAT): [0],
    ("Field", "*", BRAKE): [0],
    **{("UUID", number): [f"GPU-{number}0000000-fake"] for number in range(6)},
}


def write_answers(path: Path, answers: Answers, ours: str = "") -> None:
    """Write what the fake answers, for one device before any; ``ours`` is ``device pid``, if a process is there."""
    keys = sorted(answers, key=lambda key: (key[1:2] or ("*",)) == ("*",))
    lines = ["\t".join(map(str, chain((*key, "*", "*")[:3], answers[key]))) for key in keys]
    path.write_text("\n".join(lines) + "\n")
    path.with_name(f"{path.name}.pids").write_text(ours)


def compile_library(folder: Path) -> None:
    """Compile the fake into ``folder``, under the name that nvidia-ml-py loads, or skip the test without a compiler."""
    if not shutil.which("gcc"):
        pytest.skip("gcc, which compiles the fake NVML, was not found")
    source, library = ROOT / "tests" / "support" / "fake_nvml.c", folder / "libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(source)]
    subprocess.run(command, check=True)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a process that loads the fake in ``folder``."""
    others = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return others | {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML": str(folder / "answers")}
