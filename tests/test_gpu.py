"""GPUs: who may use one, what is read of it, and what a machine without one says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench import gpu
from bench.environments import find_interpreter
from bench.records import GpuLoad
from impls.registry import IMPLEMENTATIONS, cases
from impls.workload import Workload
from tests.conftest import ROOT

if TYPE_CHECKING:
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


def test_a_lane_for_gpus_only_has_no_case_on_the_cpu() -> None:
    """And the two halves of a framework differ in their manifests."""
    found = {case.id: case for case in cases()}
    assert {"cupy-cuda", "torch-cudagraph-cuda"} <= set(found)
    assert not {"cupy-cpu", "torch-cudagraph-cpu"} & set(found)
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
