"""Devices: which ones a worker sees, what the frameworks answer, and what is refused before anything is measured."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bench.options import accelerator
from impls.devices import KINDS
from impls.lanes import Case, Device
from impls.registry import cases
from impls.worker import reason
from reports import chapter, sentences, tables
from samenet import preparation
from samenet.comparison import RevisionComparison
from samenet.environments import ROOT
from samenet.errors import SettingsError
from samenet.failures import last_words
from samenet.live_round import LONG_BLOCKS, long_spans
from samenet.machine import gpu
from samenet.machine.cpus import choose_cpus
from samenet.machine.devices import is_absent
from samenet.plan import Entry, Role
from samenet.preparation import companions, enter, find_case
from samenet.protocols import Settings
from samenet.records import State
from samenet.revision import check_out
from samenet.rounds import steps_for
from samenet.worker_environment import environment_of
from samenet.workers import Worker
from tests.support.campaigns import campaign, plan
from tests.support.saved_runs import case_result, training_result
from tests.support.workers import implementation, interpreter_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samenet.results import CaseResult

TORCH, JAX = implementation("torch"), implementation("jax")
KIND_ROW = r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \| (\w+) \|$"
SELECTORS = {kind.selector for kind in KINDS.values()}
without_gpu = pytest.mark.skipif(bool(gpu.models()), reason="there is a GPU")


def entered(*selected: Case) -> list[Entry]:
    """Return the entries of cases, whatever the machine has."""
    return [Entry(label=case.id, case=case, python=interpreter_for(case), root=ROOT) for case in selected]


def measured(tmp_path: Path, members: Sequence[Entry]) -> dict[str, CaseResult]:
    """Return the results of a small campaign of ``members``."""
    return campaign(plan(), list(members), tmp_path).run()


@pytest.mark.parametrize("name", ["cpu", *KINDS])
def test_a_worker_sees_its_own_device_and_no_other(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that the caller lists; each framework would open a context on whatever it sees."""
    for variable in SELECTORS:
        monkeypatch.setenv(variable, "5,7")
    monkeypatch.setattr(gpu, "uuid", lambda number: None)
    environment = environment_of(Case(TORCH, Device(name, 0 if name == "cpu" else 1)), 1, tmp_path)
    seen = {variable: environment[variable] for variable in SELECTORS & set(environment)}
    expected = {kind.selector: kind.hidden for kind in KINDS.values() if kind.hidden is not None}
    if name != "cpu":
        expected[KINDS[name].selector] = KINDS[name].selection.format("7")
    assert seen == expected
    assert environment["JAX_PLATFORMS"] == (KINDS[name].jax or "cpu" if name != "cpu" else "cpu")


