"""``python -m reports compare``: which verdicts two saved runs get, and what they rest on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from impls.workload import Workload
from reports.variation import Variation, run_to_run, stored_ratio
from samenet.stats import Estimate
from tests.support.comparing import compare, save_history, save_pair, verdicts
from tests.support.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("seconds", "word", "code"), [(2.0, "same", 0), (2.4, "slower", 1), (1.6, "faster", 0), (2.08, "inconclusive", 0)]
)
def test_a_verdict_says_what_the_history_supports(tmp_path: Path, *, seconds: float, word: str, code: int) -> None:
    """A fifth is beyond what runs differ by, a twenty-fifth is not."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", seconds))
    options = ("--tolerance", "5")
    result = compare(tmp_path, "0001", "0002", *options)
    assert result.code == code, result.err
    assert verdicts(tmp_path, *options)["numpy-cpu"]["word"] == word
    assert f"numpy-cpu {word}" in " ".join(result.out.split())
    assert "% from run to run, in 12 runs of the history" in result.out


def launches(peak: float, start: float = 1.0) -> dict[str, Any]:
    """Return a case's launches with so many MiB each, and cold starts of so many seconds."""
    noise = np.random.default_rng(1).normal(1, 0.001, 5)
    return {
        "launches": [
            {"launch": number, "cold": True, "peak_bytes": int(peak * each * 2**20), "file_bytes": 2**20}
            | {"start_seconds": 0.1, "import_seconds": start * each, "build_seconds": 0.1, "first_step_seconds": 0.1}
            for number, each in enumerate(noise)
        ]
    }


@pytest.mark.parametrize(
    ("peak", "start", "words", "code"),
    [
        (100, 1, {"memory": "same", "import": "same"}, 0),
        (110, 1, {"memory": "larger", "import": "same"}, 1),
        (90, 1.5, {"memory": "smaller", "import": "slower"}, 1),
    ],
)
def test_a_build_may_fail_for_memory_and_for_starts(
    tmp_path: Path, *, peak: float, start: float, words: dict[str, str], code: int
) -> None:
    """As with a paired comparison; the step is not asked for here, and is shown."""
    save_history(tmp_path, **launches(100))
    save_pair(tmp_path, record("numpy", 2.0, **launches(100)), record("numpy", 2.4, **launches(peak, start)))
    result = compare(tmp_path, "base", "head", "--gate", "memory,import", "--format", "json")
    found = {each["quantity"]: each["word"] for each in json.loads(result.out)["verdicts"]}
    assert found == {"steady": "slower"} | words
    assert result.code == code
    assert compare(tmp_path, "base", "head").code == 1


def test_a_gate_has_a_tolerance_of_its_own(tmp_path: Path) -> None:
    """Of the step too; and a case that is gone takes no gate away."""
    save_history(tmp_path, **launches(100))
    cases = [record("numpy", 2.0, **launches(100)), record("torch", 2.0)]
    save(tmp_path, "0001_base", run(*cases, hours=100))
    save(tmp_path, "0002_head", run(record("numpy", 2.1, **launches(100)), hours=101))
    assert compare(tmp_path, "base", "head", "--gate", "steady=20").code == 0
    assert compare(tmp_path, "base", "head", "--gate", "steady=1").code == 1
    assert compare(tmp_path, "base", "head", "--gate", "memory").code == 0


