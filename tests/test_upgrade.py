"""Files of schema 1 load: published ones, those of version 0.1.0, and what its fields meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from samenet.environments import ROOT
from samenet.errors import StorageError
from samenet.records import State
from samenet.results import Outcome
from samenet.speedups import valid_cases
from samenet.storage import read_run
from samenet.upgrade import upgrade

if TYPE_CHECKING:
    from pathlib import Path

OLD = ROOT / "tests/data/schema-1"
EVERY = sorted((ROOT / "reports/published").rglob("*.json"))
RELEASES = {path.stem.partition("_")[2]: path for path in EVERY if path.stem.endswith("-releases")}
TRAININGS = [path for path in EVERY if path.stem.endswith(("_tanh-1000", "_linear-100"))]


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_published_trainings_load(path: Path) -> None:
    """The two trainings that the documentation shows, of schema 1."""
    results = read_run(path).results
    assert len(results.cases) == 4
    assert all(case.state is State.VALID and case.training for case in results.cases)
    assert {type(each.megahertz) for case in results.cases for each in case.rounds} == {type(None)}
    causes = {each.disturbance.cause for case in results.cases for each in case.rounds if each.disturbance}
    assert causes <= {State.CONTENDED}


def test_the_published_frameworks_are_what_the_readme_says() -> None:
    """Thirty cases, all valid; C++ is the fastest, and below its bound, which is below the peak."""
    (path,) = (path for path in EVERY if path.stem.endswith("_frameworks"))
    results = read_run(path).results
    assert [case.state for case in results.cases] == [State.VALID] * 30
    assert valid_cases(results.cases)[0].case == "cpp-cpu"
    assert results.bound
    assert results.peak
    assert all(case.efficiency and case.efficiency.value < 1 for case in results.cases)
    assert results.peak.timed.value < results.bound.timed.value


def test_the_published_releases_say_what_the_readme_says() -> None:
    """The verdicts of jax 0.7.2 and 0.10.2 and of numpy 2.4.6, each against the oldest release."""
    words: dict[str, dict[str, str]] = {}
    for name in ("jax-releases", "numpy-releases"):
        against = read_run(RELEASES[name]).results.against
        for each in against.verdicts if against else ():
            words.setdefault(each.case.partition(" @ ")[2], {})[each.quantity] = str(each.word)
    assert words["jax 0.7.2"]["steady"] == "slower"
    assert words["jax 0.10.2"] == {
        "steady": "faster",
        "first-step": "slower",
        "import": "slower",
        "memory": "larger",
    }
    assert words["numpy 2.0.2"] == {"steady": "same"}
    assert words["numpy 2.4.6"] == {"steady": "faster"}


def test_runs_of_the_version_before_load() -> None:
    """Its comparison, its bound and the second half of its A/A pair are whole results now."""
    plain, against = (read_run(path).results for path in sorted(OLD.glob("*.json")))
    assert plain.machine.governor is plain.machine.gpu_driver is None
    assert plain.bound
    assert plain.again
    assert plain.bound.workload == plain.again.workload == plain.cases[0].workload
    assert plain.bound.timed.value < plain.cases[0].timed.value
    assert against.against
    assert [case.state for case in against.against.before] == [State.VALID, State.VALID]
    assert against.against.before[0].timed.has_interval
    assert {verdict.word for verdict in against.against.verdicts} == {Outcome.INCONCLUSIVE}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seconds", ["0", "-1.0", "1e999"])
def test_a_time_that_is_no_duration_is_refused(seconds: str, tmp_path: Path) -> None:
    """Before anything is computed from it, and without a warning of numpy's."""
    text = re.sub(r'"wall_seconds": [^,}]+', f'"wall_seconds": {seconds}', min(OLD.glob("*.json")).read_text())
    changed = tmp_path / "0001_x.json"
    changed.write_text(text)
    with pytest.raises(StorageError, match=r"is not a duration|no number of a saved run"):
        read_run(changed)


def test_sentences_and_zeros_of_schema_1_get_their_meaning() -> None:
    """A disturbance has a cause, 0 is unknown where nothing can be 0, and an interval that reached 0 is none."""
    gpu = {"megahertz": 0.0, "celsius": 0.0, "watts": 0.0, "joules": 0.0, "slowdown": "", "others": 0}
    rounds: list[dict[str, Any]] = [
        {"launch": 0, "turn": turn, "wall_seconds": 1.0, "joules": 0.0, "disturbance": text, "gpu": gpu}
        for turn, text in enumerate(["", "throttled 3 times", "the hypervisor took 9 % of its CPUs"])
    ]
    case: dict[str, Any] = {
        "case": "a",
        "state": "valid",
        "rounds": rounds,
        "seconds": {"value": 1.0, "low": -0.1, "high": 2.0},
    }
    case |= {"peak_bytes": 0, "manifest": {"blas": "not stated", "compile": "none"}}
    variables = {"KMP_DUPLICATE_LIB_OK": "True", "CXX": "g++"}
    machine = {"governor": "not told", "gpu_driver": "none", "environment": variables}
    new = upgrade({"benchmarks": [{"extra_info": case}], "samenet": {"schema": 1, "machine": machine}})
    found = new["benchmarks"][0]["extra_info"]
    assert found["seconds"] == {"value": 1.0}
    assert found["manifest"] == {"blas": "unknown", "compile": "none"}
    assert "peak_bytes" not in found
    assert new["samenet"]["machine"] == {"environment": {"CXX": "g++"}}
    assert [each.get("disturbance", {}).get("cause") for each in found["rounds"]] == [None, "throttled", "contended"]
    assert found["rounds"][0]["gpu"] == {"slowdown": "", "others": 0}
    assert "joules" not in found["rounds"][0]