def test_an_nvidia_gpu_is_selected_by_its_uuid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number means another GPU in another order, or in a container."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setattr(gpu, "uuid", lambda number: f"GPU-{number}")
    assert environment_of(Case(TORCH, Device("cuda", 1)), 1, tmp_path)["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_a_worker_is_told_of_the_one_device_that_it_sees() -> None:
    """It has number 0 there; torch's build for HIP calls it cuda."""
    assert str(Device("cuda", 3).in_worker) == "cuda"
    assert str(Device("cpu", 1).in_worker) == "cpu:1"
    assert [Device(*each).in_torch for each in (("cpu",), ("cuda", 1), ("rocm",), ("xpu",))] == [
        *("cpu", "cuda:1", "cuda", "xpu")
    ]


@without_gpu
def test_a_framework_that_finds_no_device_skips_its_case(tmp_path: Path) -> None:
    """Not failed, whatever the driver says; the reason has the framework's own words and a remedy."""
    on_gpu = [Case(implementation(name), Device("cuda")) for name in ("torch", "jax", "pytensor-jax")]
    others = [Case(TORCH, Device("xpu")), Case(JAX, Device("rocm")), Case(JAX, Device("tpu"))]
    results = measured(tmp_path, entered(*on_gpu, *others, Case(implementation("numpy"), Device("cpu"))))
    reasons = {case: result.reason for case, result in results.items() if result.state is State.SKIPPED}
    assert results["numpy-cpu"].state is not State.SKIPPED
    assert len(reasons) == len(on_gpu) + len(others)
    assert "no cuda device (AssertionError: Torch not compiled with CUDA enabled); install" in reasons["torch-cuda"]
    for name in ("jax", "pytensor"):
        case = "jax-cuda" if name == "jax" else "pytensor-jax-cuda"
        assert "no cuda device (RuntimeError: jax has no plug-in for cuda); run: tox run -e " in reasons[case]
        assert reasons[case].endswith(f"-e {name}-cuda13")
    assert "no xpu device (AssertionError: Torch not compiled with XPU enabled); install" in reasons["torch-xpu"]
    assert "no rocm device (RuntimeError: jax has no plug-in for rocm); install" in reasons["jax-rocm"]
    assert "JAX_PLATFORMS" not in reasons["jax-tpu"]
    assert reasons["jax-tpu"].endswith("; install jax[tpu]")


def missing_after(code: str, tmp_path: Path) -> str:
    """Return what a worker of torch says of a GPU if ``code`` has run first."""
    (tmp_path / "sitecustomize.py").write_text(code)
    case, variables = Case(TORCH, Device("cuda")), {"PYTHONPATH": str(tmp_path)}
    python, cpus = interpreter_for(case), choose_cpus(1)
    with Worker(case, python, ROOT, cpus=cpus, folder=tmp_path, environment=variables) as worker:
        worker.load_framework()
        return worker.missing_device()


def test_a_kind_that_torch_is_not_built_for_has_no_devices(tmp_path: Path) -> None:
    """CUDA and HIP are both called cuda by torch: its builds are told apart."""
    code = "import torch; torch.version.hip = '6.4'\n"
    assert "no cuda device (RuntimeError: this torch is built for HIP); install" in missing_after(code, tmp_path)


def test_a_device_that_torch_counts_and_cannot_use_is_missing(tmp_path: Path) -> None:
    """As a GPU is for which the build has no code: torch warns, and the first product fails."""
    code = "import torch\ntorch.cuda.init = lambda: None\ntorch.cuda.device_count = lambda: 1\n"
    code += "def ones(*shape, **options):\n raise RuntimeError('no kernel image')\ntorch.ones = ones\n"
    assert "no cuda device (RuntimeError: no kernel image); install" in missing_after(code, tmp_path)


def test_other_vendors_are_selected_by_their_kind() -> None:
    """A number alone is an NVIDIA GPU; each option brings the cases of the lanes that can use it."""
    assert [accelerator(text) for text in ("2", "rocm", "xpu:1")] == [
        *(Device("cuda", 2), Device("rocm"), Device("xpu", 1))
    ]
    found = {case.id for case in cases((Device("rocm", 1), Device("tpu")))}
    assert {"torch-cpu", "torch-rocm:1", "jax-rocm:1", "jax-tpu"} <= found
    assert not {"torch-cuda", "torch-rocm", "torch-tpu", "triton-rocm:1"} & found
    assert find_case("torch-xpu:1").device == Device("xpu", 1)
    assert not is_absent(Device("rocm"))  # nothing but its framework can say
    blas = {case.id: case.manifest["blas"] for case in cases((Device("rocm"), Device("cuda")))}
    assert (blas["torch-cuda"], blas["torch-rocm"]) == ("cuBLAS", "hipBLAS")


def test_the_docs_have_the_table_of_kinds() -> None:
    """Which variable selects one, and what watches it."""
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    rows = {name: (selector, monitor) for name, selector, monitor in re.findall(KIND_ROW, text, re.MULTILINE)}
    assert rows == {
        kind.name: (kind.selector, kind.monitor.value.replace("none", "nothing")) for kind in KINDS.values()
    }


@pytest.mark.parametrize("text", ["cpu", "mps", "gpu", "-1", "cuda:x", ""])
def test_what_is_no_device_here_is_refused_in_a_sentence(text: str) -> None:
    """``mps`` has its own reason."""
    refusal = "samenet needs Linux" if text == "mps" else "is not a GPU; write a whole number"
    with pytest.raises(argparse.ArgumentTypeError, match=refusal):
        accelerator(text)
    if text == "mps":
        with pytest.raises(SettingsError, match=refusal):
            find_case("torch-mps")


def test_without_a_case_on_the_cpu_its_bound_is_not_measured() -> None:
    """Its matrix products would take longer than all rounds of a GPU."""
    on_cpu, on_gpu = entered(Case(TORCH, Device("cpu")), Case(TORCH, Device("cuda")))
    roles = [[each.role for each in companions(some, plan(), Settings())] for some in ([on_gpu], [on_cpu, on_gpu])]
    assert Role.BOUND not in roles[0]
    assert Role.BOUND in roles[1]


@pytest.mark.parametrize(
    ("capability", "precision", "expected"),
    [
        ((7, 5), "tf32", "unsupported: tf32 needs a GPU of compute capability 8.0 or more; that of cuda is 7.5"),
        (
            (7, 5),
            "bfloat16",
            "unsupported: bfloat16 needs a GPU of compute capability 8.0 or more; that of cuda is 7.5",
        ),
        (None, "tf32", "unsupported: tf32 needs a GPU of compute capability 8.0 or more; that of cuda is unknown"),
        ((7, 5), "float32", ""),
        ((8, 0), "tf32", ""),
        ((12, 0), "bfloat16", ""),
    ],
)
def test_a_precision_is_offered_where_the_chip_has_it(
    capability: tuple[int, int] | None, precision: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch would compute in float32 where TF32 was asked for, and the number would be under a wrong label."""
    monkeypatch.setattr(gpu, "capability", lambda number: capability)
    monkeypatch.setattr(preparation, "is_absent", lambda device: "")
    case = Case(TORCH, Device("cuda"))
    workload = replace(plan().workload, precision=precision)
    skipped, members = enter([case], plan(workload=workload), Settings())
    assert skipped.get(case, "") == expected
    assert len(members) == (not expected)


def test_two_gpus_are_apart_in_every_table_and_sentence() -> None:
    """The times of one never take the place of the other's, and each cell says what it is of."""
    times = {"cpu": 600.0, "cuda": 60.0, "cuda:1": 80.0, "rocm": 90.0}
    found = chapter.table([[training_result("jax", time, device=device) for device, time in times.items()]]).frame
    rows = {row["implementation"]: (row["CPU (s)"], row["GPU (s)"]) for _, row in found.iloc[2:].iterrows()}
    assert rows == {"jax": ("600.0", "60.0"), "jax on cuda:1": ("", "80.0"), "jax on rocm": ("", "90.0")}
    assert found["target"].iloc[2].count("% after") == 2
    assert "(cpu)" in found["target"].iloc[2]
    assert "(cuda)" in found["target"].iloc[2]

    results = [case_result("jax", time / 100, device=device) for device, time in times.items()]
    names = [row.cells["implementation"] for row in tables.gpu(results).rows][1:]
    assert names == ["jax", "jax on cuda:1", "jax on rocm"]
    said = sentences.verdict(results, "jax-cpu")
    for device in list(times)[1:]:
        assert f"as fast as jax-cpu on {device}" in said
    assert "as fast as jax-cpu on this GPU" in sentences.verdict(results[:2], "jax-cpu")
    assert "jax-cuda:1 is the fastest case on this GPU" in sentences.verdict(results[2:3], "jax-cpu")
    tpu = case_result("jax", 0.5, device="tpu")
    assert "jax-tpu is the fastest case on this TPU" in sentences.verdict([tpu], "jax-cpu")


def test_a_failure_on_the_gpu_is_not_the_state_of_the_cpus_time() -> None:
    """The state in a row names the device where the two differ."""
    lost = replace(training_result("jax", device="cuda"), state=State.FAILED, reason="lost", seconds=None)
    cases = [training_result("jax", 600.0), lost]
    row = chapter.table([cases]).frame.iloc[2]
    assert row["state"] == "valid (cpu), failed (cuda)"
    assert (row["CPU (s)"], row["GPU (s)"]) == ("600.0", "")


def test_the_second_gpu_has_its_former_case_too() -> None:
    """A revision lists the cases of one GPU."""
    revision = check_out("HEAD", ROOT)
    present = entered(Case(TORCH, Device("cuda", 1)))
    (_, former) = RevisionComparison.of(revision, Settings(), present, ROOT).entries
    assert former.case.id == "torch-cuda:1"
    assert revision.find(Case(replace(TORCH, name="absent"), Device("cpu"))) is None


@pytest.mark.parametrize(("iterations", "block_steps"), [(1000, 5000), (1000, 100), (20, 1), (7, 3)])
def test_the_blocks_of_a_gpu_are_long_and_have_no_gaps(iterations: int, block_steps: int) -> None:
    """Five or more, none shorter than asked for, through all iterations at least."""
    made = long_spans(iterations, block_steps)
    assert len(made) >= LONG_BLOCKS
    assert min(span.steps for span in made) >= block_steps
    assert [span.first for span in made[1:]] == [span.end for span in made[:-1]]
    assert made[0].first == 0
    assert made[-1].end >= iterations


def test_the_steps_of_a_block_follow_from_long_runs() -> None:
    """Of a short one, what a run costs besides its steps makes each of them seem longer than it is."""
    assert 0.098 <= 20e-6 * steps_for(0.1, lambda steps: 0.002 + 20e-6 * steps) <= 0.1


@pytest.mark.parametrize("stalled", [{0}, {1}, {2}, {3}, {0, 1}, {1, 2}])
def test_a_moment_without_the_cpu_does_not_shorten_the_blocks(stalled: set[int]) -> None:
    """Any of the runs may have one, or two: in short blocks a round would take many times as long."""
    runs = count()

    def run(steps: int) -> float:
        return 1e-4 * steps + (0.08 if next(runs) in stalled else 0)

    assert 450 <= steps_for(0.05, run) <= 500


def test_no_run_is_longer_than_a_round_to_find_the_length_of_blocks() -> None:
    """A trainer that leaves steps out would be asked for more and more of them."""
    asked: list[int] = []

    def run(steps: int) -> float:
        asked.append(steps)
        return 1e-3

    assert steps_for(0.05, run, most=3000) == 3000
    assert max(asked) < 3000


def test_a_gpu_has_long_blocks_and_the_errors_of_its_iterations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short its steps are; a device of an unknown kind stands for the GPU, and numpy computes on it."""
    monkeypatch.setattr(gpu, "WARM_UP_SECONDS", 0.01)
    quick = replace(implementation("numpy"), devices=("other",))
    members = entered(Case(implementation("numpy"), Device("cpu")), Case(quick, Device("other")))
    small = plan(iterations=20, marks=(10,), rounds=1)
    results = campaign(small, members, tmp_path).run()
    on_cpu, on_gpu = results["numpy-cpu"], results["numpy-other"]
    assert len({each.turn for each in on_gpu.rounds}) >= LONG_BLOCKS
    assert all((each.steps or 0) > 20 for each in on_gpu.rounds)
    assert len(on_gpu.losses) == len(on_cpu.losses) == 20
    assert on_gpu.losses == pytest.approx(on_cpu.losses, rel=1e-5)
    assert on_gpu.error_rates == on_cpu.error_rates
    assert [point.updates for point in on_gpu.curve] == [point.updates for point in on_cpu.curve]


# The beginnings of real messages: of torch's compiler, of a callback in jax, of a GPU's memory in either.
MESSAGES = {
    "backend='inductor' raised:\nCppCompileError: C++ compile error\n\nCommand:\ng++ x.cpp": (
        "backend='inductor' raised: CppCompileError: C++ compile error"
    ),
    "INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):\n"
    '  File "x.py", line 12, in <lambda>\n    1 / 0\n    ~^~\nZeroDivisionError: division by zero\n': (
        "INTERNAL: CpuCallback error calling callback: ZeroDivisionError: division by zero"
    ),
    "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/\nCUDA kernel errors"
    " might be asynchronously reported\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n": (
        "CUDA error: out of memory"
    ),
    "RESOURCE_EXHAUSTED: Out of memory allocating 70368744177664 bytes.\n--------------------\n"
    "For simplicity, JAX has removed its internal frames from the traceback of the following exception.": (
        "RESOURCE_EXHAUSTED: Out of memory allocating 70368744177664 bytes."
    ),
    "nothing follows:": "nothing follows:",
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.items(), ids=MESSAGES.values())
def test_a_frameworks_advice_is_not_the_reason(message: str, expected: str) -> None:
    """Where a line announces another error, that is a part of it."""
    assert reason(RuntimeError(message)) == f"RuntimeError: {expected}"


def test_the_last_words_of_a_log_are_those_of_the_end() -> None:
    """Warnings come first, and the frames of the crash last."""
    warning = "UserWarning: TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled."
    crash = ["Fatal Python error: Segmentation fault", "", "Current thread (most recent call first):", '  File "x.py"']
    of_xla = ["F0729 13:20:11.000 cuda_executor.cc:12] Check failed: status", "*** SIGABRT received ***"]
    ending = ["terminate called after throwing an instance of 'std::bad_alloc'", "  what():  std::bad_alloc"]
    words = [last_words([warning, *log]) for log in (crash, of_xla, ending)]
    assert words == [crash[0], of_xla[0], "what():  std::bad_alloc"]


def faulty(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """Return the entry of a trainer of ``faulty_trainers`` on a device of ``kind``, with quick blocks."""
    monkeypatch.setattr(gpu, "WARM_UP_SECONDS", 0.01)
    monkeypatch.setattr("samenet.rounds.GPU_BLOCK_SECONDS", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "plugin"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    trainer = f"faulty_trainers:{name.title()}"
    lane = replace(implementation("numpy"), name=name, trainer=trainer, devices=(kind,))
    (entry,) = entered(Case(lane, Device(kind)))
    return entry


@pytest.mark.parametrize(
    ("name", "reason"), [("vanishing", "its framework can use no other device"), ("mistaken", "AttributeError")]
)
def test_a_lost_device_or_a_mistake_in_the_lane_is_no_skip(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A skip is for what was never there; it leaves the exit code at 0."""
    entry = faulty(name, "other", tmp_path, monkeypatch)
    (result,) = campaign(plan(launches=2, rounds=1), [entry], tmp_path).run().values()
    assert result.state is State.FAILED
    assert reason in result.reason


def test_a_device_for_one_process_has_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is started for each of its turns; a locked file stands for the device, numpy computes."""
    entry = faulty("exclusive", "tpu", tmp_path, monkeypatch)
    twin = replace(entry, label=f"{entry.label} again", role=Role.TWIN, of=entry.label)
    results = campaign(plan(launches=2), [entry, twin], tmp_path).run()
    for result in results.values():
        assert result.state is not State.FAILED, result.reason
        assert len({each.turn for each in result.rounds}) >= LONG_BLOCKS
        assert [launch.launch for launch in result.launches] == [0, 1]
    assert results[entry.label].error_rates