def test_a_gate_without_what_it_is_on_passes_nothing(tmp_path: Path) -> None:
    """Ordinary runs have one cold start; and an unknown quantity is refused."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 2.0))
    result = compare(tmp_path, "base", "head", "--gate", "first-step")
    assert result.code == 2
    assert "no case has a verdict on its first step; pass --allow-empty" in result.err
    reason = "a run does not have it of later launches; measure both with --against or --versions, and --gate"
    assert reason in " ".join(result.out.split())
    assert "names no gates; write some of steady, " in compare(tmp_path, "base", "head", "--gate", "speed").err


@pytest.mark.parametrize("runs", [0, 2])
def test_too_little_history_is_inconclusive(tmp_path: Path, runs: int) -> None:
    """Without knowing how runs differ by themselves, no difference between two of them says anything."""
    save_history(tmp_path, runs)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 9.0))
    verdict = verdicts(tmp_path)["numpy-cpu"]
    assert verdict["word"] == "inconclusive"
    assert "the history has too few runs" in verdict["reason"]


@pytest.mark.parametrize(
    ("base", "head", "about", "named"),
    [
        ({}, {}, {"cpu": "Another"}, "hardware: cpu Synthetic and Another"),
        ({}, {"versions": {"python": "3.12", "numpy": "1.0"}}, {}, "versions: python 3.11.7 and 3.12"),
        ({}, {"workload": Workload(hidden=9)}, {}, "workload: hidden 500 and 9"),
        ({}, {"data": {"name": "digits", "source": "", "sha256": "e"}}, {}, "data: MNIST and digits"),
        ({}, {"iterations": 10}, {}, "iterations: 1000 and 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_compared_is_named_and_no_regression(
    tmp_path: Path,
    *,
    base: dict[str, Any],
    head: dict[str, Any],
    about: dict[str, Any],
    named: str,
) -> None:
    """Hardware, versions, workload, data and amount have to be the same; a slow run on another machine is no news."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0, **base), record("numpy", 9.0, **head), **about)
    verdict = verdicts(tmp_path)["numpy-cpu"]
    assert verdict["word"] == "inconclusive"
    assert named in verdict["reason"]
    assert compare(tmp_path, "base", "head").code == 2


