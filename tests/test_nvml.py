"""GPUs by what NVML says of them, under a fake NVML on a machine that need not have one; nothing here is a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from reports.sentences import gpu_notes
from reports.tables import comparison
from samenet.environments import ROOT
from samenet.machine import gpu, gpu_watch
from samenet.records import GpuLoad
from tests.support import fake_nvml
from tests.support.command_line import Bench, records
from tests.support.nvml_situations import SITUATIONS, Situation, table
from tests.support.saved_runs import case_result

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("nvml")  # whose campaign is measured once


Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the fake NVML."""
    folder: Path = tmp_path_factory.mktemp("nvml")
    fake_nvml.compile_library(folder)
    return folder


@pytest.fixture(scope="module")
def outcomes(library: Path) -> Outcomes:
    """Return what came of each situation."""
    command = [sys.executable, "-m", "tests.support.nvml_player", str(library)]
    played: Outcomes = json.loads(
        subprocess.check_output(command, cwd=ROOT, env=fake_nvml.environment(library), text=True)
    )
    return played


def test_without_a_compiler_there_is_no_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what needs it is skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="gcc"):
        fake_nvml.compile_library(tmp_path)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_each_situation_has_its_state_and_its_sentence(situation: Situation, outcomes: Outcomes) -> None:
    """And none ends in a traceback."""
    found = outcomes[situation.name]
    assert (found["state"], found["sentence"]) == (situation.state, situation.sentence)


def test_a_gpu_keeps_its_number_where_another_cannot_be_opened(outcomes: Outcomes) -> None:
    """And CUDA_VISIBLE_DEVICES may have the beginning of a UUID, as CUDA takes it."""
    model = "NVIDIA A100-SXM4-40GB (fake)"
    assert outcomes["the second of these two GPUs"]["models"] == ["unknown", model]
    assert outcomes["CUDA_VISIBLE_DEVICES with the beginning of the second GPU's UUID"]["models"] == ["the second"]


def test_the_documentation_has_the_same_situations() -> None:
    """docs/gpu.md shows the table that the tests run."""
    assert table() in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_a_library_that_cannot_be_loaded_is_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    """The reason keeps NVML's own text."""
    (tmp_path / "libnvidia-ml.so.1").touch()
    asked = "gpu.missing(0), gpu.models(), gpu.driver(), gpu.cuda_version(), gpu.peak(0, 'float32')"
    code = f"from samenet.machine import gpu; print({asked})"
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, cwd=ROOT, env=fake_nvml.environment(tmp_path), text=True)
    reason = "no NVIDIA GPU was found: NVML Shared Library Not Found; install NVIDIA's driver"
    reason += ", or select another vendor's device, such as --gpu rocm"
    assert printed.strip() == f"{reason} [] None None None"


def test_a_gpu_works_for_half_a_second_and_until_its_clock_stays(outcomes: Outcomes) -> None:
    """Each piece of work takes 0.1 s here; a clock that nobody reports needs no looks."""
    worked = {name: found["warm_ups"] / 10 for name, found in outcomes.items() if "warm_ups" in found}
    assert min(worked.values()) >= 0.5
    assert worked["a GPU that answers nothing"] < worked["nothing is wrong"] < worked["a clock that rises under load"]


def test_a_warm_up_ends_where_a_clock_never_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """And short pieces of work grow until a look at the clock costs little next to them."""
    clocks, pieces = iter(range(1000, 100_000, 100)), list[int]()
    monkeypatch.setattr(gpu, "megahertz", lambda _: next(clocks))

    def work(steps: int) -> float:
        pieces.append(steps)
        return steps * 0.001

    gpu.warm_up(0, work)
    assert gpu.MOST_WARM_UP_SECONDS <= sum(pieces) * 0.001 < gpu.MOST_WARM_UP_SECONDS + 2 * gpu.LOOK_SECONDS
    assert pieces[-1] * 0.001 >= gpu.LOOK_SECONDS


def test_power_and_energy_are_known_from_one_second_on(outcomes: Outcomes) -> None:
    """In our units; shorter, or without a counter, there is no figure, and none for one part of a divided GPU."""
    known = {
        name
        for name, found in outcomes.items()
        if {found.get("load", {}).get(key) for key in ("joules", "watts")} != {None}
    }
    assert known == {"a block of a second, whose energy is known"}
    load = outcomes[known.pop()]["load"]
    assert load["watts"] == 250
    assert load["joules"] == pytest.approx(250, rel=0.1)
    assert gpu_watch.joules(1000, 3500) == 2.5
    assert gpu_watch.joules(1000, 5) is None  # the driver was loaded again


def test_a_bound_is_shown_only_where_it_is_known(outcomes: Outcomes) -> None:
    """By the whole compute capability; on MIG, what is known is the whole board's."""
    bounded = {name: found["bounded"] for name, found in outcomes.items() if "bounded" in found}
    assert bounded["nothing is wrong"] == ["float32", "tf32", "bfloat16"]
    assert bounded["a GPU before Ampere, without TF32"] == ["float32"]
    assert bounded["a GPU whose matrix units are not known"] == ["float32"]
    assert bounded["MIG"] == bounded["a GPU that answers nothing"] == []


