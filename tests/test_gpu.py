"""GPUs: who may use one, what is read of it, and what a machine without one says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench import gpu
from bench.environments import find_interpreter
from bench.machine import choose_cpus
from bench.records import CaseRecord, GpuLoad, Round, State
from bench.reference import Reference
from bench.session import conclude
from bench.workers import Worker
from impls.registry import IMPLEMENTATIONS, Case, cases
from impls.workload import Workload, initial_params
from tests.conftest import ROOT, assert_agreement, make_split

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

QUIET = {"megahertz": 1980.0, "celsius": 40.0, "watts": 300.0, "joules": 10.0, "slowdown": "", "others": 0}
without_gpu = pytest.mark.skipif(bool(gpu.models()), reason="there is a GPU")
with_gpu = pytest.mark.skipif(not gpu.models(), reason="no NVIDIA GPU is here")

# The device's own clock beside the host's, over one run of torch that is a second long or so.
EVENTS = """
import sys, time
import numpy as np, torch
from impls.interface import Batches
from impls.torch_mlp import TorchTrainer
from impls.workload import Workload, initial_params
workload, rng = Workload(), np.random.default_rng(0)
images = rng.random((6000, 784), dtype=np.float32)
labels = rng.integers(0, 10, 6000).astype(np.int32)
trainer = TorchTrainer(workload, Batches(images, labels, 600), "cuda")
trainer.load(initial_params(workload))
trainer.run(100)
begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
start = time.perf_counter()
begin.record()
trainer.run(5000)
end.record()
torch.cuda.synchronize()
print((time.perf_counter() - start) / (begin.elapsed_time(end) / 1000))
"""


@without_gpu
def test_without_a_gpu_its_cases_are_skipped_and_say_so(bench: Bench) -> None:
    """One sentence for all of them, one for Theano, whose reason is another, and the CPU's have their numbers."""
    result = bench("-k", "numpy-cpu or [torch-cuda] or jax-scan-cuda or theano-cuda")
    assert result.returncode == 0, result.stdout
    assert "torch-cuda, jax-scan-cuda are skipped: no NVIDIA GPU is here" in result.stdout
    assert "theano-cuda is skipped: unsupported: Theano's GPU code needs libgpuarray" in result.stdout
    assert "1 passed, 3 skipped" in result.stdout


def test_each_gpu_that_is_asked_for_has_cases_of_its_own(bench: Bench) -> None:
    """``--gpu`` may be repeated; the first one needs no number."""
    result = bench("--gpu", "0", "--gpu", "2", "-k", "jax-scan", "--collect-only", "-q")
    found = [line.partition("[")[2].rstrip("]") for line in result.stdout.splitlines() if "[" in line]
    assert found == ["jax-scan-cpu", "jax-scan-cuda", "jax-scan-cuda:2"]
    assert gpu.index("cuda:2") == 2
    assert gpu.index("cuda") == 0
    assert gpu.index("cpu") is None


@pytest.mark.parametrize("name", ["jax", "jax-scan", "pytensor-jax"])
def test_a_second_device_trains_and_tells_what_its_data_cost(name: str, tmp_path: Path) -> None:
    """XLA makes two devices of a CPU: the second one's data are copied, which takes time; the first one's lie there."""
    implementation = next(each for each in IMPLEMENTATIONS if each.name == name)
    python = find_interpreter(implementation, {}, ROOT)
    told = {}
    for device in "cpu", "cpu:1":
        with Worker(
            *(Case(implementation, device), python, ROOT),
            cpus=choose_cpus(None),
            folder=tmp_path,
            environment={"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        ) as worker:
            worker.load_framework()
            assert_agreement(worker, Workload(hidden=33, batch_size=50), rows=500)
            told[device] = worker.transfer_seconds
    assert told["cpu"] is None
    assert told["cpu:1"]


def test_a_lane_for_gpus_only_has_no_case_on_the_cpu() -> None:
    """And the two halves of a framework differ in their manifests."""
    found = {case.id: case for case in cases()}
    assert {"cupy-cuda", "torch-cudagraph-cuda", "triton-cuda"} <= set(found)
    assert not {"cupy-cpu", "torch-cudagraph-cpu", "triton-cpu"} & set(found)
    assert found["torch-cpu"].manifest["blas"] != found["torch-cuda"].manifest["blas"]
    assert not found["torch-cuda"].unsupported(Workload())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"slowdown": "heat"}, "throttled by heat"),
        ({"others": 2}, "other processes were on its GPU: 2"),
    ],
)
def test_a_round_counts_only_on_a_gpu_of_its_own_at_full_clock(change: dict[str, object], reason: str) -> None:
    """A lowered clock or another process is a disturbance; its words are those of the states."""
    assert GpuLoad(**(QUIET | change)).disturbance == reason  # type: ignore[arg-type]


