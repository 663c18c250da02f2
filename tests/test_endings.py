"""How ``pytest bench/`` ends where something other than a case goes wrong, and with other plugins and options."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import outputs
from impls.lanes import Case, Device, Implementation
from samenet import Measurement, Settings
from samenet.environments import ROOT
from samenet.errors import BusyError, SettingsError
from samenet.machine.lock import only_campaign
from samenet.progress import NullProgress
from samenet.records import State
from tests.support.command_line import HIDDEN

if TYPE_CHECKING:
    from tests.support.command_line import Bench

MEASURED = ("-k", "numpy-cpu")
SKIPPED = ("-k", "absent")  # is quick: it has no interpreter
TABLE = "book, Theano, CPU"  # in every table
# As in pytest-repeat and pytest-rerunfailures.
REPEATS = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--count", type=int, default=1)
    parser.addoption("--reruns", type=int)
    parser.addoption("--forked", action="store_true")

@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc):
    if metafunc.config.option.count > 1:
        metafunc.fixturenames.append("repeated")
        metafunc.parametrize("repeated", range(metafunc.config.option.count))

@pytest.fixture
def repeated(request):
    return request.param
"""


def plant(folder: Path, text: str) -> dict[str, Any]:
    """Write a plugin that is loaded with ``-p planted``, and return the environment that has it."""
    (folder / "planted.py").write_text(text)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests" / "plugin")])}


@pytest.mark.parametrize(
    ("target", "measured"),
    [
        ("samenet.measurement:prepare", False),
        ("samenet.campaign:Campaign.results", True),
        ("bench.plugin:campaign_section", True),
        ("bench.plugin:render", True),
        ("bench.replay:as_builtins", True),
        ("bench.options:offered", False),
    ],
    ids=["preparing", "measuring", "saving", "rendering", "in a test", "collecting"],
)
def test_a_bug_has_a_code_and_one_sentence(bench: Bench, tmp_path: Path, target: str, *, measured: bool) -> None:
    """The traceback is in the file that the sentence names, and what was measured is in the journal."""
    module, _, name = target.partition(":")
    planted = f"import {module}\n\ndef broken(*_, **__):\n    raise ValueError('planted')\n\n{module}.{name} = broken\n"
    environment = plant(tmp_path, planted)
    result = bench("-p", "planted", *MEASURED, "--benchmark-save=one", TMPDIR=str(tmp_path), **environment)
    text = result.stdout + result.stderr
    assert result.returncode == pytest.ExitCode.INTERNAL_ERROR, text
    (file,) = set(re.findall(r"a bug in samenet: ValueError; please report it with the traceback: (\S+?\.txt)", text))
    assert "ValueError: planted" in Path(file).read_text()
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    if measured:
        (journal,) = (tmp_path / "journal").iterdir()
        assert f"; its rounds are in {journal}: rerun with --resume" in text


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--benchmark-disable"], "pytest-benchmark is disabled, and would store nothing"),
        (["--benchmark-skip"], "--benchmark-skip skips every case"),
        (["-p", "no:benchmark"], "pytest-benchmark is not loaded; run: "),
        (["--setup-plan"], "--setup-plan runs no test"),
        (["--setup-only"], "--setup-only runs no test"),
        (["--benchmark-cprofile=tottime"], "--benchmark-cprofile would profile the clock"),
        (["--count", "2"], "absent-cpu is selected twice"),
        (["--reruns", "2"], "--reruns repeats a test"),
        (["--forked"], "--forked discards the results"),
        (["--against", "HEAD", "--comment", "/nowhere/comment.md"], "cannot write /nowhere/comment.md: No such file"),
        (["--comment", "comment.md"], "--comment writes the verdicts of --against or --versions; add one of them, or"),
        (["--against", ""], "--against is empty; it needs a git revision, such as HEAD or main"),
        (["--timeout", "1e10"], "timeout_seconds is 10000000000.0; it must be 86400 or less"),
        (["--benchmark-json", "/nowhere/run.json"], "cannot write /nowhere/run.json: No such file or directory"),
        (["--junitxml", "/proc/nowhere/junit.xml"], "cannot write /proc/nowhere/junit.xml: No such file or directory"),
        ([f"--benchmark-save={'x' * 300}"], "cannot save into "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_work_is_refused_at_once(bench: Bench, tmp_path: Path, given: list[str], complaint: str) -> None:
    """One sentence, the code of wrong usage, and nothing was started."""
    result = bench("-p", "planted", *SKIPPED, *given, **plant(tmp_path, REPEATS))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR, result.stdout
    text = result.stdout + result.stderr
    assert text.count(complaint) == 1
    assert "Traceback" not in text
    assert "no interpreter for absent" not in text


def test_an_option_that_another_plugin_has_too_is_named(bench: Bench, tmp_path: Path) -> None:
    """As pytest-timeout has --timeout."""
    planted = "def pytest_addoption(parser):\n    parser.addoption('--timeout')\n"
    result = bench("-p", "planted", *SKIPPED, **plant(tmp_path, planted))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "another plugin of pytest has one of samenet's options" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "given",
    [
        ["-p", "no:terminal"],
        ["-p", "no:capture"],
        ["-p", "no:junitxml"],
        ["-s"],
        ["-x"],
        ["--benchmark-only"],
        ["--benchmark-disable", "--benchmark-enable"],
        ["--no-summary"],
        ["-n", "0"],
        ["--comment", ""],
    ],
    ids=" ".join,
)
def test_an_option_of_pytest_leaves_the_table_as_it_is(bench: Bench, given: list[str]) -> None:
    """Whatever pytest is asked for, the table is printed and the exit code is that of the cases."""
    result = bench(*SKIPPED, *given, plugins=True)
    assert result.returncode == 0, result.stderr
    assert TABLE in result.stdout
    assert "absent-cpu is skipped: no interpreter for absent" in result.stdout
    assert not result.stderr


