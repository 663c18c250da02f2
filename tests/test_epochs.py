"""The long training: an interrupted one is resumed, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from samenet import Epochs, Measurement, Settings
from samenet.environments import ROOT
from tests.support.command_line import Bench, records

if TYPE_CHECKING:
    from pathlib import Path

UPDATES = 12_000  # three kills within 0.3 s of a block leave some of them to do
SHORT = ("bench/test_epochs.py", "--epochs", str(UPDATES // 10), "--target-error", "40")


def start(bench: Bench, *options: str, **environment: Any) -> subprocess.Popen[str]:
    """Start a training of twelve blocks, each about 0.3 s long."""
    command = [part for part in bench.command(*SHORT, "--workload", "hidden=30,batch_size=100") if part != "bench/"]
    return subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env=bench.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a training and return what it has printed."""
    output, _ = process.communicate(timeout=240)
    return output


def stop(process: subprocess.Popen[str], storage: Path, number: signal.Signals, seconds: float = 0.0) -> str:
    """Send a signal so many seconds after the journal has the next block with its weights; return what was printed."""

    def kept() -> int:  # a block that was disturbed, and is repeated, has no error rate and no weights
        return sum(len(re.findall(r'"error_percent": ?\d', path.read_text())) for path in journals.glob("*.jsonl"))

    journals = storage / "journal"
    before = kept()
    deadline = time.monotonic() + 120
    while kept() == before:
        assert time.monotonic() < deadline
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(process.pid, number)
    return finish(process)


@pytest.mark.slow
def test_three_kills_change_nothing_but_the_record_of_them(small_mnist: Path, tmp_path: Path) -> None:
    """SIGKILL at three random moments, then to the end: the same weights, bit for bit, and the same curve."""
    whole, broken = (Bench(small_mnist, tmp_path / name) for name in ("whole", "broken"))
    for _ in range(3):
        stop(start(broken, "-k", "numpy-cpu"), broken.storage, signal.SIGKILL, random.uniform(0, 0.3))  # noqa: S311
    assert not list(broken.storage.rglob("*.json"))
    for bench in (broken, whole):
        finish(start(bench, "-k", "numpy-cpu"))
    once, again = (records(bench.storage)["numpy-cpu"] for bench in (whole, broken))
    assert again["training"]["weights_sha256"] == once["training"]["weights_sha256"]
    assert [point["error_percent"] for point in again["curve"]] == [point["error_percent"] for point in once["curve"]]
    assert (once["training"]["resumed"], again["training"]["resumed"]) == (0, 3)
    assert [launch["launch"] for launch in again["launches"]] == [0, 1, 2, 3]
    assert again["curve"][-1]["updates"] == once["iterations"] == UPDATES
    assert not list(tmp_path.rglob("*.npz"))
    assert not list(tmp_path.rglob("*.jsonl"))


def test_an_interrupted_training_saves_no_run_and_says_how_far_it_came(bench: Bench, tmp_path: Path) -> None:
    """Ctrl-C: exit code 2, the weights stay, the case is skipped with its updates."""
    process = start(bench, "-k", "numpy-cpu", "-rs")
    output = stop(process, tmp_path, signal.SIGINT)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert f"of {UPDATES:,} updates" in output
    assert "interrupted: rerun the same command to resume" in output
    assert not list(tmp_path.rglob("*.json"))
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_a_failed_training_is_tried_again_and_the_finished_ones_are_not(bench: Bench, tmp_path: Path) -> None:
    """One case crashes in its third run: the journal stays, and the other one keeps its rounds."""
    selected = ("-k", "numpy-cpu or crashing")
    output = finish(start(bench, *selected, plugins=True))
    assert "crashing-cpu was killed by SIGKILL" in output
    first = records(tmp_path)
    for stale in tmp_path.rglob("*.json"):
        stale.unlink()
    finish(start(bench, *selected, plugins=True))
    second = records(tmp_path)
    assert second["numpy-cpu"]["rounds"] == first["numpy-cpu"]["rounds"]
    assert len(second["crashing-cpu"]["launches"]) > len(first["crashing-cpu"]["launches"])


@pytest.mark.alone  # with both CPUs, since one thread has to differ from as many as there are
def test_only_a_training_under_the_same_conditions_is_resumed(small_mnist: Path) -> None:
    """Another workload or length has another key; another target error and other cases have the same."""

    def key(*cases: str, **changes: Any) -> str:
        settings: dict[str, Any] = {
            "protocol": Epochs(epochs=7),
            "data": small_mnist,
            "workload": "batch_size=100",
        } | changes
        return Measurement(cases or ["numpy-cpu"], Settings(**settings)).parts[0].header.key

    assert key() == key("numpy-cpu", "torch-cpu") == key(protocol=Epochs(epochs=7, target_error_percent=10.0))
    assert len({key(), key(protocol=Epochs(epochs=8)), key(workload="batch_size=50"), key(threads=1)}) == 4
