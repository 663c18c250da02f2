"""``pytest bench/`` as its users run it: in a process of its own, with the real frameworks."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import psutil
import pytest

from bench import options
from impls.devices import KINDS
from impls.lanes import Device
from impls.registry import cases
from samenet import Epochs, Measurement, Scaling, Settings, measure
from samenet.environments import ROOT
from samenet.errors import BusyError, SettingsError
from samenet.machine.lock import only_campaign
from samenet.preparation import find_case
from samenet.progress import NullProgress
from samenet.records import State
from tests.support.campaigns import campaign, entries, plan
from tests.support.command_line import HIDDEN, Bench, records, saved, skip_if_disturbed

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def finished(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Measure three frameworks, and return what was printed and the storage."""
    bench = Bench(small_mnist, tmp_path_factory.mktemp("finished"))
    selected, frameworks = "numpy-cpu or [torch-cpu] or [jax-cpu]", ("numpy", "torch", "jax")
    result = bench.tried("-k", selected, *HIDDEN, "--benchmark-save=first", frameworks=frameworks)
    assert result.returncode == 0, result.stdout
    return result.stdout, bench.storage


@pytest.mark.alone
def test_a_run_is_saved_with_everything_that_explains_it(finished: tuple[str, Path]) -> None:
    """One benchmark a case, whose rounds are the worker's blocks, and the record next to it."""
    printed, storage = finished
    skip_if_disturbed(printed)
    run = saved(storage)
    benchmarks = {each["name"]: each for each in run["benchmarks"]}
    for name, each in benchmarks.items():
        info = each["extra_info"]
        assert name == f"test_iterations[{info['case']}]"
        assert info["state"] == "valid"
        assert info["iterations"] == 20
        assert info["workload"]["hidden"] == 20
        assert info["data"]["name"] == "IDX files"
        assert len(info["data"]["sha256"]) == 64
        assert set(info["error_rates"]) == {"train", "validation", "test"}
        assert info["launches"][0]["parity"]["verified"]
        assert {"start_seconds", "import_seconds", "build_seconds", "first_step_seconds"} < set(info["launches"][0])
        assert info["peak_bytes"] > 2**20
        assert info["versions"]["numpy"]
        clean = [each["wall_seconds"] * 20 / each["steps"] for each in info["rounds"] if not each["disturbance"]]
        assert each["stats"]["rounds"] == len(clean)
        assert each["stats"]["min"] == pytest.approx(min(clean))
        assert each["stats"]["max"] == pytest.approx(max(clean))
        assert "WorkerClock" in each["options"]["timer"]
    assert {"test_iterations[numpy-cpu]", "test_iterations[torch-cpu]", "test_iterations[jax-cpu]"} == set(benchmarks)
    assert run["samenet"]["schema"] == 2
    text = json.dumps(run)
    assert str(ROOT) not in text  # it may be published
    assert str(storage.parent) not in text
    assert run["samenet"]["machine"]["fingerprint"]


@pytest.mark.alone
def test_the_table_has_the_books_rows_on_top(finished: tuple[str, Path]) -> None:
    """Book, CPU and GPU, with their protocol; then the cases, with their speedup over numpy."""
    printed, _ = finished
    skip_if_disturbed(printed)
    lines = printed.splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().startswith("book, Theano, CPU"))
    assert "3096" in lines[first]
    assert "1,000 epochs" in lines[first]
    assert "355" in lines[first + 1]
    assert {line.split()[0] for line in lines[first + 2 : first + 5]} == {"numpy-cpu", "torch-cpu", "jax-cpu"}
    assert "speedup over numpy-cpu" in lines[first - 2]
    assert "83,000 iterations, and 2 % is their training error" in printed


@pytest.mark.alone
def test_stock_pytest_benchmark_reads_the_storage(finished: tuple[str, Path]) -> None:
    """``pytest-benchmark list`` and ``compare`` work on what was saved."""
    command = [str(Path(sys.executable).parent / "pytest-benchmark"), "--storage", str(finished[1])]
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True)
    assert "0001_first.json" in listed.stdout
    compared = subprocess.run([*command, "compare", "0001"], capture_output=True, text=True, check=True)
    assert "test_iterations[numpy-cpu]" in compared.stdout


