"""Versions of a package in one campaign: what is asked for, what is installed, and what is said of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from impls.lanes import Case, Device, Implementation, PackageVersion
from samenet import Measurement, Settings, package_environments
from samenet.__main__ import main
from samenet.comparison import VersionComparison
from samenet.data import load
from samenet.environments import ROOT
from samenet.errors import NoInterpreterError, SettingsError
from samenet.installers import Wheel, without_room
from samenet.package_environments import ABOUT, made_environments, obtain, prune, requests
from samenet.plan import Entry
from samenet.preparation import prepare
from samenet.records import Launch, Quantity, Round, State
from samenet.results import Outcome
from samenet.verdicts import Comparison
from samenet.versions import Versions, mismatch
from studies.wheels import Releases
from tests.support.campaigns import plan
from tests.support.command_line import PYTEST, records, saved, skip_if_disturbed, without_uv
from tests.support.saved_runs import case_result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.results import CaseResult
    from tests.support.command_line import Bench

JAX = Implementation(
    name="jax", trainer="impls.jax_mlp:JaxTrainer", environment="jax", packages=(("jax", "jax"), ("jaxlib", "jaxlib"))
)
PACER = Implementation(
    name="pacer", trainer="pacer_mlp:PacerTrainer", environment="pacer", packages=(("pacer", "pacer"),)
)
TOX = """
[testenv:jax]
deps =
    --extra-index-url https://wheels.example/simple
    jax[cuda13]==0.10.2
    jaxlib==0.10.2
    numpy==2.4.6
    scipy==1.17.1
