"""What the lanes give to a GPU, as far as it shows on a machine without one: compiled code, launches and transfers."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import weakref
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from impls.interface import Trainer
from impls.lanes import Case, Device
from impls.worker import Service, installed, pack, unpack
from impls.workload import Workload, initial_params
from samenet.environments import ROOT, environments, find_interpreter, installation
from samenet.errors import WorkerError
from samenet.machine import gpu
from samenet.machine.cpus import choose_cpus
from samenet.reference import Exact, train
from samenet.workers import Worker
from tests.support.data import make_split
from tests.support.workers import implementation

if TYPE_CHECKING:
    from impls.interface import Batches, Float32, Params

# Every script starts with these data: a small network and four minibatches of 50 images.
DATA = """
import json, re, sys
import numpy as np
from impls.interface import Batches
from impls.lanes import Device
from impls.workload import Workload, initial_params
workload, device, rng = Workload(hidden=33, batch_size=50), Device("cpu"), np.random.default_rng(0)
images = rng.random((200, 784), dtype=np.float32)
labels = rng.integers(0, 10, 200).astype(np.int32)
def made(trainer, workload):
    live = trainer(workload, trainer.place(Batches(images, labels, 50), device), device)
    live.load(initial_params(workload))
    return live
"""

# Both lanes of jax as XLA would get them for an NVIDIA GPU, and as it compiles those loops for the CPU that is here.
JAX = """
from dataclasses import replace
import jax
from impls.jax_lanes import LENGTHS
from impls.jax_mlp import JaxTrainer
from impls.jax_scan_mlp import of_fixed_length, training_loop, transpose_first
found = {"lanes": {}}
params = initial_params(workload)
weights = transpose_first(params)
for precision in "float32", "tf32", "bfloat16":
    described = replace(workload, precision=precision)
    plain = made(JaxTrainer, described)  # and the precision is set for both
    loop = of_fixed_length(training_loop(described, Batches(images, labels, 50)))
    traced = {
        "jax": plain._step.trace(params, 0, images, labels),
        "jax-scan": loop.trace(LENGTHS[0], weights, 0, images, labels),
    }
    for name, trace in traced.items():
        text = trace.lower(lowering_platforms=("cuda",)).as_text()
        dots = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        found["lanes"][f"{name} {precision}"] = {
            "products": [re.search(r"precision = .*?(?= :)", line).group() for line in dots],
            "donated": text.count("tf.aliasing_output") + text.count("jax.buffer_donor"),
            "doubles": "f64" in text,
        }
texts = {length: loop.lower(length, weights, 0, images, labels).compile().as_text() for length in LENGTHS}
found["lengths"] = LENGTHS
found["loops"] = {length: len(re.findall(r" while\\(", text)) for length, text in texts.items()}
found["counts"] = {length: re.findall(r'"known_trip_count":{"n":"(\\d+)"}', text) for length, text in texts.items()}
print(json.dumps(found))
"""

# How many arrays each run copies to the host; the count is taken where jax takes them.
TRANSFERS = """
import importlib
import jax
from impls import jax_mlp
module, _, name = sys.argv[1].partition(":")
live = made(getattr(importlib.import_module(module), name), workload)
copied, device_get = [], jax.device_get
def counting(tree):
    copied.extend(jax.tree.leaves(tree))
    return device_get(tree)
jax.device_get = counting
found = []
for on_cpu in (False, True):
    jax_mlp.is_on_cpu = lambda array: on_cpu
    copied.clear()
    live.load(initial_params(workload))
    found.append([live.run(120).tolist(), len(copied)])