def test_selection_happens_before_anything_starts(bench: Bench, tmp_path: Path) -> None:
    """``-k`` leaves out a case that would hang for ever."""
    result = bench("-k", "numpy-cpu", "--benchmark-save=one", plugins=True)
    assert result.returncode == 0
    assert list(records(tmp_path)) == ["numpy-cpu"]


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (options.count, "0", "'0' is not a whole number of 1 or more"),
        (options.count, "-3", "'-3' is not a whole number of 1 or more"),
        (options.count, "two", "'two' is not a whole number of 1 or more"),
        (options.count, "1.5", "'1.5' is not a whole number of 1 or more"),
        (options.accelerator, "-1", "'-1' is not a GPU; write a whole number of 0 or more, or "),
        (options.positive, "0", "'0' is not a positive number"),
        (options.positive, "nan", "'nan' is not a positive number"),
        (options.interpreter, "caffe=/usr/bin/python3", "names no implementation; write name=path with one of: "),
        (options.interpreter, "torch=/nowhere/python", "/nowhere/python is not executable"),
        (options.interpreter, "torch=/", "/ is not executable"),
        (options.interpreter, "torch=", "the empty path is not executable"),
    ],
)
def test_an_option_says_what_it_accepts(read: Callable[[str], object], text: str, complaint: str) -> None:
    """Each type of option refuses what it cannot be."""
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(complaint)):
        read(text)


