"""``python -m studies gpu`` without a GPU: the order of its parts, their commands, and how each of them may end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from impls.lanes import Device
from impls.registry import cases
from samenet.environments import ROOT
from samenet.machine.devices import is_absent
from samenet.saved import as_builtins
from samenet.stats import FEWEST_LAUNCHES
from studies.__main__ import main
from studies.gpu import CAMPAIGN, PLAN, Day, Part, follow, saved
from studies.laboratory import StudyError
from studies.options import Options
from tests.support.saved_runs import case_result, run, save
from tests.support.workers import implementation, interpreter_for

if TYPE_CHECKING:
    from pathlib import Path

# A part that takes long, and saves what it has when it is interrupted.
SLOW = """
import time
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("saved")
"""


@pytest.fixture
def day(tmp_path: Path) -> Day:
    """Return a day that saves below ``tmp_path``."""
    return Day(Options(launches=1, rounds=1, iterations=1, storage=tmp_path))


@pytest.mark.skipif(not is_absent(Device("cuda")), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_measure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One sentence, exit code 2, and no file."""
    with pytest.raises(SystemExit) as ended:
        main(["gpu", "--storage", str(tmp_path)])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("there is nothing to measure: ")
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_parts_come_in_order_of_worth_and_fit_into_the_day() -> None:
    """The first one shows which lanes are right; all but the last one fit into the 20 minutes at their longest."""
    names = [part.name for part in PLAN]
    assert names == ["parity", "default", "clocks", "tf32", "bfloat16", "epochs", "scaling"]
    assert sum(part.seconds for part in PLAN[:-1]) <= 60 * Options(launches=1, rounds=1, iterations=1).minutes


def test_each_campaign_counts_its_launches_and_measures_for_a_part_of_its_limit() -> None:
    """A budget knows nothing of the starts; a round on a GPU takes a second at least, untimed steps included."""
    lanes = sum(case.device.is_gpu for case in cases())
    for part in PLAN:
        if part.arguments[0] == CAMPAIGN:
            assert "--budget" not in part.arguments
            launches, rounds = (
                int(part.arguments[part.arguments.index(name) + 1]) for name in ("--launches", "--rounds")
            )
            assert launches >= FEWEST_LAUNCHES or part.name == "parity"
            assert lanes * launches * rounds < part.seconds / 4


def test_each_command_selects_the_cases_that_it_is_for(day: Day, tmp_path: Path) -> None:
    """Of a default campaign whose fastest case on the GPU is pytensor-jax, the last two parts measure this one."""
    slow, fast = case_result("jax", 2.0, device="cuda"), case_result("pytensor-jax", 1.0, device="cuda")
    content = run(*map(as_builtins, (case_result("numpy", 0.5), slow, fast)))
    save(tmp_path, "0001_gpu-default", content)
    on_gpu = {case.id for case in cases() if case.device.is_gpu}
    plain = {"numpy-cpu", "torch-cpu", "jax-cpu", "jax-scan-cpu"}
    expected = {"default": on_gpu | plain, "epochs": {"pytensor-jax-cuda"}, "scaling": {"pytensor-jax-cuda"}}
    for part in PLAN:
        command = day.command(part)
        if part.name in expected:
            listed = subprocess.check_output([*command, "--collect-only", "-q"], cwd=ROOT, text=True)
            lines = [line.partition("[")[2].rstrip("]") for line in listed.splitlines() if "::" in line]
            assert {line.split("-hidden=")[0].split("-batch_size=")[0] for line in lines} == expected[part.name]
        if not part.in_torch:
            assert f"--benchmark-save=gpu-{part.name}" in command
            assert f"--benchmark-storage={tmp_path}" in command


def test_the_fastest_case_is_one_of_this_day(tmp_path: Path) -> None:
    """A published run of another GPU, in a folder whose name is later in the alphabet, says nothing about this one."""
    content = run(as_builtins(case_result("triton", 0.1, device="cuda")))
    save(tmp_path, "0001_gpu-default", content).parent.rename(tmp_path / "Z")
    options = Options(launches=1, rounds=1, iterations=1, storage=tmp_path)
    day = Day(options, saved(tmp_path))
    with pytest.raises(StudyError, match="no case on the GPU has a number"):
        day.best()
    save(tmp_path, "0002_gpu-parity", run(as_builtins(case_result("jax", 2.0, device="cuda"))))
    assert day.best() == "jax-cuda"


def test_a_part_that_needs_a_number_is_left_out_where_there_is_none(day: Day) -> None:
    """It says so, and the next ones are measured."""

    def run_part(part: Part, seconds: float) -> str:
        day.command(part)
        return "done"

    ended = dict(follow(PLAN, run_part, 60))
    assert ended["epochs"] == ended["scaling"] == "left out: no case on the GPU has a number"
    assert set(ended.values()) == {"done", ended["epochs"]}


def test_no_part_begins_after_the_day_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that begins before its end gets only the time that is left."""
    now = 0.0
    given: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def run_part(part: Part, seconds: float) -> str:
        nonlocal now
        given.append(seconds)
        now += seconds
        return "done"

    parts = [Part(name, 40.0, ("bench/",)) for name in "abc"]
    assert follow(parts, run_part, 60) == [("a", "done"), ("b", "done"), ("c", "left out: 1 min have passed")]
    assert given == [40, 20]


def test_what_a_part_prints_is_kept_however_it_ends(day: Day, tmp_path: Path) -> None:
    """One that takes too long is interrupted, as with Ctrl-C, so that it can save what it has, also in a background."""
    interpreter_for(next(case for case in cases() if case.implementation == implementation("torch")))
    assert day.run(Part("right", 20, ("-c", "print('a figure')")), 20) == "done"
    assert (tmp_path / "gpu" / "right.txt").read_text() == "a figure\n"
    wrong = tmp_path / "gpu" / "wrong.txt"
    assert day.run(Part("wrong", 20, ("-c", "raise SystemExit(3)")), 20) == f"ended with exit code 3; see {wrong}"
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert day.run(Part("slow", 1, ("-c", SLOW)), 1.0).startswith("ended after 1 s; see ")
    finally:
        signal.signal(signal.SIGINT, former)
    assert (tmp_path / "gpu" / "slow.txt").read_text() == "begun\nsaved\n"


def test_ctrl_c_ends_the_day_after_its_part_has_saved(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is in a group of its own: it gets one signal, while another one could interrupt its saving."""
    interpreter_for(next(case for case in cases() if case.implementation == implementation("torch")))
    printed, wait = tmp_path / "gpu" / "slow.txt", subprocess.Popen.wait
    groups: list[int] = []

    def press(process: subprocess.Popen[str], timeout: float | None = None) -> int:
        if groups:
            return wait(process, timeout)
        groups.append(os.getpgid(process.pid))
        while not printed.read_text():
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", press)
    with pytest.raises(KeyboardInterrupt):
        day.run(Part("slow", 20, ("-c", SLOW)), 20)
    assert printed.read_text() == "begun\nsaved\n"
    assert groups != [os.getpgid(0)]