def test_last_failed_and_collecting_work(bench: Bench, tmp_path: Path) -> None:
    """``--lf`` measures what failed, and ``--co`` nothing."""
    cache = ("-p", "cacheprovider", "-o", f"cache_dir={tmp_path / 'cache'}", "-k", "absent or unimportable")
    assert bench(*cache, plugins=True).returncode == pytest.ExitCode.TESTS_FAILED
    again = bench(*cache, "--lf", plugins=True)
    assert again.returncode == pytest.ExitCode.TESTS_FAILED
    assert "absent-cpu" not in again.stdout
    listed = bench(*MEASURED, "--co", "-q")
    assert listed.returncode == 0
    assert "test_iterations[numpy-cpu]" in listed.stdout
    assert TABLE not in listed.stdout


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        (["-W", "error", "--junitxml={}/junit.xml", "--benchmark-json={}/run.json"], {"PYTHONWARNINGS": "error"}),
        (["-s"], {"PYTHONOPTIMIZE": "1", "PYTHONIOENCODING": "ascii"}),
    ],
    ids=["warnings are errors", "no assertions and ASCII alone"],
)
def test_a_strict_or_poor_interpreter_measures(
    bench: Bench, tmp_path: Path, given: list[str], environment: dict[str, Any]
) -> None:
    """Neither our own code nor pytest-benchmark's warnings end such a session."""
    result = bench(*MEASURED, *HIDDEN, *[each.format(tmp_path) for each in given], **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert TABLE in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("ends", "code"), [("| head -1", 4), ("> /dev/full", 4), (">&-", 0), (">&- 2>&-", 0), ("2> /dev/full", 0)]
)
def test_a_terminal_that_is_gone_is_no_regression(bench: Bench, ends: str, code: int) -> None:
    """It has a sentence and a code of its own; an output that the caller has closed is not missed."""
    command = ["bash", "-c", f'"$@" {ends}; exit ${{PIPESTATUS[0]}}', "bash", *bench.command(*SKIPPED)]
    environment = bench.environment(plugins=True)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("cannot write the output") == (code != 0)
    if ends == "> /dev/full":  # head may read more than its line before it goes
        assert "; nothing was measured" in result.stderr