print(json.dumps(found))
"""


def answer(lane: str, script: str, *arguments: str, **environment: str) -> Any:
    """Return what ``script`` prints, as JSON, in the interpreter of ``lane``."""
    python = find_interpreter(implementation(lane), {}, ROOT)
    command = [str(python), "-c", DATA + script, *arguments]
    printed = subprocess.check_output(command, cwd=ROOT, text=True, env=os.environ | environment)
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def lowered() -> Any:
    """Return what JAX finds."""
    return answer("jax", JAX, JAX_PLATFORMS="cpu")


PRODUCTS = {
    "float32": "precision = [HIGHEST, HIGHEST]",
    "tf32": "algorithm = <lhs_precision_type = tf32, rhs_precision_type = tf32, accumulation_type = f32",
    "bfloat16": "algorithm = <lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32",
}


@pytest.mark.parametrize("precision", PRODUCTS)
@pytest.mark.parametrize(("lane", "donated"), [("jax", 0), ("jax-scan", 4)])
def test_a_gpu_gets_five_products_of_the_precision_that_was_asked_for(
    lowered: Any, lane: str, donated: int, precision: str
) -> None:
    """No sum is wider than float32, and only the tuned lane gives its weights away."""
    found = lowered["lanes"][f"{lane} {precision}"]
    assert len(found["products"]) == 5
    assert all(PRODUCTS[precision] in product for product in found["products"]), found["products"]
    assert found["donated"] == donated
    assert not found["doubles"]


def test_xla_knows_how_many_steps_each_loop_has(lowered: Any) -> None:
    """Otherwise a GPU waits for the host before each step; a loop of one step is none."""
    for length in lowered["lengths"]:
        assert lowered["counts"][str(length)] == ([str(length)] if length > 1 else [])
        assert lowered["loops"][str(length)] == len(lowered["counts"][str(length)])


@pytest.mark.parametrize("lane", ["jax", "pytensor-jax"])
def test_losses_are_copied_to_the_host_many_at_a_time(lane: str) -> None:
    """A copy of a single one takes as long as a step: 120 of them need at most three, and none on the CPU."""
    from_gpu, on_cpu = answer(lane, TRANSFERS, implementation(lane).trainer, JAX_PLATFORMS="cpu")
    assert 1 <= from_gpu[1] <= 3
    assert on_cpu == [from_gpu[0], 0]
    assert len(on_cpu[0]) == 120


# What jax's lanes say of CUDA: with a device node of NVIDIA's or without one, whatever this machine has.
NO_DEVICE = """
from jax._src import hardware_utils
from impls.jax_mlp import count_devices
hardware_utils.has_visible_nvidia_gpu = lambda: sys.argv[1] == "node"
try:
    count_devices("cuda")
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
REGISTER = """
from jax._src import xla_bridge
def fail():
    raise RuntimeError("the driver is too old")
def initialize():
    xla_bridge.register_backend_factory("cuda", fail, fail_quietly=False)
"""


@pytest.mark.parametrize(
    ("node", "plug_in", "said"),
    [
        ("node", None, "jax has no plug-in for cuda"),
        ("none", None, "jax has no plug-in for cuda"),
        ("node", REGISTER, "Unable to initialize backend 'cuda': the driver is too old"),
        ("none", REGISTER, "jax sees no cuda device"),
    ],
)
def test_jax_says_whether_its_plug_in_or_a_device_is_missing(
    node: str, plug_in: str | None, said: str, tmp_path: Path
) -> None:
    """Each has another remedy; jax's own advice would let a case of the GPU run on the CPU."""
    if plug_in:
        package = tmp_path / "jax_plugins" / "xla_cuda13"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(plug_in)
    assert answer("jax", NO_DEVICE, node, JAX_PLATFORMS="cuda", PYTHONPATH=str(tmp_path)) == said


# The most shared memory (bytes) that a block may have by compute capability, and whether it multiplies TF32 in matrix
# units (CUDA Programming Guide, "Compute Capabilities").
GPUS = {75: (65536, False), 80: (166912, True), 86: (101376, True), 89: (101376, True)}
GPUS |= {90: (232448, True), 100: (232448, True), 120: (101376, True)}
SOME_GPUS = (75, 90)  # the others take 15 s more: SAMENET_ALL_GPUS=1

