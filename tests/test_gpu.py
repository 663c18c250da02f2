"""GPUs: who may use one, what is read of it, and what a machine without one says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from impls.lanes import Case, Device
from impls.registry import cases
from impls.workload import Workload, initial_params
from samenet.environments import ROOT, find_interpreter
from samenet.machine import gpu
from samenet.machine.cpus import choose_cpus
from samenet.records import Disturbance, GpuLoad, State
from samenet.reference import Reference
from samenet.workers import Worker
from studies import clocks
from tests.support.data import make_split
from tests.support.workers import assert_agreement, implementation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command_line import Bench

QUIET = GpuLoad(megahertz=1980.0, celsius=40.0, watts=300.0, joules=10.0)
without_gpu = pytest.mark.skipif(bool(gpu.models()), reason="there is a GPU")
with_gpu = pytest.mark.skipif(not gpu.models(), reason="no NVIDIA GPU was found")

# What the script about the clocks asks of CUDA, by the host's clock, which runs ``FACTOR`` times as fast on the device.
EVENTS = """
import time, torch
class Event:
    def __init__(self, enable_timing):
        pass
    def record(self):
        self.seconds = time.perf_counter()
    def elapsed_time(self, end):
        return 1000 * FACTOR * (end.seconds - self.seconds)
torch.cuda.Event, torch.cuda.synchronize = Event, lambda: None
"""


@without_gpu
def test_without_a_gpu_its_cases_are_skipped_and_say_so(bench: Bench) -> None:
    """One sentence for all of them, one for Theano, whose reason is another."""
    result = bench("-k", "[torch-cuda] or [jax-scan-cuda] or theano-cuda")
    assert result.returncode == 0, result.stdout
    assert "torch-cuda, jax-scan-cuda are skipped: no NVIDIA GPU was found" in result.stdout
    assert "theano-cuda is skipped: unsupported: Theano's GPU code needs libgpuarray" in result.stdout
    assert "3 skipped" in result.stdout


def test_each_gpu_that_is_asked_for_has_cases_of_its_own(bench: Bench) -> None:
    """``--gpu`` may be repeated; the first one needs no number."""
    result = bench("--gpu", "0", "--gpu", "2", "-k", "[jax-scan", "--collect-only", "-q")
    found = [line.partition("[")[2].rstrip("]") for line in result.stdout.splitlines() if "[" in line]
    assert found == ["jax-scan-cpu", "jax-scan-cuda", "jax-scan-cuda:2"]


@pytest.mark.parametrize("name", ["jax", "jax-scan", "pytensor-jax"])
def test_a_second_device_trains_and_reports_what_its_data_cost(name: str, tmp_path: Path) -> None:
    """XLA makes two devices of a CPU: the second one's data are copied, which takes time; the first one's lie there."""
    lane, transfers = implementation(name), []
    for device in Device("cpu"), Device("cpu", 1):
        with Worker(
            *(Case(lane, device), find_interpreter(lane, {}, ROOT), ROOT),
            cpus=choose_cpus(None),
            folder=tmp_path,
            environment={"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        ) as worker:
            worker.load_framework()
            assert_agreement(worker, Workload(hidden=33, batch_size=50), rows=500)
            transfers.append(worker.transfer_seconds)
    on_first, on_second = transfers
    assert on_first is None
    assert on_second


def test_a_lane_for_gpus_only_has_no_case_on_the_cpu() -> None:
    """And the two halves of a framework differ in their manifests."""
    found = {case.id: case for case in cases()}
    assert {"cupy-cuda", "torch-cudagraph-cuda", "triton-cuda"} <= set(found)
    assert not {"cupy-cpu", "torch-cudagraph-cpu", "triton-cpu"} & set(found)
    assert found["torch-cpu"].manifest["blas"] != found["torch-cuda"].manifest["blas"]
    assert not found["torch-cuda"].unsupported(Workload())


@pytest.mark.parametrize(
    ("load", "disturbance"),
    [
        (QUIET, None),
        (GpuLoad(), None),
        (replace(QUIET, slowdown="heat"), Disturbance(State.THROTTLED, "throttled by heat")),
        (replace(QUIET, others=2), Disturbance(State.CONTENDED, "other processes were on its GPU: 2")),
    ],
)
def test_a_round_counts_only_on_a_gpu_of_its_own_at_full_clock(load: GpuLoad, disturbance: Disturbance | None) -> None:
    """A lowered clock or another process is a disturbance; what is unknown is none."""
    assert load.disturbance == disturbance


class FakeError(Exception):
    """What the fake NVML raises."""


class FakeNvml:
    """A driver with two GPUs that answers what ``answers`` has, by the names of NVML's functions."""

    NVMLError = FakeError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, **answers: object) -> None:
        """Answer ``answers``."""
        self.answers: dict[str, Any] = {"Init": None, "DeviceGetCount": 2, "DeviceGetHandleByIndex": "a handle"}
        self.answers |= answers

    def __getattr__(self, name: str) -> Any:
        """Return the function that is called ``name``."""

        def answer(*_: object) -> Any:
            try:
                return self.answers[name.removeprefix("nvml")]
            except KeyError:
                raise FakeError(name) from None

        return answer


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    """Replace NVML by a fake with two GPUs that answers nothing else."""
    fake = FakeNvml()
    monkeypatch.setattr(gpu, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu.unavailable.cache_clear()
    yield fake
    gpu.unavailable.cache_clear()


@pytest.mark.parametrize(
    ("chosen", "number", "reason"),
    [
        (None, 1, ""),
        (None, 2, "GPU 2 was not found; the driver reports 2"),
        ("1", 0, ""),
        ("0,nonsense,1", 1, "GPU 1 was not found; CUDA_VISIBLE_DEVICES shows 1 of the 2 that the driver reports"),
        ("", 0, "no NVIDIA GPU was found; CUDA_VISIBLE_DEVICES shows none of the 2 that the driver reports"),
    ],
)
def test_a_missing_gpu_has_its_reason(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, chosen: str | None, number: int, reason: str
) -> None:
    """As CUDA counts them, which stops at the first that is missing."""
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpu.missing(number) == reason


WITHOUT_NVML = """
import sys
sys.modules["pynvml"] = None
import samenet
from samenet.machine import gpu
from samenet.machine.description import describe
assert describe((0,)).gpu_driver is None
assert gpu.models() == []
print(gpu.missing(0))
"""


def test_without_nvidia_ml_py_there_is_no_gpu_and_the_reason_says_so() -> None:
    """The machine can be described, and a case on a GPU learns what to install."""
    printed = subprocess.check_output([sys.executable, "-c", WITHOUT_NVML], cwd=ROOT, text=True)
    assert printed.strip().endswith("nvidia-ml-py is not installed; run: pip install nvidia-ml-py")


@with_gpu
def test_the_host_and_the_device_agree_on_the_time(tmp_path: Path) -> None:
    """Wall time around ``run`` and CUDA's events around it differ by less than 1 %, so ``run`` waits for the device."""
    device = Device("cuda")
    command = [clocks.interpreter(device), "-c", clocks.CLOCKS, str(device), "5000"]
    subprocess.run(command, cwd=ROOT, env=clocks.environment(device, tmp_path), check=True)


@pytest.mark.parametrize(("factor", "code"), [(1, 0), (0.98, 1), (1.02, 1)])
def test_clocks_that_disagree_end_with_an_exit_code(factor: float, code: int, tmp_path: Path) -> None:
    """The same script on the CPU, whose events are the host's clock times a factor."""
    device = Device("cpu")
    script = f"FACTOR = {factor}\n{EVENTS}{clocks.CLOCKS}"
    command = [clocks.interpreter(device), "-c", script, str(device), "5"]
    variables = clocks.environment(device, tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.count("ratio") == 5
    assert ("differ by more than 1 %" in done.stderr) is bool(code)


TRITON = implementation("triton")


@pytest.mark.parametrize(
    "workload",
    [
        Workload(hidden=33, batch_size=7, learning_rate=0.1),
        Workload(inputs=17, hidden=70, classes=3, batch_size=64, seed=2, learning_rate=0.5),
    ],
    ids=lambda workload: workload.network,
)
def test_the_kernels_agree_with_the_reference_in_tritons_interpreter(workload: Workload, tmp_path: Path) -> None:
    """Their arithmetic is that of every other lane, in tiles that the sizes do not fill, past a wrap-around."""
    rows = 3 * workload.batch_size  # the interpreter takes its time
    split, initial = make_split(rows, workload.inputs, workload.classes), initial_params(workload)
    reference, python = Reference(workload, split, initial), find_interpreter(TRITON, {}, ROOT)
    with Worker(
        *(Case(TRITON, Device("cpu")), python, ROOT),
        cpus=choose_cpus(None),
        folder=tmp_path,
        environment={"TRITON_INTERPRET": "1"},
    ) as worker:
        worker.load_framework()
        worker.build(workload, split, initial)
        losses = worker.run(reference.steps).losses
        parity = reference.judge(losses, worker.params())
        assert parity.verified, parity.sentence
        parts = [worker.run(2).losses, worker.run(reference.steps - 2, 2, worker.params()).losses]  # amid a pass
    assert reference.follows(parts[0])
    assert parts[1].tolist() == losses[2:].tolist()


def test_the_least_time_of_a_step_follows_from_clocks_cores_and_bus() -> None:
    """An H200's, by NVML's figures: 67 TFLOP/s and 4.9 TB/s; with an unknown there is no bound."""
    h200 = {"cores": 16896, "core_megahertz": 1980, "memory_bits": 6144, "memory_megahertz": 3201}
    plain, matrix = (gpu.peak_of(**h200, units=units) for units in (1, 8))
    assert plain
    assert matrix
    assert plain.flop_per_second == pytest.approx(67e12, rel=0.01)
    assert plain.bytes_per_second == pytest.approx(4.9e12, rel=0.01)
    assert plain.step_seconds(Workload(), 50_000) == pytest.approx(0.9588e9 / 66.9e12, rel=0.001)
    narrow, minibatch = Workload(hidden=1), 600 * 784 * 4 / 4.917e12
    uncached = 1 - 128 * 2**20 / (50_000 * 784 * 4)
    assert matrix.step_seconds(narrow, 10**9) == pytest.approx(minibatch, rel=0.001)
    assert matrix.step_seconds(narrow, 50_000) == pytest.approx(uncached * minibatch, rel=0.001)
    assert matrix.step_seconds(narrow, 5_000) == narrow.step_flops / matrix.flop_per_second  # a cache may hold them
    assert gpu.peak_of(**h200, units=None) is None
    assert gpu.peak_of(**h200 | {"memory_bits": None}, units=1) is None