def test_one_output_that_fails_leaves_the_others_and_the_table(bench: Bench, tmp_path: Path) -> None:
    """Two outputs on a full disk: the run is stored, the table is printed, each has a sentence."""
    outputs_given = ("--benchmark-json=/dev/full", "--junitxml=/dev/full", "--benchmark-save=one")
    result = bench(*SKIPPED, *outputs_given, plugins=True, GITHUB_STEP_SUMMARY="/dev/full")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot write /dev/full: No space left on device" in result.stdout
    assert "cannot use /dev/full: No space left on device" in result.stdout
    assert TABLE in result.stdout
    (saved,) = tmp_path.rglob("0001_one.json")
    assert json.loads(saved.read_text())["samenet"]["cases_without_number"]


def test_stopping_at_the_first_failure_loses_no_result(bench: Bench) -> None:
    """All cases have been measured by then, so -x lets each hand over its result."""
    result = bench("-k", "unimportable or absent or diverging", "-x", plugins=True)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 1 skipped" in result.stdout


@pytest.mark.parametrize("ends", ["stepwise", "Ctrl-C"])
def test_a_session_that_is_stopped_after_a_failed_case_has_the_cases_code(
    bench: Bench, tmp_path: Path, ends: str
) -> None:
    """It is a failed case all the same, and pytest's code for an interruption would let a build pass."""
    given = ("-k", "unimportable or absent", "-p", "cacheprovider", "-o", f"cache_dir={tmp_path / 'cache'}")
    if ends == "stepwise":
        result = bench(*given, "-p", "stepwise", "--stepwise", plugins=True)
    else:
        planted = "def pytest_runtest_logreport(report):\n    if report.failed:\n        raise KeyboardInterrupt\n"
        result = bench(*given, "-p", "planted", **plant(tmp_path, planted))
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Interrupted" in result.stdout or "KeyboardInterrupt" in result.stdout
    assert TABLE in result.stdout


def test_a_session_that_ends_early_keeps_its_rounds(bench: Bench, tmp_path: Path) -> None:
    """Another plugin ends it before the test that stores them: the sentence says where they are."""
    planted = "def pytest_runtest_protocol(item):\n    item.session.shouldstop = 'enough'\n    return True\n"
    result = bench("-p", "planted", *SKIPPED, **plant(tmp_path, planted))
    (journal,) = (tmp_path / "journal").iterdir()
    assert f"the session ended before every result was stored; its rounds are in {journal}" in result.stdout
    assert result.returncode != pytest.ExitCode.TESTS_FAILED


def test_a_busy_machine_is_one_sentence_for_several_sizes(bench: Bench) -> None:
    """The lock is asked for once, before the first of them."""
    with only_campaign():
        result = bench("bench/test_scaling.py", "-k", "absent and test_scaling and hidden", plugins=True)
    assert result.returncode == BusyError.EXIT_CODE
    sentence = "another campaign is measuring on this machine; wait for its end"
    assert (result.stdout + result.stderr).count(sentence) == 1


def test_a_caller_may_hold_the_lock_over_several_measurements(small_mnist: Path) -> None:
    """Then no other campaign gets in between; ``run`` by itself takes the lock."""
    packages = (("a_package_that_is_not_there", "absent"),)
    absent = Implementation(name="absent", trainer="absent:Absent", environment="absent", packages=packages)
    measurement = Measurement([Case(absent, Device("cpu"))], Settings(data=small_mnist))
    with only_campaign():
        assert measurement.run_locked(NullProgress())["absent-cpu"].state is State.SKIPPED
        with pytest.raises(BusyError):
            measurement.run(NullProgress())


def test_a_check_leaves_a_file_as_it_was(tmp_path: Path) -> None:
    """One that is there keeps its content, none is made, and a pipe without a reader is not waited for."""
    present, new, pipe = tmp_path / "present", tmp_path / "new", tmp_path / "pipe"
    present.write_text("before")
    os.mkfifo(pipe)
    for path in (present, new):
        outputs.check_file(path, "--comment")
    assert present.read_text() == "before"
    assert not new.exists()
    for path in (pipe, tmp_path, Path("null\0byte")):
        with pytest.raises(SettingsError, match="choose another with --comment"):
            outputs.check_file(path, "--comment")
