"""What lanes compile: which library is used again, what a failure says, and what the peak's loop computes."""

from __future__ import annotations

import ctypes
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from impls.compiled import compile_library
from impls.workload import Workload, initial_params
from samenet.environments import ROOT
from tests.support.data import make_split
from tests.support.workers import CASES, live_worker

if TYPE_CHECKING:
    from pathlib import Path

    from samenet.workers import Worker

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
SOURCE = 'extern "C" int answer() { return ANSWER; }'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a C++ file."""
    path = tmp_path / "answer.cpp"
    path.write_text(SOURCE)
    return path


def test_a_library_is_compiled_once_for_each_source_and_its_flags(source: Path, tmp_path: Path) -> None:
    """Another answer is another file, and nothing unfinished is left."""
    first, again, other = (compile_library(source, tmp_path / "out", f"-DANSWER={n}") for n in (1, 1, 2))
    assert first == again != other
    assert [ctypes.CDLL(str(library)).answer() for library in (first, other)] == [1, 2]
    source.write_text(SOURCE + "\n")
    assert compile_library(source, tmp_path / "out", "-DANSWER=1") != first
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".so"}


def test_a_failure_says_what_to_do(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler's first error, or that there is none."""
    with pytest.raises(RuntimeError, match=r"g\+\+ failed: .*error: .ANSWER. was not declared"):
        compile_library(source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.setenv("CXX", "no-compiler -O1")
    with pytest.raises(RuntimeError, match="there is no C\\+\\+ compiler no-compiler -O1; install g\\+\\+, or set CXX"):
        compile_library(source, tmp_path / "out")


def test_a_compiler_may_have_arguments(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where CXX is "ccache g++"."""
    launcher = tmp_path / "launcher"
    launcher.write_text('#!/bin/sh\nexec "$@"\n')
    launcher.chmod(stat.S_IRWXU)
    monkeypatch.setenv("CXX", f"{launcher} g++")
    assert ctypes.CDLL(str(compile_library(source, tmp_path / "out", "-DANSWER=3"))).answer() == 3


def test_the_loop_of_the_peak_computes_each_of_its_sums(tmp_path: Path) -> None:
    """All of them, to the values that so many multiplications and additions have."""
    library = ctypes.CDLL(str(compile_library(ROOT / "impls" / "fma_peak.cpp", tmp_path)))
    library.operations_of_pass.restype = ctypes.c_long
    library.multiply_and_add.argtypes = ctypes.c_long, ctypes.c_float, ctypes.c_float
    library.multiply_and_add.restype = ctypes.c_float
    numbers = library.operations_of_pass() // 2
    assert numbers >= 48
    for passes in (0, 1, 3, 40):
        expected = sum(i * 0.5**passes + 2 * (1 - 0.5**passes) for i in range(numbers))
        assert library.multiply_and_add(passes, 0.5, 1.0) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "worker", [case for case in CASES if case.id == "theano-cpu"], ids=lambda case: case.id, indirect=True
)
def test_what_theano_has_compiled_is_found_by_the_next_process(worker: Worker, caches: Path) -> None:
    """But for a DimShuffle, one of twenty-two operations."""

    def compiled(worker: Worker) -> set[Path]:
        worker.build(Workload(), make_split(1200), initial_params(Workload()))
        return set((caches / worker.case.id).rglob("mod.cpp"))

    before = compiled(worker)
    assert len(before) > 20
    with live_worker(worker.case, caches) as later:
        assert len(compiled(later) - before) <= 1
