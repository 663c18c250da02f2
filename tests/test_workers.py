"""Worker processes that die, hang, talk or do not start, by really doing so."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from impls.lanes import Case, Device
from impls.registry import implementations
from impls.worker import pack, unpack
from impls.workload import Workload, initial_params
from samenet.environments import ROOT, find_interpreter
from samenet.errors import WorkerError
from samenet.workers import Worker, packages
from tests.support.data import make_split
from tests.support.workers import CASES, interpreter_for, live_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKLOAD = Workload(hidden=20, batch_size=100)
NUMPY = Case(implementations()[0], Device("cpu"))


def start(tmp_path: Path, **options: Any) -> Worker:
    """Start a worker for numpy."""
    python = find_interpreter(NUMPY.implementation, {}, ROOT)
    return Worker(NUMPY, python, ROOT, cpus=(min(os.sched_getaffinity(0)),), folder=tmp_path, **options)


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Worker]:
    """Start a worker and give it something to train."""
    with start(tmp_path) as worker:
        worker.load_framework()
        worker.build(WORKLOAD, make_split(500), initial_params(WORKLOAD))
        yield worker


@pytest.mark.parametrize("dtype", ["<f4", "<i4", "|u1", "<f8"])
def test_arrays_survive_the_channel(dtype: str) -> None:
    """Type, shape and content come back."""
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::2]
    np.testing.assert_array_equal(unpack(pack(array)), array, strict=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_reported_with_its_signal(ready: Worker, number: signal.Signals) -> None:
    """A signal between two requests: the next one says so."""
    os.kill(ready.pid, number)
    with pytest.raises(WorkerError, match=f"numpy-cpu was killed by {number.name}"):
        ready.run(1)


def test_a_worker_killed_while_it_works_is_reported(ready: Worker) -> None:
    """SIGKILL in the middle of a long round ends the wait at once."""
    threading.Timer(0.5, os.kill, (ready.pid, signal.SIGKILL)).start()
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="killed by SIGKILL during run"):
        ready.run(10_000_000)
    assert time.monotonic() - begin < 20


def test_a_worker_past_its_time_limit_is_killed(tmp_path: Path) -> None:
    """A round longer than the limit is an error that names the option, and the process does not run on."""
    with start(tmp_path, timeout_seconds=2.0) as worker:
        worker.load_framework()
        worker.build(WORKLOAD, make_split(500), initial_params(WORKLOAD))
        with pytest.raises(WorkerError, match="did not finish run in 2 s; raise --timeout"):
            worker.run(10_000_000)
        assert not psutil.pid_exists(worker.pid) or psutil.Process(worker.pid).status() == psutil.STATUS_ZOMBIE


def test_a_remote_error_comes_back_with_its_message(ready: Worker) -> None:
    """A request that fails in the worker says where and why."""
    nothing = pack(np.zeros(1))
    with pytest.raises(WorkerError, match=r"numpy-cpu failed in build: .*batch_size is 0"):
        ready._ask("build", workload={"batch_size": 0}, images=nothing, labels=nothing, initial=[], device="cpu")


def test_an_interpreter_that_does_not_start_names_the_option(tmp_path: Path) -> None:
    """A program that is no Python is an error, not a hang."""
    with pytest.raises(WorkerError, match=r"/bin/false does not start.*--python numpy=PATH"):
        Worker(NUMPY, Path("/bin/false"), ROOT, cpus=(0,), folder=tmp_path)


def odd_folder(tmp_path: Path) -> Path:
    """Make a folder whose name has everything that option strings split at."""
    folder = tmp_path / "sp ace, ü's #1"
    folder.mkdir()
    return folder


def test_a_folder_in_which_torch_cannot_compile_is_named(tmp_path: Path) -> None:
    """Its compiler does not quote paths; the reason says so before it is tried."""
    compiled = next(case for case in CASES if case.id == "torch-compile-cpu")
    with Worker(compiled, interpreter_for(compiled), ROOT, cpus=(0,), folder=odd_folder(tmp_path)) as worker:
        worker.load_framework()
        with pytest.raises(WorkerError, match=r"torch cannot compile below a path with spaces.*#1.*; set TMPDIR"):
            worker.build(WORKLOAD, make_split(500), initial_params(WORKLOAD))


def test_a_paused_worker_takes_no_cpu_and_goes_on_afterwards(ready: Worker) -> None:
    """While it is paused not one tick is added; then it answers."""
    ready.pause()
    process = psutil.Process(ready.pid)
    while process.status() != psutil.STATUS_STOPPED:  # each thread stops when it next returns from the kernel
        time.sleep(0.01)
    before = process.cpu_times()
    time.sleep(0.5)
    assert process.status() == psutil.STATUS_STOPPED
    assert process.cpu_times()[:2] == before[:2]
    ready.resume()
    assert ready.run(3).losses.shape == (3,)


def test_nothing_is_left_of_a_worker_that_was_left_paused(tmp_path: Path) -> None:
    """Leaving the context kills even a stopped process."""
    with start(tmp_path) as worker:
        worker.pause()
    assert not psutil.pid_exists(worker.pid)


def test_a_worker_dies_with_its_harness(tmp_path: Path) -> None:
    """When the harness is killed without a chance to clean up, even its paused worker goes."""
    source = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.test_workers import start
worker = start(Path({str(tmp_path)!r}))
worker.pause()
print(worker.pid, flush=True)
time.sleep(60)
"""
    with psutil.Popen([sys.executable, "-c", source], stdout=-1, text=True) as harness:
        worker = psutil.Process(int(harness.stdout.readline()))
        harness.kill()
    worker.wait(timeout=10)


def test_threads_and_cpus_are_set_before_the_framework_is_loaded(worker: Worker) -> None:
    """Every thread of every framework's worker is confined, and every library was told the same number."""
    cpus = set(worker.cpus)
    for thread in Path(f"/proc/{worker.pid}/task").iterdir():
        assert os.sched_getaffinity(int(thread.name)) == cpus
    pools = worker.thread_pools()
    assert all(pool["num_threads"] == len(cpus) for pool in pools), pools


def test_a_worker_can_import_nothing_of_the_harness(ready: Worker) -> None:
    """Where samenet is installed, its folder has the packages of another interpreter."""
    place = packages(ROOT, ready._log.parent)
    assert [path.name for path in place.iterdir()] == ["impls"]
    assert (place / "impls" / "worker.py").samefile(ROOT / "impls" / "worker.py")


def test_a_device_that_a_framework_does_not_find_skips_a_test_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with a GPU, too, whose driver may be too old for one framework."""
    monkeypatch.setattr(Worker, "missing_device", lambda _: "the driver is too old")
    case = Case(replace(NUMPY.implementation, devices=("tpu",)), Device("tpu"))
    with pytest.raises(pytest.skip.Exception, match="the driver is too old"), live_worker(case, tmp_path):
        pass