# Both kernels, compiled for GPUs that are not here; cuobjdump comes with Triton.
COMPILED = """
import subprocess, tempfile
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from impls.triton_mlp import COLUMNS, DEPTH, INPUTS, ROWS, backward, forward
integers, found = {"labels", "place", "place_before"}, []
for precision in "ieee", "tf32":
    sizes = dict(batch=600, batches=83, inputs=784, units=500, classes=10, rows_tile=ROWS, columns_tile=COLUMNS)
    sizes |= dict(inputs_tile=INPUTS, depth_tile=DEPTH, classes_tile=16, parts=8, precision=precision)
    for kernel in forward, backward:
        constants = {name: sizes[name] for name in kernel.arg_names if name in sizes}
        signature = {name: "*i32" if name in integers else "*fp32" for name in kernel.arg_names}
        signature |= {"learning_rate": "fp32"} if kernel is backward else {}
        signature |= dict.fromkeys(constants, "constexpr")
        for gpu in map(int, sys.argv[1:]):
            made = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", gpu, 32))
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                file.write(made.asm["cubin"])
                file.flush()
                command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
                usage = subprocess.check_output(command, text=True)
            text = made.asm["ptx"]
            found.append({
                "gpu": gpu, "precision": precision, "kernel": kernel.__name__,
                "shared": made.metadata.shared, "target": re.search(r"\\.target (sm_\\d+)", text).group(1),
                "spilled": [int(size) for size in re.findall(r"(?:STACK|LOCAL):(\\d+)", usage)],
                "mma": len(re.findall(r"mma\\S*\\.tf32", text)),
                "rounded": len(re.findall(r"and\\.b32.*, -8192;", text)),
            })
print(json.dumps(found))
"""


def test_the_kernels_fit_every_gpu_from_turing_to_blackwell(tmp_path: Path) -> None:
    """In shared memory and in registers; TF32 is rounded in the kernel and multiplied in matrix units."""
    gpus = GPUS if os.environ.get("SAMENET_ALL_GPUS") else SOME_GPUS
    found = answer("triton", COMPILED, *map(str, gpus), TRITON_CACHE_DIR=str(tmp_path))
    assert {(made["gpu"], made["precision"], made["kernel"]) for made in found} == {
        *product(gpus, ("ieee", "tf32"), ("forward", "backward"))
    }
    for made in found:
        most_shared, has_units = GPUS[made["gpu"]]
        is_tf32 = made["precision"] == "tf32"
        assert made["target"] == f"sm_{made['gpu']}"
        assert 0 < made["shared"] <= most_shared, made
        assert made["spilled"], made
        assert not any(made["spilled"]), made
        assert (made["mma"] > 0) is (is_tf32 and has_units), made
        assert (made["rounded"] > 0) is is_tf32, made


# Triton's own path from a call to a launch, for a Hopper GPU that counts what it gets instead of computing it.
COUNTED = """
from collections import Counter
from dataclasses import replace
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from impls.triton_mlp import TritonTrainer
loaded, launched = Counter(), Counter()
class Utils:
    def get_device_properties(self, device):
        return {"max_shared_mem": 232448}
    def load_binary(self, name, binary, shared, device):
        loaded[name] += 1
        return object(), name, 0, 0, 1024  # module, function, registers, spills, most threads
class Driver:
    utils = Utils()
    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)
    def get_current_device(self):
        return 0
    def get_current_stream(self, device):
        return 0
    def launcher_cls(self, source, metadata):
        return lambda x, y, z, stream, function, *rest: launched.update([function])
driver.set_active(Driver())
found = []
for changes in dict(learning_rate=1.0), dict(hidden=1, precision="tf32"):
    loaded.clear()
    live = made(TritonTrainer, replace(workload, **changes))
    launched.clear()
    live.run(45, 3)
    found.append([dict(loaded), dict(launched)])
print(json.dumps(found))
"""


def test_triton_compiles_each_kernel_once_and_launches_both_in_each_step(tmp_path: Path) -> None:
    """Whatever the alignment of a loss's address: nothing may be compiled while a graph is captured."""
    for loaded, launched in answer("triton", COUNTED, TRITON_CACHE_DIR=str(tmp_path)):
        assert loaded == {"forward": 1, "backward": 1}
        assert launched == {"forward": 45, "backward": 45}