def test_environments_are_compared_on_purpose(tmp_path: Path) -> None:
    """The same code with jax 0.10.1 against 0.10.2: how runs differ is known from those with the same versions."""
    old, new = ({"python": "3.11.7", "jax": version} for version in ("0.10.1", "0.10.2"))
    save_history(tmp_path, versions=old)
    save_pair(tmp_path, record("numpy", 2.0, versions=old), record("numpy", 2.6, versions=new))
    result = compare(tmp_path, "base", "head", "--across", "versions")
    assert result.code == 1
    assert "numpy-cpu differs on purpose in versions: jax 0.10.1 and 0.10.2." in result.out
    assert verdicts(tmp_path, "--across", "hardware")["numpy-cpu"]["word"] == "inconclusive"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (record(typical=1.0, error_rates={"validation": 12.5}), {"numpy-cpu": "unverified"}),
        (failed("numpy") | {"state": "unverified"}, {"numpy-cpu": "unverified"}),
        (failed("numpy"), {"numpy-cpu": "unverified"}),
        (failed("numpy") | {"state": "contended"}, {"numpy-cpu": "inconclusive"}),
        (record("torch"), {"numpy-cpu": "removed", "torch-cpu": "new"}),
    ],
    ids=["error rate", "unverified", "crash", "contended", "renamed"],
)
def test_what_was_learned_counts_as_much_as_the_time(
    tmp_path: Path, head: dict[str, Any], words: dict[str, str]
) -> None:
    """A faster step with a worse error is a regression, and so is a case that lost its number by its own fault."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), head)
    assert {name: each["word"] for name, each in verdicts(tmp_path).items()} == words
    assert compare(tmp_path, "base", "head").code == (1 if "unverified" in words.values() else 2)


@pytest.mark.parametrize("state", ["unverified", "failed"])
def test_what_did_not_work_before_is_no_regression(tmp_path: Path, state: str) -> None:
    """Nothing was compared."""
    case = failed("numpy") | {"state": state}
    save_pair(tmp_path, case, case)
    assert verdicts(tmp_path)["numpy-cpu"]["reason"] == f"{state}: it crashed"
    assert compare(tmp_path, "base", "head").code == 2


def test_runs_are_files_folders_names_and_numbers(tmp_path: Path) -> None:
    """A folder stands for its newest run; the same two runs are found by every name that they have."""
    base = save(tmp_path / "a", "0001_first", run(record("numpy", 2.0)))
    save(tmp_path / "b", "0001_old", run(record("numpy", 2.0)))
    head = save(tmp_path / "b", "0002_new_one", run(record("numpy", 2.0), hours=1))
    for one, other in ((base, head), ("first", "0002"), ("0001_first", "new_one"), (tmp_path / "a", tmp_path / "b")):
        result = compare(tmp_path, str(one), str(other))
        assert result.out.startswith("0002_new_one (c0ffeec0f) against 0001_first (c0ffeec0f)\n"), result.err


def test_a_file_that_cannot_be_read_does_not_compete_for_a_name(tmp_path: Path) -> None:
    """It is named; without a run of that name its reason is the error, and two runs still have to be told apart."""
    save(tmp_path, "0001_base", run(record("numpy", 2.0)))
    good = save(tmp_path, "0008_main", run(record("numpy", 2.0), hours=1))
    cut = save(tmp_path, "0009_main", None)
    cut.write_text(good.read_text()[:5000])
    result = compare(tmp_path, "base", "main", "--allow-empty")
    assert result.out.startswith("0008_main "), result.err
    assert f"Ignored, another file of this name: {cut} is not a JSON file, or is cut short" in " ".join(
        result.out.split()
    )
    good.write_text("")
    assert "main is no run that can be read: " in compare(tmp_path, "base", "main").err
    for number in (8, 9):
        save(tmp_path, f"000{number}_main", run(record("numpy", 2.0), hours=number))
    result = compare(tmp_path, "base", "main")
    assert (result.code, "main is 2 runs; give one of these files" in result.err) == (2, True)


def test_the_completed_state_of_a_campaign_has_its_name(tmp_path: Path) -> None:
    """In another folder, as after copying a storage; parts of a campaign are two runs."""
    case = record("numpy", 2.0)
    save(tmp_path, "0001_base", run(case))
    for folder, rounds, hours in (("a", 3, 1), ("b", 5, 2), ("c", 4, 3)):
        part = case | {"rounds": case["rounds"][:rounds]}
        save(tmp_path / folder, "0002_main", run(part, hours=hours, campaign={"id": "x", "launches": rounds}))
    result = compare(tmp_path, "base", "main", "--allow-empty", "--format", "json")
    assert result.code == 0, result.err
    save(tmp_path / "d", "0002_main", run(record("torch"), campaign={"id": "x"}))
    assert "main is 2 runs" in compare(tmp_path, "base", "main").err


@pytest.mark.parametrize("options", [(), ("--format", "json"), ("--format", "markdown")])
def test_a_comparison_of_nothing_does_not_pass(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Both sides have cases, and no case is in both: the gate fails with a code of its own, unless that is meant."""
    base, head = (run(record(name), record(f"{name}-scan"), hours=len(name)) for name in ("numpy", "torch2"))
    save(tmp_path, "base", base)
    save(tmp_path, "head", head)
    result = compare(tmp_path, "base", "head", *options)
    assert result.code == 2
    assert result.out
    assert result.err.startswith("nothing was compared: ")
    assert compare(tmp_path, "base", "head", "--allow-empty", *options).code == 0


@pytest.mark.parametrize("rates", [{}, {"validation": None}, {"validation": float("nan")}])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_case_whose_error_is_unknown_is_never_the_same(
    tmp_path: Path, rates: dict[str, Any], *, swapped: bool
) -> None:
    """On either side: it may have learned nothing."""
    save_history(tmp_path)
    known, unknown = record("numpy", 2.0), record("numpy", 2.0, error_rates=rates)
    save_pair(tmp_path, *((unknown, known) if swapped else (known, unknown)))
    assert verdicts(tmp_path)["numpy-cpu"]["word"] == "inconclusive"
    assert compare(tmp_path, "base", "head").code == 2


def test_copies_are_not_evidence(tmp_path: Path) -> None:
    """Three copies of the base and a completed state of the head are neither a history nor another run."""
    content = run(record("numpy", 2.0))
    for folder in (tmp_path, *(tmp_path / name for name in "xyz")):
        save(folder, "0001_base", content)
    save(tmp_path, "0002_head", run(record("numpy", 2.16), hours=1, campaign={"id": "head"}))
    save(tmp_path, "0003_whole", run(record("numpy", 2.16), record("torch"), hours=2, campaign={"id": "head"}))
    result = compare(tmp_path, "0001_base", "0002_head")
    assert result.code == 2
    assert "the history has too few runs" in result.out
    assert "from run to run" not in result.out