"""


def version(implementation: Implementation, package: str, number: str) -> Case:
    """Return a case with a version of a package."""
    return Case(implementation, Device("cpu"), PackageVersion(package, number))


@pytest.mark.parametrize(
    ("text", "reference", "reason"),
    [
        ("jax", None, "names no versions; write a package and its versions, such as jax==0.8.3,0.9.2"),
        ("", None, "names no versions"),
        ("==1.0,2.0", None, "names no versions"),
        ("jax==", None, "names no versions"),
        ("jax==0.9,latest", None, "names no versions"),
        ("jax==0.9,../../etc", None, "names no versions"),
        ("jax>=0.9,0.10", None, "names no versions; write a package and a range"),
        ("jax>", None, "names no versions; write a package and a range"),
        ("jax==0.9.2", None, "does not name two versions or more, each once"),
        ("jax==0.9,0.9.0", None, "does not name two versions or more, each once"),
        ("jax==0.9.2,0.10.2", "0.8", "the reference version '0.8' is not one of 0.9.2, 0.10.2"),
    ],
)
def test_versions_that_cannot_be_compared_are_refused(text: str, reference: str | None, reason: str) -> None:
    """With what is wrong, whether they come from the command line or from a notebook."""
    with pytest.raises(SettingsError, match=reason.replace("[", r"\[")):
        Settings(versions=text, reference_version=reference)


@pytest.mark.parametrize(("gate", "seconds", "cold"), [("steady,memory", 1.5, False), ("import", 0.75, True)])
def test_a_launch_is_short_where_only_more_launches_tell_more(
    small_mnist: Path, gate: str, seconds: float, *, cold: bool
) -> None:
    """Starts and memory have one value for each launch."""
    settings = Settings(versions="jax==0.9.2,0.10.2", gate=gate)
    (plan,) = settings.protocol.plans(settings, load(small_mnist), (0,))
    assert (plan.entry_seconds, plan.always_cold) == (seconds, cold)


def test_a_range_is_the_newest_of_each_minor_version(offline: Releases) -> None:
    """By what pip finds; pre-releases and what is outside of the range are left out."""
    offline.publish("3.0rc1")
    assert Versions.parse("pacer>=1.1").versions == ("1.1", "1.2", "1.3", "1.4", "1.5", "2.0")
    assert Versions.parse("pacer>1.2,<1.5", "1.4").versions == ("1.3", "1.4")
    with pytest.raises(SettingsError, match="Python is in no package index"):
        Versions.parse("python>=3.11")
    with pytest.raises(SettingsError, match="has no two minor versions in pacer>=2"):
        Versions.parse("pacer>=2")
    with pytest.raises(SettingsError, match=r"the releases of a-name-of-nothing are not known: .*; name the versions"):
        Versions.parse("a-name-of-nothing>=2")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"versions": "jax==0.9,0.10", "against": "HEAD"}, "leave one of them out"),
        ({"reference_version": "0.9"}, "add --versions, or leave it out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, str], reason: str) -> None:
    """A second comparison, and a reference for none."""
    with pytest.raises(SettingsError, match=reason):
        Settings(**settings)  # type: ignore[arg-type]


def test_an_interpreter_is_not_given_for_versions(small_mnist: Path) -> None:
    """Each has one of its own."""
    settings = Settings(versions="jax==0.9.2,0.10.2", python={"jax": Path(sys.executable)}, data=small_mnist)
    with pytest.raises(SettingsError, match="leave --python jax=PATH out"):
        Measurement(["jax-cpu"], settings)


def test_each_case_that_runs_on_the_package_is_entered_once_for_each_version() -> None:
    """The others are left out; every case runs on numpy and Python."""
    both = [Case(JAX, Device("cpu")), Case(PACER, Device("cpu"))]
    versions = Versions.parse("JAX == 0.9.2, 0.10.2", "0.10.2")
    assert [case.id for case in versions.expand(both)] == ["jax-cpu @ jax 0.9.2", "jax-cpu @ jax 0.10.2"]
    assert (str(versions), versions.reference) == ("jax==0.9.2,0.10.2", "0.10.2")
    for everywhere in ("python==3.12,3.13", "numpy==1.26.4,2.4.6"):
        assert len(Versions.parse(everywhere).expand(both)) == 4
    with pytest.raises(SettingsError, match="none of the selected cases runs on torch"):
        Versions.parse("torch==2.8,2.9").expand(both)


@pytest.mark.parametrize(
    ("package", "number", "expected"),
    [
        (
            "jax",
            "0.9.2",
            ["jax[cuda13]==0.9.2 jaxlib numpy==2.4.6 scipy==1.17.1", "jax[cuda13]==0.9.2 jaxlib numpy scipy"],
        ),
        (
            "numpy",
            "1.26.4",
            [
                "numpy==1.26.4 jax[cuda13]==0.10.2 jaxlib==0.10.2 scipy==1.17.1",
                "numpy==1.26.4 jax[cuda13]==0.10.2 jaxlib==0.10.2 scipy",
            ],
        ),
        ("python", "3.12", ["jax[cuda13]==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1"]),
    ],
)
def test_as_little_as_possible_differs_besides_the_version(
    tmp_path: Path, package: str, number: str, expected: list[str]
) -> None:
    """The pins of tox.ini stay, but for packages of the same framework; then for those that it is not written for."""
    (tmp_path / "tox.ini").write_text(TOX)
    trials = requests(version(JAX, package, number), tmp_path)
    index = "--extra-index-url=https://wheels.example/simple"
    assert [" ".join(trial) for trial in trials] == [f"{index} {each}" for each in expected]


def test_a_name_selects_an_implementation_and_not_the_package_that_others_have_too(bench: Bench) -> None:
    """``-k numpy`` is numpy's own implementations, where every implementation has versions of numpy."""
    result = bench("-k", "numpy", "--versions", "numpy==2.4.5,2.4.6", "--collect-only", "-q")
    assert re.findall(r"\[(.*)\]", result.stdout) == [
        f"{name}-cpu @ 2.4.{patch}" for name in ("numpy", "numpy-tuned") for patch in (5, 6)
    ]


def test_without_pins_the_newest_of_everything_else_is_taken(tmp_path: Path) -> None:
    """A wheel has no tox.ini."""
    assert requests(version(PACER, "pacer", "1.0"), tmp_path) == [["pacer==1.0", "numpy"]]


