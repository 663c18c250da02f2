"""Situations in which a GPU may be: what the fake NVML answers in each, and what the harness has to make of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from samenet.records import State
from tests.support.fake_nvml import (
    BRAKE,
    CLEAN,
    CLOCK_SM,
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GAME,
    HEAT,
    LOST,
    MILLISECOND,
    NO_PERMISSION,
    NOT_SUPPORTED,
    POWER,
    UNKNOWN_ERROR,
    VERSION_MISMATCH,
    XORG,
    Answers,
)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What NVML answers besides or instead of ``CLEAN``, and what the harness makes of it.

    ``state`` is that of a case all of whose blocks are like this one, ``sentence`` that of the block; ``seconds`` is
    how long it takes, ``number`` the GPU's.
    """

    name: str
    state: State = State.VALID
    sentence: str = ""
    answers: Answers = field(default_factory=dict)
    number: int = 0
    seconds: float = 0.01
    chosen: str | None = None  # CUDA_VISIBLE_DEVICES


def counter(name: int, milliseconds: float) -> Answers:
    """Return a counter that rises by so much in the middle of the first block."""
    return {("Field", "*", name): [0, 0, int(milliseconds * MILLISECOND)]}  # the first to look is ``caveats``


SITUATIONS = (
    Situation(name="nothing is wrong"),
    Situation(
        name="a power limit lowers the clock all the time",
        answers={("Field", "*", POWER): ["0+1500000000/s"]},
        sentence="a power limit lowered the GPU's clock for 100 % of the time of its case",
    ),
    Situation(
        name="heat in the middle of a block, over before its end",
        answers=counter(HEAT, 2.5),
        state=State.THROTTLED,
        sentence="throttled by heat for 25 % of the time",
    ),
    Situation(
        name="a power brake in the middle of a block",
        answers=counter(BRAKE, 0.05),
        state=State.THROTTLED,
        sentence="throttled by a power brake for 0.5 % of the time",
    ),
    Situation(
        name="an old driver, which has heat as a violation status only",
        answers={("Field", "*", POWER): [NOT_SUPPORTED], ("Field", "*", HEAT): [NOT_SUPPORTED]}
        | {("Field", "*", BRAKE): [NOT_SUPPORTED], ("Violation", "*", 1): [0, 0, 1000 * MILLISECOND]},
        state=State.THROTTLED,
        sentence="throttled by heat for 100 % of the time",
    ),
    Situation(
        name="no counters: the reasons at the start and the end of a block decide",
        answers={("Field", "*", number): [NOT_SUPPORTED] for number in (POWER, HEAT, BRAKE)} | {("Reasons",): [0, 0x8]},
        state=State.THROTTLED,
        sentence="throttled by a hardware slowdown",
    ),
    Situation(
        name="the same with a driver that has the reasons by their former name only",
        answers={("Field", "*", number): [NOT_SUPPORTED] for number in (POWER, HEAT, BRAKE)}
        | {("Reasons",): [FUNCTION_NOT_FOUND], ("ThrottleReasons",): [0, 0x8]},
        state=State.THROTTLED,
        sentence="throttled by a hardware slowdown",
    ),
    Situation(
        name="the driver was loaded again in the middle of a block",
        answers={("Field", "*", HEAT): [5 * MILLISECOND, 5 * MILLISECOND, 0]},
    ),
    Situation(
        name="a desktop, idle",
        answers={("Graphics",): [XORG]},
        sentence="Xorg was on the GPU of its case, idle",
    ),
    Situation(
        name="a game, busy before the campaign began",
        answers={("Graphics",): [XORG], ("Compute",): [f"ours,{GAME}"], ("Utilization",): [35]},
        state=State.CONTENDED,
        sentence="other processes were on its GPU: Xorg, game; while the case was stopped, it was in use for 35 % of"
        " the time",
    ),
    Situation(
        name="a game, on a GPU that does not report its utilization",
        answers={("Compute",): [f"ours,{GAME}"], ("Utilization",): [NOT_SUPPORTED]},
        state=State.CONTENDED,
        sentence="other processes were on its GPU: game",
    ),
    Situation(
        name="a desktop that draws during the first of several looks",
        answers={("Graphics",): [XORG], ("Utilization",): [12, 0]},
        sentence="Xorg was on the GPU of its case, idle",
    ),
    Situation(
        name="a process that came during the campaign, idle",
        answers={("Compute",): ["ours", "ours", f"ours,{GAME}"]},
        sentence="game was on the GPU of its case, idle",
    ),
    Situation(
        name="a process that came during the campaign, busy",
        answers={("Compute",): ["ours", "ours", f"ours,{GAME}"], ("Utilization",): [35]},
        state=State.CONTENDED,
        sentence="other processes were on its GPU: game; while the case was stopped, it was in use for 35 % of the"
        " time",
    ),
    Situation(
        name="a process that came after the last look, idle or not",
        answers={("Compute",): ["ours", "ours", "ours", f"ours,{GAME}"]},
        state=State.CONTENDED,
        sentence="other processes were on its GPU: game",
    ),
    Situation(
        name="a container, which sees its own process under another id",
        answers={("Compute",): ["-", "-", "-", "77"]},
    ),
    Situation(
        name="a container, next to an idle process that came",
        answers={("Compute",): ["-", "-", "77,78"]},
        sentence="another process was on the GPU of its case, idle",
    ),
    Situation(
        name="no list of processes",
        answers={("Compute",): [NO_PERMISSION]},
        sentence="GPU 0 does not report other processes; what only these show goes unnoticed",
    ),
    Situation(
        name="no energy counter and no power",
        answers={("Energy",): [NOT_SUPPORTED], ("Power",): [NOT_SUPPORTED]},
        seconds=1.0,
    ),
    Situation(name="a block of a second, whose energy is known", seconds=1.0),
    Situation(
        name="a clock that rises under load",
        answers={("Clock", "*", CLOCK_SM): [210, 210, 600, 1200, 1405, 1410]},
    ),
    Situation(name="a GPU before Ampere, without TF32", answers={("Capability",): [75]}),
    Situation(name="a GPU whose matrix units are not known", answers={("Capability",): [100]}),
    Situation(
        name="a GPU that answers nothing",
        answers={key: [NOT_SUPPORTED] for key in CLEAN if key != ("Count",)},
        sentence="GPU 0 does not report its clock, its power limit and heat, other processes; what only these show goes"
        " unnoticed",
    ),
    Situation(
        name="no permission for the first of two GPUs",
        answers={("Count",): [2], ("Handle", 0): [NO_PERMISSION]},
        state=State.SKIPPED,
        sentence="GPU 0 cannot be used: Insufficient Permissions; allow this user to open its /dev/nvidia device",
    ),
    Situation(
        name="the second of these two GPUs",
        answers={("Count",): [2], ("Handle", 0): [NO_PERMISSION]},
        number=1,
    ),
    Situation(
        name="another program's process on the first of two GPUs, seen from the second",
        answers={("Count",): [2], ("Compute", 0): [GAME], ("Utilization", 0): [90]},
        number=1,
    ),
    Situation(
        name="a GPU that is not there",
        number=1,
        state=State.SKIPPED,
        sentence="GPU 1 was not found; the driver reports 1",
    ),
    Situation(
        name="CUDA_VISIBLE_DEVICES with the beginning of the second GPU's UUID",
        answers={("Count",): [2], ("Name", 1): ["the second"]},
        chosen="GPU-1",
    ),
    Situation(
        name="a driver that is not loaded",
        answers={("Init",): [DRIVER_NOT_LOADED]},
        state=State.SKIPPED,
        sentence="no NVIDIA GPU can be used: Driver Not Loaded; load NVIDIA's driver",
    ),
    Situation(
        name="a driver that was updated under a running kernel module",
        answers={("Init",): [VERSION_MISMATCH]},
        state=State.SKIPPED,
        sentence="no NVIDIA GPU can be used: RM has detected an NVML/RM version mismatch; restart the machine, whose"
        " driver was updated",
    ),
    Situation(
        name="a driver that does not know its GPUs",
        answers={("Count",): [UNKNOWN_ERROR]},
        state=State.SKIPPED,
        sentence="no NVIDIA GPU can be used: Unknown Error",
    ),
    Situation(
        name="exclusive-process mode",
        answers={("ComputeMode",): [3]},
        sentence="GPU 0 is in exclusive-process mode: a worker is started for each of its turns, which takes time;"
        " to avoid it, run: nvidia-smi -c DEFAULT",
    ),
    Situation(
        name="prohibited mode",
        answers={("ComputeMode",): [2]},
        state=State.SKIPPED,
        sentence="GPU 0 is in prohibited mode, in which no process can use it; run: nvidia-smi -c DEFAULT",
    ),
    Situation(
        name="MIG",
        answers={("MigMode",): [1], ("Compute",): [NO_PERMISSION]},
        sentence="GPU 0 is divided (MIG): its bound, other processes, power and energy are unknown, and its clock and"
        " temperature are those of the whole GPU",
        seconds=1.0,
    ),
    Situation(
        name="a GPU that was lost before the campaign",
        answers={("Handle", 0): [LOST]},
        state=State.SKIPPED,
        sentence="GPU 0 cannot be used: GPU is lost; reset it, or restart the machine",
    ),
    Situation(
        name="a GPU that is lost in the middle of a block",
        answers={("Clock", "*", CLOCK_SM): [1410, 1410, 1410, LOST], ("Fields",): [0, 0, LOST]}
        | {("Reasons",): [0, LOST], ("Energy",): [0, LOST], ("Compute",): ["ours", "ours", "ours", LOST]},
        state=State.FAILED,
        sentence="GPU 0 was lost: GPU is lost; reset it, or restart the machine",
    ),
)


def table() -> str:
    """Return the situations as a table of Markdown."""
    rows = [f"| {each.name} | {each.state} | {each.sentence} |" for each in SITUATIONS]
    return "\n".join(["| situation | state | sentence |", "| --- | --- | --- |", *rows])