class TF32(Exact):
    """Products whose operands have TF32's mantissa: ``half`` of its last place is added before the rest is cut off."""

    def __init__(self, half: int) -> None:
        """Round to nearest with 0x1000, and down with 0."""
        self._half = half

    def dot(self, a: Any, b: Any) -> Any:
        """Return the product of the rounded operands; the sums over a minibatch are not products in the kernels."""
        if len(a) == 1:
            return a @ b
        bits = (np.asarray(each, np.float32).view(np.int32) for each in (a, b))
        one, other = (((each + self._half) & -0x2000).view(np.float32).astype(np.float64) for each in bits)
        return one @ other


def test_the_kernels_round_tf32_to_nearest(tmp_path: Path) -> None:
    """The weights after some steps are those of rounded operands, not of operands that are cut off; NaN stays NaN."""
    workload, steps = Workload(hidden=33, batch_size=20, learning_rate=0.1, precision="tf32"), 5
    split, initial = make_split(60), initial_params(workload)
    case = Case(implementation("triton"), Device("cpu"))
    python, interpreted = find_interpreter(case.implementation, {}, ROOT), {"TRITON_INTERPRET": "1"}
    with Worker(case, python, ROOT, cpus=choose_cpus(None), folder=tmp_path, environment=interpreted) as worker:
        worker.load_framework()
        worker.build(workload, split, initial)
        worker.run(steps)
        params = worker.params()
        diverged = initial_params(workload)
        diverged[0].view(np.int32)[0, 0] = 0x7FFFFFFF  # the NaN that a GPU's arithmetic gives
        with pytest.raises(WorkerError, match="the loss of step 0 is nan"):
            worker.run(1, 0, diverged)
    distances = {}
    for name, arithmetic in {"nearest": TF32(0x1000), "cut": TF32(0), "float32": Exact()}.items():
        _, expected = train(workload, split, initial, steps, arithmetic)
        distances[name] = max(float(abs(own - right).max()) for own, right in zip(params, expected, strict=True))
    assert 3 * distances["nearest"] < min(distances["cut"], distances["float32"]), distances


# torch-cudagraph on the CPU, with a loop for its graphs and a step that is not compiled; and the plain lane of torch.
UNCAPTURED = """
import torch
from impls.torch_cudagraph_mlp import TorchCudagraphTrainer
from impls.torch_lanes import CHUNK
from impls.torch_mlp import TorchTrainer
torch.compiler.set_stance("force_eager")
plain, graphs = made(TorchTrainer, workload), made(TorchCudagraphTrainer, workload)
steps = 2 * CHUNK + 3
right, own = plain.run(steps, 3), graphs.run(steps, 3)
np.testing.assert_allclose(own, right, rtol=1e-4)
for mine, theirs in zip(graphs.params(), plain.params(), strict=True):
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
graphs.load(initial_params(workload))
parts = [graphs.run(CHUNK + 1, 3), graphs.run(CHUNK + 2, CHUNK + 4)]
print(json.dumps(bool((np.concatenate(parts) == own).all())))
"""


def test_the_captured_lane_without_its_graphs_trains_as_the_plain_one() -> None:
    """The place on the device, the buffers, chunks and single steps, past a wrap-around and from a later minibatch."""
    assert answer("torch", UNCAPTURED)