@pytest.mark.parametrize(
    ("capability", "cores", "megahertz", "teraflops"),
    [  # as NVIDIA's data sheets have them, without sparsity: A100, A40, L40S, H100 SXM
        ((8, 0), 6912, 1410, {"tf32": 156, "bfloat16": 312}),
        ((8, 6), 10752, 1740, {"tf32": 74.8, "bfloat16": 149.7}),
        ((8, 9), 18176, 2520, {"tf32": 183, "bfloat16": 362}),
        ((9, 0), 16896, 1980, {"tf32": 495, "bfloat16": 989}),
    ],
)
def test_the_matrix_units_reach_what_the_data_sheets_say(
    capability: tuple[int, int], cores: int, megahertz: int, teraflops: dict[str, float]
) -> None:
    """The bound is a least time: NVML's highest clock may be above that of the data sheet, by 10 % at most."""
    for precision, published in teraflops.items():
        units = gpu.MATRIX_UNITS[capability][precision]
        peak = gpu.peak_of(cores=cores, core_megahertz=megahertz, memory_bits=5120, memory_megahertz=1215, units=units)
        assert peak
        assert 0.99 * published <= peak.flop_per_second / 1e12 <= 1.1 * published


def test_the_share_of_a_counter_is_that_of_the_block() -> None:
    """In nanoseconds; what has fallen, or is new, is unknown; a counter that is updated late may show too much."""
    assert gpu_watch.shares({"x": 10**9}, {"x": 10**9 + 25 * 10**7}, 0.5) == {"x": 0.5}
    assert gpu_watch.shares({"x": 5, "y": 0}, {"x": 4, "y": 10**9, "z": 7}, 0.5) == {"y": 1.0}


def test_processes_that_came_are_counted_without_ours() -> None:
    """By their ids, or by number where NVML has other ids for ours, in a container."""
    assert gpu_watch.newcomers({1, 2, 3}, {1}, {2}) == ({3}, 1)
    assert gpu_watch.newcomers({1, 2, 3}, {1}, {20}) == ({2, 3}, 1)
    assert gpu_watch.newcomers({1}, {1}, {20, 21}) == (set(), 0)


def test_a_table_says_what_a_gpu_did_to_a_case_with_a_number() -> None:
    """The mean over its blocks that count; nothing is said where nothing is unusual."""
    measured = case_result("torch", device="cuda")
    loads = [GpuLoad(power_capped=0.25, idle_names=("Xorg",)), GpuLoad(power_capped=0.75), GpuLoad()]
    case = replace(measured, rounds=tuple(replace(measured.rounds[0], gpu=load) for load in loads))
    assert comparison([case], case.case).notes[1:] == (
        "a power limit lowered the GPU's clock for 50 % of the time of torch-cuda.",
        "Xorg was on the GPU of torch-cuda, idle.",
    )
    assert not gpu_notes([replace(case, rounds=(replace(case.rounds[0], gpu=GpuLoad(power_capped=0.0)),))])


# Six GPUs: one may not be opened; one has an idle desktop and a low power limit; on the others, heat, a loss in the
# middle of a block, a process that is busy while the campaign is stopped, and exclusive-process mode.
SIX: fake_nvml.Answers = {
    ("Count",): [6],
    ("Handle", 0): [fake_nvml.NO_PERMISSION],
    ("Graphics", 1): [fake_nvml.XORG],
    ("Field", 1, fake_nvml.POWER): ["0+1500000000/s"],
    ("Field", 2, fake_nvml.HEAT): ["0+300000000/s"],
    ("Compute", 2): [fake_nvml.NO_PERMISSION],
    ("Clock", 3, fake_nvml.CLOCK_SM): [1410, 1410, 1410, fake_nvml.LOST],
    ("Compute", 4): [f"{fake_nvml.GAME},ours"],
    ("Utilization", 4): [35],
    ("ComputeMode", 5): [3],
}


@dataclass(frozen=True)
class Campaign:
    """A whole campaign of the lane whose GPU is numpy: what it printed, its cases by device, and each worker's GPU."""

    process: subprocess.CompletedProcess[str]
    cases: dict[str, dict[str, Any]]
    workers: list[int]

    def loads(self, device: str) -> list[dict[str, Any]]:
        """Return what the device did in each block."""
        return [each["gpu"] for each in self.cases[device]["rounds"]]