def compared(results: Mapping[str, CaseResult], settings: Settings | None = None) -> VersionComparison:
    """Return the comparison of cases with versions of pacer, whose numpy differs in one of them."""
    entries = [
        Entry(
            label=label,
            case=version(PACER, "pacer", label.rpartition(" ")[2]),
            python=Path(sys.executable),
            root=Path(),
            installed={"pacer": label.rpartition(" ")[2], "numpy": "2.0" if "1.1" in label else "1.0"},
        )
        for label in results
    ]
    return VersionComparison.of(Versions("pacer", ("1.0", "1.1", "1.2"), "1.0"), settings or Settings(), entries)


def results(**changes: Any) -> dict[str, CaseResult]:
    """Return a result for each of three versions."""
    labels = [f"pacer-cpu @ pacer 1.{minor}" for minor in range(3)]
    return {label: replace(case_result("pacer"), case=label, **changes.get(label[-3:], {})) for label in labels}


def test_versions_are_judged_by_the_reference_and_other_differences_are_named() -> None:
    """Equal times are the same; the reference has no verdict; all three are in one group with blocks alike."""
    found = results()
    comparison = compared(found)
    assert {entry.group for entry in comparison.entries} == {"pacer-cpu"}
    assert comparison.verdict("pacer-cpu @ pacer 1.0", found) is None
    with_numpy, alone = (comparison.verdict(f"pacer-cpu @ pacer 1.{minor}", found) for minor in (1, 2))
    assert with_numpy
    assert alone
    assert (with_numpy.word, with_numpy.reason) == (Outcome.SAME, "numpy 2.0, not 1.0")
    assert (alone.word, alone.reason) == (Outcome.SAME, "")
    record = comparison.record([with_numpy, alone], found)
    assert (record.revision, record.after, record.commit) == ("pacer 1.0", "pacer 1.1, 1.2", "")
    assert comparison.undecided(found) == set(found)  # after so few launches


def test_a_version_that_does_not_work_is_no_regression() -> None:
    """It may be older than what the lane calls."""
    found = results(**{"1.1": {"state": State.FAILED, "reason": "AttributeError", "seconds": None}})
    verdict = compared(found).verdict("pacer-cpu @ pacer 1.1", found)
    assert verdict
    assert (verdict.word, verdict.regression) == (Outcome.INCONCLUSIVE, False)
    assert verdict.reason == "failed: AttributeError"


@pytest.mark.usefixtures("offline")
def test_without_the_reference_no_environment_is_made() -> None:
    """There is nothing to compare the other versions with."""
    settings = Settings(versions="pacer==1.1,1.2,9.9", reference_version="9.9")
    said = list[str]()
    with pytest.raises(SettingsError, match=r"no two versions to compare: pacer-cpu @ pacer 9\.9: .* \(and 2 more\)"):
        prepare([Case(PACER, Device("cpu"))], settings, plan().dataset, said.append)
    assert (said, made_environments()) == ([], [])


def test_an_environment_is_made_once_and_used_again(offline: Releases, tmp_path: Path) -> None:
    """The second time nothing is asked, and the wheels may be gone; what is broken or half-made is never used."""
    said: list[str] = []
    made = obtain(version(PACER, "pacer", "1.0"), tmp_path, said.append)
    assert said[0].startswith(f"making an environment for Python {made.about.python} with pip: pacer 1.0, numpy ")
    assert made.about.packages["pacer"] == "1.0"
    assert subprocess.run([made.python, "-c", "import pacer, numpy"], check=True).returncode == 0
    os.environ["PIP_FIND_LINKS"] = str(tmp_path / "nowhere")
    assert obtain(version(PACER, "pacer", "1.0"), tmp_path, pytest.fail).folder == made.folder

    (half := made.folder.with_name("half-made")).mkdir()
    (made.folder.with_name(".unfinished-999999999-x")).mkdir()
    assert [each.folder for each in made_environments()] == [made.folder]
    assert not prune(30)
    assert (made.folder.exists(), half.exists()) == (True, False)
    (made.python).unlink()
    assert not made_environments()
    with pytest.raises(NoInterpreterError, match=r"pacer 1\.3 cannot be installed: "):
        obtain(version(PACER, "pacer", "1.3"), tmp_path, said.append)
    with pytest.raises(NoInterpreterError, match=r"No matching distribution found for pacer==1\.0"):
        obtain(version(PACER, "pacer", "1.0"), tmp_path, said.append)


