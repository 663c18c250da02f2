"""The long training: what is interrupted goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.data import Dataset
from bench.epochs import Checkpoint, Checkpoints, Epochs
from bench.records import CaseRecord, Launch, Round
from impls.workload import Workload, initial_params
from tests.conftest import ROOT, make_split
from tests.test_command_line import saved

if TYPE_CHECKING:
    from pathlib import Path

UPDATES = 8_000


def train(data: Path, storage: Path, *options: str) -> subprocess.Popen[str]:
    """Start a training of eight blocks of half a second; its storage is ``storage``."""
    command = [sys.executable, "-m", "pytest", "bench/test_epochs.py", "-p", "no:cacheprovider", "-k", "numpy-cpu"]
    command += ["--epochs", str(UPDATES // 10), "--workload", "hidden=30,batch_size=100", "--target-error", "40"]
    command += ["--data", str(data), "--benchmark-storage", str(storage), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a training and return what it has printed."""
    output, _ = process.communicate(timeout=120)
    return output


def stop(process: subprocess.Popen[str], storage: Path, number: signal.Signals, seconds: float) -> None:
    """Send a signal so many seconds after the next checkpoint was written."""

    def written() -> list[int]:
        return [path.stat().st_mtime_ns for path in (storage / "checkpoints").glob("*.npz")]

    before = written()
    deadline = time.monotonic() + 60
    while written() == before:
        assert time.monotonic() < deadline
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(process.pid, number)
    finish(process)


def training(storage: Path) -> dict[str, Any]:
    """Return the record of the only case in ``storage``."""
    (benchmark,) = saved(storage)["benchmarks"]
    assert benchmark["stats"]["rounds"] == 1
    assert benchmark["stats"]["max"] == benchmark["extra_info"]["seconds"]["value"]
    record: dict[str, Any] = benchmark["extra_info"]
    return record


def test_three_kills_change_nothing_but_the_record_of_them(small_mnist: Path, tmp_path: Path) -> None:
    """SIGKILL at three random moments, then to the end: the same weights, bit for bit, and the same curve."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for _ in range(3):
        stop(train(small_mnist, broken), broken, signal.SIGKILL, random.uniform(0, 0.6))  # noqa: S311
    assert not list(broken.rglob("*.json"))
    finish(train(small_mnist, broken))
    finish(train(small_mnist, whole))
    once, again = training(whole), training(broken)
    assert again["training"]["weights_sha256"] == once["training"]["weights_sha256"]
    assert [point["error_percent"] for point in again["curve"]] == [point["error_percent"] for point in once["curve"]]
    assert (once["training"]["resumed"], again["training"]["resumed"]) == (0, 3)
    assert [launch["launch"] for launch in again["launches"]] == [0, 1, 2, 3]
    assert again["curve"][-1]["updates"] == once["iterations"] == UPDATES
    assert sum(each["wall_seconds"] for each in again["rounds"] if not each["disturbance"]) <= again["seconds"]["value"]
    assert not list(tmp_path.rglob("*.npz"))


def test_an_interrupted_training_saves_no_run_and_says_how_far_it_came(small_mnist: Path, tmp_path: Path) -> None:
    """Ctrl-C: exit code 2, the checkpoint stays, the case is skipped with its updates."""
    process = train(small_mnist, tmp_path, "-rs")
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    output = finish(process)
    assert process.returncode == 2
    assert "of 8,000 updates" in output
    assert "the same command goes on" in output
    assert not list(tmp_path.rglob("*.json"))
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def record(seconds: tuple[float, ...], disturbed: tuple[int, ...] = ()) -> CaseRecord:
    """Return the record of a case with one block of each of these durations."""
    rounds = [
        Round(0, turn, 0, turn, wall, wall, wall, 0.0, 0.0, 0.0, 0.0, "noise" if turn in disturbed else "")
        for turn, wall in enumerate(seconds)
    ]
    return CaseRecord("a-cpu", "a", "cpu", rounds=rounds, launches=[Launch(0, 1.0, 1.0, 1.0, 1.0, None)])


@pytest.fixture
def course(tmp_path: Path) -> Epochs:
    """Return a course of 2,500 updates: two blocks and a half."""
    workload = Workload(hidden=3, batch_size=10)
    dataset = Dataset("made up", "here", "0", make_split(1000), make_split(100), make_split(100))
    return Epochs(workload, dataset, 25, Checkpoints(tmp_path, {}))


def put(course: Epochs, found: CaseRecord, blocks: int) -> None:
    """Let ``found`` have done so many blocks."""
    errors = (50.0, 20.0, 10.0)[:blocks]
    course.checkpoints.write(Checkpoint(found, errors, tuple(initial_params(Workload(hidden=3)))))


def test_a_disturbed_block_counts_as_long_as_the_mean_of_the_others(course: Epochs) -> None:
    """Two blocks of 1,000 and one of 500 updates; the second stayed disturbed and took ten times as long."""
    found = record((2.0, 30.0, 1.5), disturbed=(1,))
    put(course, found, 3)
    course.join(found)
    course.close(found)
    pace = 3.5 / 1500
    expected = [(1000, 2.0, 50.0), (2000, 2 + 1000 * pace, 20.0), (2500, 3.5 + 1000 * pace, 10.0)]
    assert [(point.updates, point.seconds, point.error_percent) for point in found.curve] == [
        pytest.approx(each) for each in expected
    ]
    assert course.summary(found, 25.0)["target_seconds"] == pytest.approx(expected[1][1])
    assert course.summary(found, 5.0)["target_seconds"] is None


def test_a_training_goes_on_only_under_the_same_conditions(course: Epochs, tmp_path: Path) -> None:
    """Another version or another workload finds no checkpoint, and leaves that of the other alone."""
    found = record((2.0,))
    put(course, found, 1)
    assert course.checkpoints.read(found) is not None
    newer = record((2.0,))
    newer.versions = {"numpy": "3.0"}
    assert course.checkpoints.read(newer) is None
    assert Checkpoints(tmp_path, {"epochs": 7}).read(found) is None


def test_checkpoints_stay_while_one_training_is_unfinished(course: Epochs) -> None:
    """The finished ones are not to be done again only because another case has crashed."""
    done, half = record((2.0, 2.0, 1.0)), record((2.0,))
    half.case = "b-cpu"
    for each, blocks in ((done, 3), (half, 1)):
        put(course, each, blocks)
        course.join(each)
    course.clear([done, half])
    assert course.checkpoints.read(done) is not None
    course.clear([done])
    assert course.checkpoints.read(done) is None


def test_a_checkpoint_survives_the_death_of_its_successor(course: Epochs) -> None:
    """What was written is read back; a file that was cut short by a crash is not looked at."""
    found = record((2.0,))
    put(course, found, 1)
    path = course.checkpoints.path(found)
    path.with_suffix(".part").write_bytes(path.read_bytes()[:100])
    state = course.checkpoints.read(found)
    assert state is not None
    assert json.dumps(state.record.as_dict()) == json.dumps(found.as_dict())
    for own, given in zip(state.weights, initial_params(Workload(hidden=3)), strict=True):
        np.testing.assert_array_equal(own, given, strict=True)
