"""Which room may import which: read from the source, so that no import has to happen."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FRAMEWORKS = {"cupy", "jax", "jaxlib", "numba", "pytensor", "theano", "torch", "triton"}
OWN: dict[str, set[str]] = {
    "cupy_mlp": {"cupy"},
    "jax_matmul": {"jax"},
    "torch_matmul": {"torch"},
    "torch_mlp": {"torch"},
    "torch_compile_mlp": {"torch"},
    "torch_cudagraph_mlp": {"torch"},
    "triton_mlp": {"torch", "triton"},
    "jax_scan_mlp": {"jax"},
    "jax_mlp": {"jax"},
    "pytensor_mlp": {"pytensor"},
    "pytensor_jax_mlp": {"jax"},  # its backend, whose arrays it is handed; pytensor comes through pytensor_mlp
    "theano_tuned_mlp": set(),  # through theano_mlp, which links Theano to a BLAS
    "theano_mlp": {"theano", "scipy"},  # scipy's wheel carries the BLAS that Theano is linked to
}


def imported(path: Path) -> set[str]:
    """Return the names of the modules that ``path`` imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def top_level(path: Path) -> set[str]:
    """Return the imported packages."""
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "impls").glob("*.py")), ids=lambda path: path.stem)
def test_implementations_need_numpy_the_stdlib_and_one_framework(path: Path) -> None:
    """``impls`` runs in interpreters that have nothing else."""
    allowed = {"impls", "numpy", *sys.stdlib_module_names} | OWN.get(path.stem, set())
    assert top_level(path) <= allowed


@pytest.mark.parametrize("room", ["bench", "reports", "tests"])
def test_no_framework_is_imported_outside_its_file(room: str) -> None:
    """The harness measures frameworks; it never loads one."""
    for path in (ROOT / room).rglob("*.py"):
        assert not top_level(path) & FRAMEWORKS, path


def test_the_harness_does_not_depend_on_the_reports() -> None:
    """Those that join the rooms know both; the reports know the harness's records at most."""
    for path in (ROOT / "bench").glob("*.py"):
        assert path.stem in {"against", "session", "studies", "test_scaling"} or "reports" not in top_level(path), path
    for path in (ROOT / "reports").glob("*.py"):
        bench = {name for name in imported(path) if name.startswith("bench")}
        assert bench <= {"bench.records"}, path