def test_an_empty_path_is_none() -> None:
    """As with an empty environment variable; ``Path("")`` would be the current folder."""
    assert options.location("") is None
    assert options.location("there") == Path("there")
    for given in ("", "file://"):
        option = argparse.Namespace(benchmark_storage=given)
        options.fill_in(option)
        assert options.storage_folder(option) == Path(".benchmarks")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"threads": 100_000}, "lower --threads"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"workload": "depth=3"}, "no workload field in 'depth=3'; write field=value with one of: model, hidden"),
        ({"workload": "activation=cosine"}, "choose one of: tanh"),
        ({"workload": "hidden=many"}, "hidden is 'many'; it must be a whole number"),
        ({"workload": "batch_size=5000"}, "batch_size is 5000; the training set has 1000 images"),
        ({"data": Path("/nowhere")}, "/nowhere does not exist"),
        ({"against": "nowhere"}, "there is no revision 'nowhere' here"),
        ({"iterations": -5}, "iterations is -5; it must be 1 or more"),
        ({"launches": 0}, "launches is 0; it must be 1 or more"),
        ({"budget_seconds": -3.0}, "budget_seconds is -3.0; it must be a positive number"),
        ({"rounds": 2, "budget_seconds": 9.0}, "a budget cannot be combined with a number of rounds or launches"),
        ({"protocol": Scaling(), "against": "HEAD"}, "--against and --versions compare one workload"),
        ({"protocol": Epochs(), "against": "HEAD"}, "--against and --versions compare short rounds"),
        ({"against": " "}, "--against is empty; it needs a git revision, such as HEAD or main"),
        ({"timeout_seconds": 1e10}, "it must be 86400 or less"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(
    settings: dict[str, Any], complaint: str, small_mnist: Path
) -> None:
    """The message says what would be right."""
    with pytest.raises(SettingsError, match=re.escape(complaint)):
        Measurement(["numpy-cpu"], Settings(**({"data": small_mnist} | settings)))


@pytest.mark.parametrize(
    ("protocol", "given", "complaint"),
    [
        (Epochs, {"epochs": 0}, "epochs is 0; it must be 1 or more"),
        (Epochs, {"epochs": -5}, "epochs is -5; it must be 1 or more"),
        (Epochs, {"target_error_percent": math.nan}, "target_error_percent is nan; it must be a positive number"),
        (Epochs, {"target_error_percent": 0.0}, "target_error_percent is 0.0; it must be a positive number"),
        (Scaling, {"sizes": ()}, "sizes is empty; give changes of the workload, such as hidden=100"),
    ],
)
def test_a_wrong_protocol_is_refused(protocol: type[Epochs | Scaling], given: dict[str, Any], complaint: str) -> None:
    """As soon as it is made, so that a library's user learns it where the mistake is."""
    with pytest.raises(SettingsError, match=re.escape(complaint)):
        protocol(**given)


def test_there_has_to_be_something_to_resume(small_mnist: Path) -> None:
    """The message names the folder that was searched, or the setting that names one."""
    with pytest.raises(SettingsError, match=r"resume needs a journal; set Settings\(journal=\.\.\.\)"):
        measure(["numpy-cpu"], Settings(data=small_mnist, resume=True))
    with pytest.raises(SettingsError, match="/nowhere has no unfinished campaign"):
        measure(["numpy-cpu"], Settings(data=small_mnist, journal=Path("/nowhere"), resume=True))


@pytest.mark.parametrize("given", [["--benchmark-skip"], ["--setup-plan"]])
def test_what_would_not_be_saved_is_not_measured(bench: Bench, given: list[str]) -> None:
    """The session ends without a campaign."""
    assert "the float64 reference" not in bench("-k", "numpy-cpu", *given).stdout


def test_after_an_error_of_collection_nothing_is_measured(bench: Bench, tmp_path: Path) -> None:
    """Pytest would not run a single test, so that nothing would be saved."""
    (tmp_path / "test_broken.py").write_text("import a_module_that_is_not_there\n")
    result = bench(str(tmp_path / "test_broken.py"))
    assert result.returncode == pytest.ExitCode.INTERRUPTED
    assert "the float64 reference" not in result.stdout


def test_cases_are_named_in_a_list(small_mnist: Path) -> None:
    """A text would be taken letter by letter; the same case twice is one case."""
    with pytest.raises(SettingsError, match=r"name the cases in a list, such as \['numpy-cpu'\]"):
        Measurement("numpy-cpu", Settings(data=small_mnist))
    twice = Measurement(["numpy-cpu", "numpy-cpu"], Settings(data=small_mnist))
    assert [entry.label for entry in twice.parts[0].entries][:2] == ["numpy-cpu", "numpy-cpu again"]


def test_a_case_that_does_not_exist_is_refused(small_mnist: Path) -> None:
    """The message lists those that do."""
    with pytest.raises(SettingsError, match="there is no case caffe-cpu; choose from: numpy-cpu, "):
        Measurement(["caffe-cpu"], Settings(data=small_mnist))
    for wrong in ("numpy-cpu:1", "numpy-cuda", "torch-cuda:one", "torch", ""):
        with pytest.raises(SettingsError, match=f"there is no case {wrong}; choose from: "):
            find_case(wrong)


def test_every_id_of_a_saved_run_names_its_case() -> None:
    """Those on a GPU of another number too."""
    for case in cases([Device(kind, index) for kind in KINDS for index in (0, 1, 12)]):
        assert find_case(case.id) == case


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--iterations", "0"], "'0' is not a whole number of 1 or more"),
        (["--workload", "depth=3"], "no workload field in 'depth=3'"),
        (["--benchmark-save=x", "--benchmark-storage", "/proc/none"], "choose another with --benchmark-storage"),
        (["bench/test_scaling.py"], "test_iterations, test_scaling measure by different protocols; run one at a time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_at_once(bench: Bench, given: list[str], complaint: str) -> None:
    """The exit code is pytest's for wrong usage, there is no traceback, and nothing was started."""
    result = bench(*given)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert complaint in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_bug_is_not_shown_as_a_wrong_option(bench: Bench, tmp_path: Path) -> None:
    """An error in our own code, planted by a plugin: pytest's code for it, one sentence, the traceback in a file."""
    (tmp_path / "planted.py").write_text(
        "import samenet.measurement\n\ndef broken(*_):\n    raise ValueError('planted')\n\n"
        "samenet.measurement.prepare = broken\n"
    )
    result = bench("-p", "planted", "-k", "numpy-cpu", PYTHONPATH=str(tmp_path))
    assert result.returncode == pytest.ExitCode.INTERNAL_ERROR
    printed = result.stdout + result.stderr
    (file,) = re.findall(r"this is a bug in samenet: ValueError; please report it with the traceback: (\S+)", printed)
    assert "ValueError: planted" in Path(file).read_text()
    assert "Traceback" not in printed


def test_one_failing_case_never_costs_the_others_their_numbers(bench: Bench, tmp_path: Path) -> None:
    """Crash, hang, import error, NaN, wrong arithmetic, missing interpreter: each has its reason and no figure."""
    result = bench.quiet(
        *(
            "-k",
            "numpy-cpu or crashing or hanging or unimport or talkative or diverging or forgetful or slack or absent",
        ),
        *("--rounds", "5", "--timeout", "5", *HIDDEN),
        *("--iterations", "3000", "--benchmark-save=faulty"),
        plugins=True,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    run = saved(tmp_path)
    assert sorted(each["param"] for each in run["benchmarks"]) == ["numpy-cpu", "talkative-cpu"]
    reasons = {each["case"]: f"{each['state']}: {each['reason']}" for each in run["samenet"]["cases_without_number"]}
    assert "failed: crashing-cpu was killed by SIGKILL during run" in reasons["crashing-cpu"]
    assert "failed: hanging-cpu did not finish run in 5 s" in reasons["hanging-cpu"]
    assert "failed: unimportable-cpu failed in load_framework: ImportError: libmissing" in reasons["unimportable-cpu"]
    assert "the loss of step 0 is nan" in reasons["diverging-cpu"]
    assert reasons["forgetful-cpu"].startswith("unverified: forgetful-cpu is not within the tolerance of the float64")
    assert "b1 is off by 1 " in reasons["forgetful-cpu"]
    assert reasons["slacking-cpu"].startswith("unverified: ")
    assert reasons["absent-cpu"] == "skipped: no interpreter for absent; run: tox run -e absent, or add --install"
    assert all(each["seconds"] is None for each in run["samenet"]["cases_without_number"])
    crashed = next(each for each in run["samenet"]["cases_without_number"] if each["case"] == "crashing-cpu")
    assert len(crashed["rounds"]) == 2  # what was measured before the crash is in the record
    table = result.stdout[result.stdout.index("book, Theano, GPU") :]
    for case, reason in reasons.items():
        assert f"{case} is {reason}" in table
    assert "SKIPPED" in bench("-k", "absent", "-rs", plugins=True).stdout


def test_an_interpreter_can_be_named(bench: Bench, tmp_path: Path) -> None:
    """``--python`` decides which interpreter serves a case, and a wrong one is a failed case with its reason."""
    result = bench("-k", "[torch-cpu]", "--python", "torch=/usr/bin/python3", "--benchmark-save=one")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    (case,) = saved(tmp_path)["samenet"]["cases_without_number"]
    assert "torch-cpu failed in" in case["reason"]


def test_interruption_keeps_what_was_measured_and_leaves_no_worker(small_mnist: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle: the blocks so far are saved, the exit code says interrupted, all workers are gone."""
    command = ["-m", "pytest", "bench/", "-k", "numpy-cpu or [jax-cpu]", "--data", str(small_mnist)]
    command += ["--workload", "hidden=20,batch_size=100", "--iterations", "500", "--rounds", "1000"]
    command += ["--benchmark-save=cut", "--benchmark-storage", str(tmp_path)]
    # A real terminal: its Ctrl-C reaches every process in the foreground, the workers too.
    about: dict[str, Any] = {"cwd": str(ROOT), "dimensions": (40, 160), "timeout": 90, "encoding": "utf-8"}
    # A copy of the environment: readline, which pytest imports, has put a width of 80 columns into the original.
    run = pexpect.spawn(sys.executable, command, env=dict(os.environ), **about)
    run.expect(r"block \d\d")  # the line is drawn once a second
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 3  # two cases, one of them twice, and the bound
    run.sendintr()
    run.expect("interrupted: the blocks measured until then were kept; rerun with --resume to complete them")
    run.expect(pexpect.EOF)
    run.close()
    assert run.exitstatus == pytest.ExitCode.INTERRUPTED
    kept = records(tmp_path)
    assert set(kept) == {"numpy-cpu", "jax-cpu"}
    assert all({each["turn"] for each in case["rounds"]} >= {0, 1} for case in kept.values())
    assert all(case["error_rates"] for case in kept.values())
    assert not any(child.is_running() for child in children)
    assert len(list((tmp_path / "journal").iterdir())) == 1  # --resume completes it


def test_an_interruption_before_the_first_block_is_no_error() -> None:
    """Ctrl-C while the first workers start: there is nothing to keep, and nothing fails for it."""

    class Impatient(NullProgress):
        def advance(self, text: str) -> None:
            if "starts" in text:
                raise KeyboardInterrupt

    measured = campaign(plan(), entries("a", "b"), progress=Impatient())
    results = measured.run()
    assert measured.interrupted
    assert {result.state for result in results.values()} == {State.SKIPPED}


def test_a_second_campaign_is_refused(bench: Bench, small_mnist: Path) -> None:
    """Two campaigns side by side would measure each other."""
    with only_campaign():
        result = bench("-k", "numpy-cpu")
    assert result.returncode == BusyError.EXIT_CODE
    sentence = "another campaign is measuring on this machine; wait for its end"
    assert (result.stdout + result.stderr).count(sentence) == 1


@pytest.mark.parametrize("given", [["-n", "2"], ["--dist", "load", "--tx", "popen"]])
def test_a_session_that_is_split_over_processes_is_refused(bench: Bench, given: list[str]) -> None:
    """Each process of pytest-xdist would run a campaign of its own."""
    result = bench("-k", "numpy-cpu", *given)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "leave -n and --dist out" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