@pytest.mark.skipif(not Path(sys.executable).with_name("uv").exists(), reason="needs uv next to this Python")
def test_uv_makes_the_same_environment(offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is on the path; it says how much it downloads, and why it cannot."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{without_uv()}")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.delenv("UV_COMPILE_BYTECODE")  # or the caller would be obeyed
    said: list[str] = []
    made = obtain(version(PACER, "pacer", "1.0"), tmp_path, said.append)
    assert made.about.packages["pacer"] == "1.0"
    assert "with uv: " in said[0]
    assert next(made.folder.rglob("pacer*.pyc"))
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "0")
    other = obtain(version(PACER, "pacer", "1.4"), tmp_path, said.append)
    assert not list(other.folder.rglob("*.pyc"))
    with pytest.raises(NoInterpreterError, match="pacer"):
        obtain(version(PACER, "pacer", "9.9"), tmp_path, said.append)


def test_without_a_network_there_is_one_sentence_and_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    """No index answers, and the cache is empty."""
    plugin = Releases.install_lane(tmp_path / "plugin")
    variables: dict[str, Any] = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "SAMENET_CACHE": str(tmp_path / "cache"),
        "PATH": without_uv(),
    }
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    result = bench("--versions", "pacer==1.0,1.1", **variables)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR, result.stdout
    assert result.stderr.count("pacer 1.0 cannot be installed: no package index can be reached") == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert not list((tmp_path / "cache" / "environments").iterdir())


def test_a_disk_that_may_be_too_small_is_named_before(tmp_path: Path) -> None:
    """By the sizes of the wheels that are known: unpacked they take three times as much."""
    wheels = [Wheel("torch", "2.13.0", 10**9), Wheel("local", "1")]
    assert not without_room(wheels, 3 * 10**9, tmp_path)
    said = without_room(wheels, 2 * 10**9, tmp_path)
    assert said == f"{tmp_path} has 2.0 GB left, and this may take 3.0; SAMENET_CACHE names another"


def test_a_full_disk_is_named_and_leaves_nothing(offline: Releases, small_mnist: Path, tmp_path: Path) -> None:
    """A file system of 4 MB, where numpy does not fit; whoever may not mount one cannot try."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=4m tmpfs {shlex.quote(str(small))}"
    inside = ["unshare", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*inside, mount], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    asked = ["-m", "samenet", "bisect", "pacer", "1.0", "1.5", "--case", "pacer-cpu", "--data", str(small_mnist)]
    listed = f"ls -A {shlex.quote(str(small / 'environments'))}"
    command = f"{mount} && {shlex.join([sys.executable, *asked])}; echo $?; {listed}"
    environment = os.environ | {"SAMENET_CACHE": str(small), "PYTHONPATH": str(offline.install_lane(tmp_path / "lane"))}
    done = subprocess.run([*inside, command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "pacer 1.0 cannot be installed: no space is left on the disk; free some" in done.stderr, done.stdout
    assert done.stdout.splitlines()[-1] == "2"


def test_a_cache_that_cannot_be_written_is_named(
    offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do; no other version is tried, which would fare no better."""
    monkeypatch.setenv("SAMENET_CACHE", "/proc/nowhere")
    with pytest.raises(SettingsError, match=r"/proc/nowhere/environments cannot be written .*set SAMENET_CACHE"):
        obtain(version(PACER, "pacer", "1.0"), tmp_path, pytest.fail)