DECISIVE = [
    ({"governor": "powersave"}, "governor: performance and powersave", "governor"),
    ({"microcode": "0x2"}, "microcode: 0x1 and 0x2", "microcode"),
    ({"virtualised": True}, "virtualised: no and yes", "virtualised"),
    ({"cpu_quota": 2.0}, "cpu-quota: none known and 2", "cpu-quota"),
    ({"environment": {"OMP_THREAD_LIMIT": "1"}}, "variables: OMP_THREAD_LIMIT unset and 1", "variables"),
    ({"environment": {"CXX": "g++ (123abc)"}}, "variables: CXX unset and g++ (123abc)", "variables"),
]
MKL = {"user_api": "blas", "internal_api": "mkl", "version": "2023", "filepath": "/b", "num_threads": 2}


@pytest.mark.parametrize(("machine", "named", "across"), DECISIVE)
def test_a_setting_that_can_explain_a_slowdown_makes_it_inconclusive(
    tmp_path: Path, machine: dict[str, Any], named: str, across: str
) -> None:
    """It is named, as hardware is, and --across says that it differs on purpose."""
    about = {"microcode": "0x1"}
    save_history(tmp_path)
    save(tmp_path, "base", run(record("numpy", 2.0), hours=100, machine=about))
    save(tmp_path, "head", run(record("numpy", 4.0), hours=101, machine=about | machine))
    verdict = verdicts(tmp_path)["numpy-cpu"]
    assert verdict["word"] == "inconclusive"
    assert verdict["reason"] == f"not comparable, they differ in {named}"
    assert compare(tmp_path, "base", "head").code == 2
    result = compare(tmp_path, "base", "head", "--across", across)
    assert result.code == 1, result.err
    assert f"numpy-cpu differs on purpose in {named}." in result.out


@pytest.mark.parametrize("machine", [machine for machine, _, _ in DECISIVE])
def test_no_setting_explains_a_higher_error(tmp_path: Path, machine: dict[str, Any]) -> None:
    """A case that learns less is a regression whatever the clock does."""
    save_history(tmp_path)
    save(tmp_path, "base", run(record("numpy", 2.0), hours=100, machine={"microcode": "0x1"}))
    worse = record("numpy", 2.0, error_rates={"validation": 14.0})
    save(tmp_path, "head", run(worse, hours=101, machine={"microcode": "0x1"} | machine))
    assert verdicts(tmp_path)["numpy-cpu"]["word"] == "unverified"


@pytest.mark.parametrize(
    ("machine", "campaign", "note"),
    [
        ({"system": "Linux 6.1"}, {}, "system Linux and Linux 6.1"),
        ({}, {"launches": 3}, "launches 5 and 3"),
        ({"gpu_driver": "570"}, {}, "GPU driver unknown and 570"),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, {}, "CUDA_VISIBLE_DEVICES unset and 0"),
        ({"microcode": "0x1"}, {}, "microcode unknown and 0x1"),
        ({"cpus": [2, 3]}, {}, "CPUs unknown and 2,3"),
    ],
)
def test_other_settings_are_printed_next_to_the_verdict(
    tmp_path: Path, machine: dict[str, Any], campaign: dict[str, Any], note: str
) -> None:
    """They bar no comparison of cases on the CPU; one that is unknown on one side is not known to differ."""
    save_history(tmp_path)
    save(tmp_path, "base", run(record("numpy", 2.0), record("torch"), hours=100))
    head = run(record("numpy", 4.0), record("torch"), hours=101, machine=machine, campaign=campaign)
    save(tmp_path, "head", head)
    result = compare(tmp_path, "base", "head")
    assert result.code == 1
    assert f"numpy-cpu, torch-cpu: {note} differ\n" in result.out