@pytest.fixture(scope="module")
def campaign(small_mnist: Path, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Measure on the six GPUs, by ``pytest bench/``."""
    bench, answers = Bench(small_mnist, tmp_path_factory.mktemp("saved")), library / "answers"
    fake_nvml.write_answers(answers, {**fake_nvml.CLEAN, **SIX})
    options = ["-k", "pretended", "--rounds=1", "--iterations=5", "--benchmark-save=pretended"]
    options += [part for number in range(6) for part in ("--gpu", str(number))]
    variables: dict[str, Any] = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(answers)}
    variables["PYTHONPATH"] = str(ROOT / "tests" / "pretended")
    process = bench(*options, **variables)
    cases = {name.partition("-")[2]: case for name, case in records(bench.storage).items()}
    pids = (library / "answers.pids").read_text().splitlines()
    return Campaign(process, cases, [int(line.split()[0]) for line in pids])


def test_a_campaign_names_the_gpu_that_cannot_be_opened(campaign: Campaign) -> None:
    """In one sentence, and the exit code is that of the case that fails, not of this one."""
    printed = campaign.process.stdout
    assert "pretended-cuda is skipped: GPU 0 cannot be used: Insufficient Permissions" in printed
    assert "GPU 2 does not report other processes; what only these show goes unnoticed" in printed
    assert "Traceback" not in printed + campaign.process.stderr
    assert campaign.process.returncode == 1


def test_an_idle_desktop_and_a_power_limit_are_recorded_and_not_judged(campaign: Campaign) -> None:
    """A block shorter than a second, as they are unless the machine is busy, has no figure of power."""
    assert campaign.loads("cuda:1")
    for block in campaign.cases["cuda:1"]["rounds"]:
        load = block["gpu"]
        assert (load["idle_names"], load["others"], load["others_percent"]) == (["Xorg"], 0, 0)
        assert (load["megahertz"], load["celsius"], load["power_capped"]) == (1410, 40, 1)
        assert block["harness_seconds"] >= 0.9 or load["watts"] is load["joules"] is None
    disturbances = [each["disturbance"] for each in campaign.cases["cuda:1"]["rounds"] if each["disturbance"]]
    assert not [each for each in disturbances if "GPU" in each["detail"] or "power" in each["detail"]]


def test_what_happens_to_a_gpu_is_the_reason_of_its_case(campaign: Campaign) -> None:
    """What happens on the CPUs at the same time comes first, so the two that are disturbed may both be contended."""
    hot, lost, shared = (campaign.cases[device] for device in ("cuda:2", "cuda:3", "cuda:4"))
    assert all("heat for" in load["slowdown"] for load in campaign.loads("cuda:2"))
    assert all(each["disturbance"] for each in hot["rounds"] + shared["rounds"])
    assert hot["state"] in {"throttled", "contended"}
    assert (lost["state"], lost["reason"][:30]) == ("failed", "GPU 3 was lost: GPU is lost; r")
    for load in campaign.loads("cuda:4"):
        assert (load["others"], load["other_names"], load["others_percent"]) == (1, ["game"], 35)
    assert shared["state"] == "contended"


def test_an_exclusive_gpu_has_a_new_worker_in_each_turn(campaign: Campaign) -> None:
    """And its driver would refuse a second one; the others keep theirs."""
    printed = campaign.process.stdout
    assert "GPU 5 is in exclusive-process mode: a worker is started for each of its turns" in printed
    assert campaign.workers.count(4) == 1
    turns = {(block["launch"], block["turn"]) for block in campaign.cases["cuda:5"]["rounds"]}
    assert campaign.workers.count(5) > len(turns) > 1  # a disturbed block is repeated in the same turn
    assert campaign.cases["cuda:5"]["state"] != "failed", campaign.cases["cuda:5"]["reason"]


def test_a_process_that_comes_is_looked_at_before_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then it counts, whatever the last look has found; a second look within 20 s needs a reason."""
    listed, slept = {1}, list[float]()
    monkeypatch.setattr(gpu_watch, "processes", lambda _: set(listed))
    monkeypatch.setattr(gpu_watch, "name_of", str)
    monkeypatch.setattr(gpu, "ask_of", lambda *_: SimpleNamespace(gpu=1))
    neighbours = gpu_watch.Neighbours(0, slept.append)
    listed |= {20}
    for _ in range(2):
        neighbours.look({20})
        assert neighbours.others({20}) == gpu_watch.Others(0, (), ("1",), 1.0)
    listed |= {3}
    assert neighbours.others({20}) == gpu_watch.Others(1, ("3",), ("1",), None)
    neighbours.look({20})
    assert neighbours.others({20}) == gpu_watch.Others(0, (), ("1", "3"), 1.0)
    assert slept == [gpu_watch.SETTLE_SECONDS] * 2


@pytest.mark.parametrize(("looks", "percent"), [([0], 0), ([12, 7, 1], 1), ([9, 4, 6], 4), ([12, None], None)])
def test_the_least_of_several_looks_counts(
    looks: list[int | None], percent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a sample period of its own; one that finds the GPU idle is the last."""
    given, slept = iter(looks), list[float]()
    rates = (None if each is None else SimpleNamespace(gpu=each) for each in given)
    monkeypatch.setattr(gpu, "ask_of", lambda *_: next(rates))
    assert gpu_watch.least_percent(0, slept.append) == percent
    assert slept == [gpu_watch.SAMPLE_SECONDS] * (len(looks) - 1)