def test_environments_are_listed_and_removed(
    offline: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their size; those in use stay."""
    made = obtain(version(PACER, "pacer", "1.0"), tmp_path, print)
    capsys.readouterr()
    assert main(["environments"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("1 environment, ")
    assert "pacer 1.0" in listed
    assert main(["environments", "--prune", "1"]) == 0
    assert (made.folder / ABOUT).exists()
    assert main(["environments", "--prune", "0"]) == 0
    assert not made.folder.exists()


def test_a_version_of_python_that_is_not_there_is_named(
    offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other one is taken."""
    monkeypatch.setattr(package_environments, "find_installer", pytest.fail)
    with pytest.raises(NoInterpreterError, match=r"there is no python3\.99 on the path"):
        obtain(version(PACER, "python", "3.99"), tmp_path, pytest.fail)


@pytest.mark.parametrize(
    ("package", "number", "found", "is_right"),
    [
        ("torch", "2.13.0", {"torch": "2.13.0+cpu"}, True),
        ("torch", "2.13", {"torch": "2.13.0"}, True),
        ("theano-pymc", "1.1.2", {"Theano_PyMC": "1.1.2"}, True),
        ("python", "3.12", {"python": "3.12.1"}, True),
        ("python", "3.1", {"python": "3.12.1"}, False),
        ("jax", "0.9.2", {"jax": "0.10.2"}, False),
        ("jax", "0.9.2", {}, False),
    ],
)
def test_a_worker_with_another_version_is_noticed(
    package: str, number: str, found: dict[str, str], *, is_right: bool
) -> None:
    """Whatever put it there: its number would be under a wrong label."""
    assert bool(mismatch(PackageVersion(package, number), found)) is not is_right


def measured(bench: Bench, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a small comparison on a quiet machine, save it as ``one``, and return what it printed; or skip the test."""
    little = ("--data", str(bench.data), "--iterations", "60", "--budget", "3", "-rs")
    storage = ("--benchmark-storage", str(bench.storage), "--benchmark-save=one")
    result = bench.run_until_quiet([*PYTEST, *little, *storage, *options])
    skip_if_disturbed(result.stdout)
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steady", {Quantity.STEADY: 0.05}),
        ("steady=1, memory", {Quantity.STEADY: 0.01, Quantity.MEMORY: 0.03}),
        ("import=20,first-step", {Quantity.IMPORT: 0.2, Quantity.FIRST_STEP: 0.1}),
    ],
)
def test_each_gate_has_a_tolerance(text: str, expected: dict[Quantity, float]) -> None:
    """The given one, or else its own; for the steady step that of --tolerance."""
    assert Settings(versions="jax==1,2", tolerance=0.05, gate=text).gates == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "speed", "steady=", "steady=0", "steady=-1", "memory=inf", "memory=nan", "steady,,"]
)
def test_gates_that_are_none_are_refused(text: str) -> None:
    """With the names of those that are."""
    with pytest.raises(SettingsError, match="names no gates; write some of steady, first-step, import, memory"):
        Settings(against="HEAD", gate=text)


def test_a_gate_is_named_once() -> None:
    """Of two tolerances one would be ignored."""
    with pytest.raises(SettingsError, match="has steady twice"):
        Settings(against="HEAD", gate="steady,steady=3")


def test_a_gate_that_judged_nothing_does_not_pass() -> None:
    """Though the steady step was judged, for which the build does not fail."""
    found = results(**{label: {"launches": launches(100, 1.0)[:2]} for label in ("1.0", "1.1", "1.2")})
    comparison = compared(found, Settings(versions="pacer==1.0,1.1,1.2", gate="memory", tolerance=0.1))
    verdicts = [each for label in list(found)[1:] for each in comparison.verdicts(label, found)]
    assert [str(each.word) for each in verdicts] == ["same", "inconclusive"] * 2
    assert Comparison.saved(comparison.record(verdicts, found)).is_empty
    assert comparison.tolerance == 0.1


def test_a_gate_needs_a_comparison() -> None:
    """Or it would silently not be one."""
    with pytest.raises(SettingsError, match="--gate is for --against and --versions"):
        Settings(gate="memory")


def launches(peak: int, seconds: float) -> tuple[Launch, ...]:
    """Return eight launches: the first, which reads the disk, takes ten times as long to start."""
    times = [10 * seconds, *(seconds * (1 + 0.01 * (number % 3)) for number in range(7))]
    return tuple(
        Launch(
            launch=number,
            cold=True,
            peak_bytes=peak + 7 * number,
            file_bytes=7 * number,
            start_seconds=0.1,
            import_seconds=each,
            build_seconds=0.0,
            first_step_seconds=each,
        )
        for number, each in enumerate(times)
    )


def test_each_quantity_is_judged_and_fails_only_where_it_is_a_gate() -> None:
    """Twice the memory is larger, half the start is faster; the steady step is printed and fails nothing."""
    gate = "first-step,import,memory"
    found = results(
        **{
            "1.0": {"launches": launches(100, 2.0)},
            "1.1": {"launches": launches(200, 1.0)},
            "1.2": {"launches": launches(100, 2.0), "rounds": slow(case_result("pacer").rounds)},
        }
    )
    comparison = compared(found, Settings(versions="pacer==1.0,1.1,1.2", gate=gate))
    larger = {each.quantity: each for each in comparison.verdicts("pacer-cpu @ pacer 1.1", found)}
    assert {quantity: str(each.word) for quantity, each in larger.items() if quantity != Quantity.STEADY} == {
        Quantity.FIRST_STEP: "faster",
        Quantity.IMPORT: "faster",
        Quantity.MEMORY: "larger",
    }
    assert [each.quantity for each in larger.values() if each.regression] == [Quantity.MEMORY]
    assert larger[Quantity.MEMORY].sentence.startswith(
        "pacer-cpu @ pacer 1.1, memory is larger, 2.00 (2.00 to 2.00) times"
    )
    slower = comparison.verdicts("pacer-cpu @ pacer 1.2", found)[0]
    assert (slower.word, slower.regression) == (Outcome.SLOWER, False)


def slow(rounds: tuple[Round, ...]) -> tuple[Round, ...]:
    """Return the blocks of a case that takes twice as long."""
    return tuple(replace(each, wall_seconds=2 * each.wall_seconds) for each in rounds)


@pytest.mark.slow
def test_what_a_release_needs_before_its_first_step_fails_where_it_is_a_gate(
    offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    """Each launch then starts from nothing, one worker after the other."""
    monkeypatch.setenv("PYTHONPATH", str(offline.install_lane(tmp_path / "plugin")))
    result = measured(
        bench, "--versions", "pacer==1.0,2.0", "--gate", "steady=30,first-step=30,memory=10", "--launches", "5"
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    found = {each["quantity"]: each for each in saved(bench.storage)["samenet"]["against"]["verdicts"]}
    assert {quantity: each["word"] for quantity, each in found.items() if quantity != "steady"} == {
        "first-step": "slower",
        "memory": "larger",
    }
    assert found["steady"]["word"] in {"same", "inconclusive", "faster"}
    assert "pacer-cpu @ pacer 2.0, first step is slower, " in result.stdout
    assert all(len(launch) > 4 for launch in records(bench.storage)["pacer-cpu @ pacer 2.0"]["launches"])


def test_a_slower_release_is_found_among_those_that_do_not_work(
    offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    """It fails the build; one that cannot be imported and one that does not exist are skipped with their reasons."""
    monkeypatch.setenv("PYTHONPATH", str(offline.install_lane(tmp_path / "plugin")))
    comment = tmp_path / "comment.md"
    asked = ("--versions", "pacer==1.0,1.1,1.2,9.9", "--tolerance", "30", "--comment", str(comment))
    result = measured(bench, *asked)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    found = {each["case"].rpartition(" ")[2]: each for each in saved(bench.storage)["samenet"]["against"]["verdicts"]}
    assert set(found) == {"1.1", "1.2", "9.9"}
    assert found["1.1"]["word"] == "slower"
    assert found["1.2"]["reason"].startswith("failed: ")
    assert "ImportError: cannot import name 'nothing_of_this_name'" in found["1.2"]["reason"]
    assert "No matching distribution found for pacer==9.9" in found["9.9"]["reason"]
    assert "pacer 1.1, 1.2, 9.9 against pacer 1.0" in result.stdout
    assert "1 failed" in result.stdout
    assert "2 skipped" in result.stdout
    assert "slower" in comment.read_text()
    assert records(bench.storage)["pacer-cpu @ pacer 1.1"]["versions"]["pacer"] == "1.1"