def test_a_case_on_a_gpu_prefers_the_environment_that_has_cudas_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as its driver supports them; a case on the CPU keeps its own, and ``--python`` comes before both."""
    monkeypatch.setenv("TOX_WORK_DIR", str(tmp_path))
    lane, cpu, cuda = implementation("jax"), Device("cpu"), Device("cuda", 1)
    for environment, expected in {"jax": "jax", "jax-cuda12": "jax-cuda12", "jax-cuda13": "jax-cuda13"}.items():
        python = tmp_path / environment / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        assert find_interpreter(lane, {}, ROOT, cuda) == tmp_path / expected / "bin" / "python"
        assert find_interpreter(lane, {}, ROOT, cpu) == tmp_path / "jax" / "bin" / "python"
    assert find_interpreter(lane, {"jax": Path("/mine")}, ROOT, cuda) == Path("/mine")
    monkeypatch.setattr(gpu, "cuda_version", lambda: 12)
    assert find_interpreter(lane, {}, ROOT, cuda) == tmp_path / "jax-cuda12" / "bin" / "python"
    # torch's plain environment is the one for CUDA 13.
    assert environments(implementation("torch"), cuda, ROOT)[0] == "torch-cuda12"
    monkeypatch.setattr(gpu, "cuda_version", lambda: 13)
    assert environments(implementation("torch"), cuda, ROOT)[0] == "torch"


@pytest.mark.parametrize(
    ("name", "kind", "version", "environment"),
    [
        ("jax", "cpu", 12, "jax"),
        ("jax", "cuda", 13, "jax-cuda13"),
        ("jax", "cuda", 12, "jax-cuda12"),
        ("torch", "cuda", 13, "torch"),
        ("torch", "cuda", 12, "torch-cuda12"),
        ("cupy", "cuda", None, "cupy"),
        ("cupy", "cuda", 12, "cupy-cuda12"),
        ("triton", "cuda", 14, "triton"),
    ],
)
def test_what_is_missing_for_a_gpu_is_installed_for_its_driver(
    name: str, kind: str, version: int | None, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason of a skipped case has the command."""
    monkeypatch.setattr(gpu, "cuda_version", lambda: version)
    assert installation(implementation(name), Device(kind), ROOT) == f"tox run -e {environment}"


def test_the_environments_for_a_gpu_have_the_pins_of_those_for_a_cpu() -> None:
    """Their extras and their builds differ, and nothing else."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    endings = [section.rpartition("-") for section in tox.sections() if re.search("-cuda1[23]$", section)]
    assert len(endings) == 7
    for section, _, ending in endings:
        pins = [{PIN.sub(r"\1\2", line) for line in pins_of(tox[each])} for each in (section, f"{section}-{ending}")]
        assert pins[0] == pins[1]
    assert any("[ctk]" in line for line in pins_of(tox["testenv:cupy"]))


# A pin's name without CUDA's version, its extra, and its version without the build.
PIN = re.compile(r"^(\w+)(?:-cuda1[23]x)?(?:\[\w+\])?(==[\d.]+)(?:\+cu126)?$")


def pins_of(section: configparser.SectionProxy) -> list[str]:
    """Return what a tox environment installs."""
    return [line for line in section["deps"].splitlines() if "==" in line]


def test_another_build_of_a_package_has_a_version_too() -> None:
    """There is a cupy for each version of CUDA; without metadata the version is the module's own, or unknown."""
    assert installed("numpy") == ("numpy", np.__version__)
    assert installed("numpy-cuda13x") == ("numpy", np.__version__)
    assert installed("absent-cuda13x") == ("absent-cuda13x", "unknown")


class SelfReferring(Trainer):
    """Holds itself, as trainers do whose graph needs buffers of theirs; ``before`` is how many others were alive."""

    alive: ClassVar[weakref.WeakSet[SelfReferring]] = weakref.WeakSet()

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Count the others."""
        self.itself, self.before = self, len(SelfReferring.alive)
        SelfReferring.alive.add(self)

    def load(self, params: Params) -> None:
        """Do nothing."""

    def run(self, steps: int, first: int = 0) -> Float32:
        """Return how many others there were."""
        return np.full(steps, self.before, np.float32)

    def params(self) -> Params:
        """Return no weights."""
        return ()


def test_a_second_build_does_not_need_memory_for_two_trainers() -> None:
    """One that holds itself is collected before the next one is made."""
    service, split = Service(), make_split(4, 9)
    service.load_framework(f"{__name__}:{SelfReferring.__name__}")
    described = {"hidden": 3, "inputs": 9, "batch_size": 2}
    for _ in range(2):
        service.build(described, pack(split.images), pack(split.labels), [], "cpu")
        assert unpack(service.run(1)["losses"]).tolist() == [0]