@pytest.mark.parametrize(
    ("pools", "note"),
    [
        ([MKL], "numpy-cpu: BLAS openblas 0.3 and mkl 2023 differ\n"),
        (
            [{"user_api": "openmp", "internal_api": "openmp", "prefix": "libgomp", "version": None}],
            "numpy-cpu: BLAS openblas 0.3 and none, OpenMP none and libgomp differ\n",
        ),
        ([{"user_api": "blas", "internal_api": "openblas", "version": "0.3", "filepath": "/b", "num_threads": 9}], ""),
    ],
)
def test_another_library_is_printed_next_to_the_verdict(tmp_path: Path, pools: list[dict[str, Any]], note: str) -> None:
    """By name, version and architecture: the same one in another file is no difference."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 4.0, thread_pools=pools))
    result = compare(tmp_path, "base", "head")
    assert result.code == 1
    assert note in result.out
    assert ("differ\n" in result.out) == bool(note)


@pytest.mark.parametrize(("after", "code"), [("lib (abcdef)", 2), ("lib (012345)", 1), ("lib", 1), ("lib64", 2)])
def test_paths_with_equal_last_names_are_not_the_same(tmp_path: Path, after: str, code: int) -> None:
    """Two MKLs may both be in a folder named lib; a run that was saved without checksums may have either."""
    machines = [{"environment": {"LD_LIBRARY_PATH": text}} for text in ("lib (012345)", after)]
    for number in range(4):
        save(tmp_path, f"{number}", run(record("numpy", 2 + number / 100), hours=number, machine=machines[0]))
    save(tmp_path, "base", run(record("numpy", 2.0), hours=100, machine=machines[0]))
    save(tmp_path, "head", run(record("numpy", 4.0), hours=101, machine=machines[1]))
    assert compare(tmp_path, "base", "head").code == code


def test_another_driver_bars_a_case_on_a_gpu(tmp_path: Path) -> None:
    """It compiles the kernels; variables of the GPU count there too."""
    case = record("torch", 2.0, device="cuda")
    save(tmp_path, "base", run(case, hours=100, machine={"gpu_driver": "560"}))
    machine = {"gpu_driver": "570", "environment": {"CUDA_LAUNCH_BLOCKING": "1"}}
    save(tmp_path, "head", run(record("torch", 4.0, device="cuda"), hours=101, machine=machine))
    reason = verdicts(tmp_path)["torch-cuda"]["reason"]
    assert reason.endswith("gpu-driver: 560 and 570; variables: CUDA_LAUNCH_BLOCKING unset and 1")


def test_a_history_under_another_governor_is_no_evidence(tmp_path: Path) -> None:
    """Twelve runs with powersave do not show how runs with performance differ by themselves."""
    rng = np.random.default_rng(2)
    for number in range(12):
        seconds = 2 * float(np.exp(0.005 * rng.standard_normal()))
        save(tmp_path, f"{number}", run(record("numpy", seconds), hours=number, machine={"governor": "powersave"}))
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 2.4))
    assert "the history has too few runs" in verdicts(tmp_path)["numpy-cpu"]["reason"]


def test_what_is_left_out_of_the_history_is_listed(tmp_path: Path) -> None:
    """A copy, a broken file, and a run from the future, which may be there by a wrong clock."""
    save_history(tmp_path)
    save_pair(tmp_path, record("numpy", 2.0), record("numpy", 2.0))
    save(tmp_path, "broken", {})
    save(tmp_path / "x", "0001_base", run(record("numpy", 2.0), hours=100))
    save(tmp_path, "late", run(record("numpy", 2.0), hours=1e6))
    out = " ".join(compare(tmp_path, "0001_base", "0002_head").out.split())
    assert "Left out: " in out
    assert "broken.json was saved by plain pytest-benchmark" in out
    assert "x/Linux-CPython-3.11-64bit/0001_base.json is a copy of Linux-CPython-3.11-64bit/0001_base.json" in out
    assert "Dated in the future" in out
    assert "late.json (2140-01-30 16:00 UTC)" in out


@pytest.mark.parametrize("noisy", [0, 6, 9])
def test_intervals_of_stored_ratios_hold_the_truth(noisy: int) -> None:
    """In simulated pairs of equal runs with twelve others, 95 % intervals hold a ratio of 1 in 93 to 97 % of cases.

    Also where so many of the others have intervals that are ten times as wide.
    """
    rng, held, repeats, between = np.random.default_rng(0), 0, 2000, 0.03
    within = np.repeat([0.01, 0.1], [14 - noisy, noisy])
    reach = 1.96 * within
    for _ in range(repeats):
        middles = np.exp(rng.normal(0, between, 14) + rng.normal(0, within, 14))
        ends = zip(middles, middles * np.exp(-reach), middles * np.exp(reach), strict=True)
        runs = [Estimate(*map(float, each)) for each in ends]
        ratio = stored_ratio(runs[0], runs[1], run_to_run([runs[2:]]))
        assert ratio
        held += ratio.low <= 1 <= ratio.high
    assert 0.93 <= held / repeats <= 0.97


def test_a_run_in_noise_hides_no_variation_of_the_others() -> None:
    """Its interval would explain them all; it has a weight that fits it, and adds no degree of freedom."""
    quiet = [Estimate(value, 0.99 * value, 1.01 * value) for value in (2.0, 2.08, 1.94, 2.05, 1.97)]
    alone, joined = run_to_run([quiet]), run_to_run([[*quiet, Estimate(2.0, 1.2, 3.3)]])
    assert alone.between == pytest.approx(0.0280, abs=1e-4)
    assert joined.between == pytest.approx(0.0279, abs=1e-4)
    assert 4 <= joined.degrees < 4.1
    ratio = stored_ratio(Estimate(2.12, 2.11, 2.13), Estimate(2.0, 1.99, 2.01), joined)
    assert ratio
    assert ratio.low < 1


@pytest.mark.parametrize("errors", [(1e-40, 0.01, 0.01), (1e40, 0.01, 0.01), (1e-40, 1e40, 1e40), (1e-40,) * 3])
def test_no_error_is_too_small_or_too_large(errors: tuple[float, ...]) -> None:
    """A file may have any."""
    pairs = zip((2.0, 2.2, 1.8), errors, strict=True)
    variation = run_to_run([[Estimate(value, value / 2, value * 2, error) for value, error in pairs]])
    assert 0 <= variation.between < 1
    assert 1 <= variation.degrees <= 2 + 1e-9


@pytest.mark.parametrize("unknown", [(2.0,), (2.0, 2.0, 2.0)])
def test_runs_without_an_interval_show_variation_too(unknown: tuple[float, ...]) -> None:
    """Nothing of it is explained by an interval; one of no width is no more exact than the best of the others."""
    quiet = [Estimate(value, 0.99 * value, 1.01 * value) for value in (2.5, 1.6)]
    for others in ([Estimate(value) for value in unknown], [Estimate(value, value, value) for value in unknown]):
        assert 0.1 < run_to_run([[*quiet, *others]]).between < 0.3


def test_a_step_between_two_histories_is_no_variation() -> None:
    """Runs with other versions have a level of their own; only what differs within each counts."""
    one = [Estimate(value, value, value) for value in (1.0, 1.1, 0.9)]
    other = [Estimate(3 * each.value, 3 * each.low, 3 * each.high) for each in one]
    assert run_to_run([one, other]).between == pytest.approx(run_to_run([one]).between)
    assert run_to_run([one, other]).degrees == pytest.approx(4)
    assert run_to_run([one[:1]]).degrees == 0


@pytest.mark.parametrize(
    ("numerator", "denominator", "between"),
    [(1e308, 1e-300, 0.1), (1e-300, 1e308, 0.1), (1e-300, 1.0, 500.0), (1e300, 1.0, 500.0)],
)
def test_an_interval_that_leaves_the_numbers_is_none(numerator: float, denominator: float, between: float) -> None:
    """Neither 0 nor infinity is the end of an interval, and a ratio that is either is no ratio."""
    above, below = (Estimate(value, 0.9 * value, value) for value in (numerator, denominator))
    ratio = stored_ratio(above, below, Variation(between, 5))
    assert ratio is None or not ratio.has_interval
