"""What a worker gets of the caller's environment and files, and what it does not get."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from samenet import worker_environment
from samenet.environments import ROOT
from samenet.machine.cpus import choose_cpus
from samenet.machine.description import describe
from samenet.worker_environment import environment_of
from samenet.workers import Worker
from tests.support.hostile import IGNORED, PASSED_ON
from tests.support.workers import CASES, interpreter_for

if TYPE_CHECKING:
    from tests.support.hostile import Situation

NUMPY = next(case for case in CASES if case.id == "numpy-cpu")


def started(folder: Path, case_id: str = "numpy-cpu", **environment: str) -> Worker:
    """Start a worker, with these variables besides its own."""
    case = next(case for case in CASES if case.id == case_id)
    cpus = choose_cpus(None)
    return Worker(case, interpreter_for(case), ROOT, cpus=cpus, folder=folder, environment=environment)


def environment_at_start(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(line.split("=", 1) for line in lines)


def test_a_worker_starts_with_the_made_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its very start, since some variables act before any of its code runs."""
    for variables in [row.environment for row in IGNORED]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", "relative")
    monkeypatch.setenv("EDITOR", "ed")
    with started(tmp_path, MINE="a // b\nc 'd'") as worker:
        seen = environment_at_start(worker.pid)
    assert seen == environment_of(NUMPY, len(worker.cpus), tmp_path) | {"MINE": "a // b\nc 'd'"}
    assert seen["OMP_NUM_THREADS"] == str(len(worker.cpus))
    assert seen["TMPDIR"] == str(Path("relative").absolute())
    assert "EDITOR" not in seen


@pytest.mark.parametrize("row", IGNORED, ids=lambda row: row.situation)
def test_a_variable_that_is_not_passed_on_is_named(
    row: Situation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Or it has the value that every worker gets."""
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
        assert name in worker_environment.ignored(os.environ)
        assert environment_of(NUMPY, 2, tmp_path).get(name) != value
        assert name not in describe(choose_cpus(1)).environment


@pytest.mark.parametrize("row", PASSED_ON, ids=lambda row: row.situation)
def test_what_is_passed_on_is_recorded(row: Situation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the names of folders alone, since the run may be published."""
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
        assert environment_of(NUMPY, 2, tmp_path)[name] == value
        shown = describe(choose_cpus(1)).environment[name]
        assert "/" not in shown
        assert shown.split(" (")[0] == value.rpartition("/")[2]
        assert name not in worker_environment.ignored(os.environ)


def test_different_paths_differ_in_what_is_recorded() -> None:
    """Also if their last names are the same; a run that was saved with these alone may be the same."""
    paths = ("/opt/mkl/lib", "/opt/openblas/lib", "/opt/openblas/lib:/usr/lib", "/opt/\udcff/lib")
    texts = [worker_environment.recorded({"LD_LIBRARY_PATH": path})["LD_LIBRARY_PATH"] for path in paths]
    old, mkl, openblas = "lib", texts[0], texts[1]
    assert len(set(texts)) == len(paths)
    assert re.fullmatch(r"lib \([0-9a-f]{6}\)", mkl)
    assert not worker_environment.same_variable(mkl, openblas)
    assert worker_environment.same_variable(mkl, mkl)
    assert worker_environment.same_variable(mkl, old)
    assert worker_environment.same_variable(old, old)
    assert not worker_environment.same_variable(mkl, "lib64")
    assert worker_environment.recorded({"CXX": "g++"}) == {"CXX": "g++"}


@pytest.mark.parametrize(("case", "name"), [("theano-cpu", ".theanorc"), ("pytensor-cpu", ".pytensorrc")])
def test_settings_in_the_users_home_do_not_reach_a_lane(case: str, name: str, tmp_path: Path) -> None:
    """With such a file the import would fail."""
    (tmp_path / name).write_text("[global]\nfloatX = float7\n")
    with started(tmp_path, case, HOME=str(tmp_path)) as worker:
        assert worker.load_framework() > 0


def test_no_module_comes_from_the_folder_that_samenet_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither Python's own nor a framework's."""
    for name in "random", "numpy", "ctypes":
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with started(tmp_path) as worker:
        assert worker.load_framework() > 0
        assert Path(f"/proc/{worker.pid}/cwd").readlink() == tmp_path


def test_an_interpreter_that_changes_its_environment_is_corrected(tmp_path: Path) -> None:
    """A sitecustomize runs before samenet's first line, and is not the last to set a variable."""
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['OPENBLAS_NUM_THREADS'] = '1'\n")
    with started(tmp_path, PYTHONPATH=str(tmp_path)) as worker:
        worker.load_framework()
        assert {pool["num_threads"] for pool in worker.thread_pools()} == {len(worker.cpus)}


def test_a_worker_says_whether_it_flushes_denormal_numbers(tmp_path: Path) -> None:
    """As the main thread does after a library that was linked with -ffast-math has been loaded."""
    source = (
        "void __attribute__((constructor)) flush(void) { __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); }"
    )
    library = tmp_path / "flush.so"
    compile_it = ["cc", "-shared", "-fPIC", "-msse", "-o", str(library), "-x", "c", "-"]
    try:
        subprocess.run(compile_it, input=source, text=True, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler for x86")
    for preloaded, flushes in {"": False, str(library): True}.items():
        with started(tmp_path, LD_PRELOAD=preloaded) as worker:
            worker.thread_pools()
            assert worker.flushes_denormals is flushes


def test_the_harness_needs_no_variable_at_all() -> None:
    """A worker's environment can be made from an empty one."""
    script = "import samenet.worker_environment as w, os; print(w.recorded(os.environ), w.ignored(os.environ))"
    done = subprocess.run([sys.executable, "-c", script], env={}, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "{} []\n"