@with_gpu
def test_the_host_and_the_device_agree_on_the_time() -> None:
    """Wall time around ``run`` and CUDA's events around it differ by less than 1 %."""
    torch = next(each for each in IMPLEMENTATIONS if each.name == "torch")
    python = find_interpreter(torch, {}, ROOT)
    ratio = float(subprocess.check_output([python, "-c", EVENTS], cwd=ROOT, text=True))
    assert 0.99 < ratio < 1.01


TRITON = next(each for each in IMPLEMENTATIONS if each.name == "triton")

# Both kernels for a GPU that need not be here: Hopper's compute capability is 9.0, a warp has 32 threads.
COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from impls.triton_mlp import COLUMNS, DEPTH, INPUTS, ROWS, backward, forward
sizes = dict(batch=600, batches=83, inputs=784, units=500, classes=10, rows_tile=ROWS, columns_tile=COLUMNS)
sizes |= dict(inputs_tile=INPUTS, depth_tile=DEPTH, classes_tile=16, parts=8, precision=sys.argv[1])
integers = {"labels", "place", "place_before"}
for kernel in forward, backward:
    constants = {name: sizes[name] for name in kernel.arg_names if name in sizes}
    signature = {name: "*i32" if name in integers else "*fp32" for name in kernel.arg_names}
    signature |= {"learning_rate": "fp32"} if kernel is backward else {}
    signature |= dict.fromkeys(constants, "constexpr")
    made = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    print(made.metadata.shared, ".target sm_90" in made.asm["ptx"], len(made.asm["cubin"]) > 0)
"""


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
    split, initial = make_split(200, workload.inputs, workload.classes), initial_params(workload)
    reference, python = Reference(workload, split, initial), find_interpreter(TRITON, {}, ROOT)
    with Worker(
        *(Case(TRITON, "cpu"), python, ROOT),
        cpus=choose_cpus(None),
        folder=tmp_path,
        environment={"TRITON_INTERPRET": "1"},
    ) as worker:
        worker.load_framework()
        worker.build(workload, split, initial)
        losses = worker.run(reference.steps).losses
        parity = reference.judge(losses, worker.params())
        assert parity.verified, parity.sentence
        parts = [worker.run(3).losses, worker.run(reference.steps - 3, 3, worker.params()).losses]
    assert reference.follows(parts[0])
    assert parts[1].tolist() == losses[3:].tolist()


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_the_kernels_compile_for_a_gpu_that_is_not_here(precision: str) -> None:
    """To Hopper's machine code, and within the shared memory of one of its multiprocessors."""
    python = find_interpreter(TRITON, {}, ROOT)
    printed = subprocess.check_output([python, "-c", COMPILE, precision], cwd=ROOT, text=True).splitlines()
    assert len(printed) == 2
    for line in printed:
        shared, *found = line.split()
        assert found == ["True", "True"]
        assert 0 < int(shared) <= 227 * 1024


def test_the_least_time_of_a_step_follows_from_clocks_cores_and_bus() -> None:
    """An H200's, by NVML's figures: 67 TFLOP/s and 4.9 TB/s; what NVML does not tell leaves no bound."""
    told = {"cores": 16896, "core_megahertz": 1980, "memory_bits": 6144, "memory_megahertz": 3201}
    plain, matrix = (gpu.peak_of(**told, units=units) for units in (1, 8))
    assert plain
    assert matrix
    assert plain.flop_per_second == pytest.approx(67e12, rel=0.01)
    assert plain.bytes_per_second == pytest.approx(4.9e12, rel=0.01)
    assert plain.step_seconds(Workload()) == pytest.approx(0.9588e9 / 66.9e12, rel=0.001)
    assert matrix.step_seconds(Workload(hidden=1)) == pytest.approx(600 * 784 * 4 / 4.917e12, rel=0.001)
    assert gpu.peak_of(**told | {"memory_bits": 0}, units=1) is None
    assert gpu.peak("cpu", "float32") is None


def test_a_case_faster_than_its_hardware_is_unverified() -> None:
    """Half of the least time is no efficiency of 200 %; twice the least time is one of 50 %."""
    around = {"protocol": "iterations", "step_flops": 1, "iterations": 1}

    def on_gpu() -> CaseRecord:
        rounds = [Round(launch, 0, 0, launch, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, "") for launch in range(5)]
        return CaseRecord("torch-cuda", "torch", "cuda", rounds=rounds)

    assert conclude(on_gpu(), None, 0.5, around)["efficiency"]["value"] == pytest.approx(0.5)
    assert conclude(on_gpu(), None, None, around)["efficiency"] is None
    impossible = conclude(on_gpu(), None, 2.0, around)
    assert impossible["state"] == State.UNVERIFIED
    assert "200 %" in impossible["reason"]
