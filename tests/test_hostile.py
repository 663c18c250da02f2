"""In no environment is a case valid with less than it was given; docs/hostile-environments.md lists them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command_line import Bench, records
from tests.support.hostile import ALONE, IGNORED, PASSED_ON, Situation

if TYPE_CHECKING:
    from pathlib import Path

CPUS = sorted(os.sched_getaffinity(0))
# Large enough to be shared by two threads, with an activation that has no bound, whose workers would take most time.
LARGE = "hidden=500,batch_size=600,activation=prelu"
OPTIONS = ["-k", "numpy-cpu or [torch-cpu]", "--benchmark-save=x", "--workload", LARGE]
OPTIONS += ["--iterations", "5", "--threads", "2"]
BUSY = {"contended", "throttled"}  # this machine's other load, on which no test may depend

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(len(CPUS) < 2, reason="one CPU has no other that a thread could lack"),
]


def run(bench: Bench, home: Path, **environment: Any) -> tuple[str, dict[str, dict[str, Any]]]:
    """Measure numpy and torch at ``home`` with these variables, and return the output and both cases."""
    home.mkdir(exist_ok=True)
    result = bench(*OPTIONS, frameworks=("numpy", "torch"), HOME=str(home), **environment)
    assert "Traceback" not in result.stdout + result.stderr, result.stdout + result.stderr
    return result.stdout, records(bench.storage)


def check(case: dict[str, Any], state: str) -> None:
    """Assert that the case has this state, and that it had all that it was given if it could have a number."""
    assert case["state"] in ({state} if state != "valid" else {"valid", *BUSY}), case["reason"]
    if state == "valid":
        for launch in case["launches"]:
            assert launch["threads_working"] >= case["threads"] == 2
            assert len(launch["threads_cpus"]) == 2


def ignored(output: str) -> set[str]:
    """Return the variables that the output says are ignored."""
    (line,) = re.findall(r"^ignored: (.*); workers get settings of their own$", output, re.MULTILINE)
    return set(line.split(", "))


def test_all_variables_at_once_change_nothing(bench: Bench, tmp_path: Path) -> None:
    """One that reached a worker would cost it threads, or be missing in the line that names them."""
    rows = [*IGNORED, *PASSED_ON]
    environment = {name: value for row in rows for name, value in row.environment.items()}
    output, seen = run(bench, tmp_path / "home", **environment)
    for row in IGNORED:
        assert set(row.environment) <= ignored(output)
    (passed,) = re.findall(r"^passed on: .*$", output, re.MULTILINE)
    for row in PASSED_ON:
        assert row.sentence.removeprefix("passed on: ") in passed
    for name, case in seen.items():
        check(case, IGNORED[0].states[name])


@pytest.mark.slow
@pytest.mark.parametrize("row", ALONE, ids=lambda row: row.situation)
def test_a_situation_has_the_state_that_the_docs_say(row: Situation, bench: Bench, tmp_path: Path) -> None:
    """And the sentence."""
    home = tmp_path / "home"
    home.mkdir()
    for name, text in row.files.items():
        (home / name).write_text(text)
    modules = {"PYTHONPATH": str(home)} if any(name.endswith(".py") for name in row.files) else {}
    output, seen = run(bench, home, **row.environment, **modules)
    assert row.sentence.replace("CPU 0", f"CPU {CPUS[0]}") in " ".join(output.split())
    for name, state in row.states.items():
        check(seen[name], state)


@pytest.mark.skipif("SAMENET_HOSTILE" not in os.environ, reason="set SAMENET_HOSTILE to run each variable by itself")
@pytest.mark.parametrize("row", [*IGNORED, *PASSED_ON], ids=lambda row: row.situation)
def test_a_variable_by_itself_changes_nothing(row: Situation, bench: Bench, tmp_path: Path) -> None:
    """None hides what another one does."""
    output, seen = run(bench, tmp_path / "home", **row.environment)
    assert set(row.environment) <= ignored(output) if row in IGNORED else row.sentence in output
    for name, state in row.states.items():
        check(seen[name], state)
