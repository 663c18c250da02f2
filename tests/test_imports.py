"""Which module may import which, and how long files and functions may be: read from the source, without imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from bench.requirements import NEEDED
from impls.registry import bounds, own_implementations
from samenet.environments import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKAGES = ["impls", "samenet", "reports", "bench", "studies"]  # each imports only those to its left
ANYTHING = {"studies", "tests"}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in [*PACKAGES, "tests"]
    for path in sorted((ROOT / package).rglob("*.py"))
}
LANES = own_implementations() + bounds()
# scipy comes with some of the frameworks, and other packages use it too; scikit-learn has the embedded digits.
FRAMEWORKS = {name for lane in LANES for name, _ in lane.packages} - {"numpy", "scipy", "sklearn"}
# What runs in every worker, and what describes the lanes to the harness.
NEUTRAL = ["impls.devices", "impls.interface", "impls.lanes", "impls.registry", "impls.worker", "impls.workload"]
NEUTRAL += [name for name in FILES if name.startswith("impls.") and name.endswith("_lanes")]

STANDARD = set(sys.stdlib_module_names)
REQUIRED = {
    "impls": {"numpy"},
    "samenet": {"execnet", "msgspec", "numpy", "packaging", "threadpoolctl"},
    "reports": {"jinja2", "matplotlib", "numpy", "pandas", "rich", "ruptures", "scipy"},
}
OPTIONAL = {"samenet": {"pooch", "pynvml", "scipy", "sklearn"}}  # in a function, or where their absence is handled

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 40
LONG = {"impls.triton_mlp", "bench.options"}  # kernels, and a table of options


DASK = {"asyncssh", "cloudpickle", "dask", "distributed", "tornado"}
# Imported once a fleet is asked for, where Dask may be missing.
CARRIERS = dict.fromkeys((f"samenet.fleet.{name}" for name in ("carrier", "client", "clusters", "host", "tasks")), DASK)


def in_package(package: str) -> list[str]:
    """Return the names of a package's modules."""
    return [name for name in FILES if name.partition(".")[0] == package]


@cache
def tree(name: str) -> ast.Module:
    """Return the parsed source of a module."""
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def targets(node: ast.AST) -> Iterator[str]:
    """Yield the modules that a statement imports; of a package's names those that are modules of this project."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "write the whole name of the module"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in FILES else str(node.module)


@cache
def imported(name: str) -> frozenset[str]:
    """Return the modules that the module ``name`` imports, at any depth of its code and for typing."""
    return frozenset(chain.from_iterable(targets(node) for node in ast.walk(tree(name))))


def imported_at_once(name: str) -> set[str]:
    """Return the modules without which the module ``name`` cannot be imported."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree(name)]
    while waiting:
        node = waiting.pop()
        found.update(targets(node))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Try) and "ModuleNotFoundError" in map(ast.unparse, caught(node)):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def caught(statement: ast.Try) -> Iterator[ast.expr]:
    """Yield the errors that ``statement`` handles."""
    yield from (handler.type for handler in statement.handlers if handler.type)


def tops(names: set[str] | frozenset[str]) -> set[str]:
    """Return the packages of modules."""
    return {name.partition(".")[0] for name in names}


def reachable(name: str, of: Callable[[str], set[str] | frozenset[str]] = imported) -> set[str]:
    """Return the modules of this project that ``name`` leads to by the imports ``of`` each module, itself included."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in FILES and module not in seen:
            seen.add(module)
            waiting += of(module)
    return seen


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_to_its_left(package: str) -> None:
    """Imports for typing count; only the studies and the tests may import every package, and only tests the tests."""
    allowed = {package, *PACKAGES[: PACKAGES.index(package)]}
    for name in in_package(package):
        assert tops(imported(name)) & {*PACKAGES, "tests"} <= allowed, name


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for typing count."""
    TopologicalSorter({name: imported(name) for name in FILES}).prepare()  # raises with the circle


@pytest.mark.parametrize("name", in_package("impls"))
def test_implementations_need_numpy_the_standard_library_and_their_own_framework(name: str) -> None:
    """``impls`` runs in interpreters that have nothing else; a lane declares what its trainer may import."""
    declared: dict[str, set[str]] = defaultdict(set)
    for lane in LANES:
        declared[lane.trainer.partition(":")[0]].update(package for package, _ in lane.packages)
    assert tops(imported(name)) <= {"impls", "numpy"} | STANDARD | declared[name]


@pytest.mark.parametrize("name", NEUTRAL)
def test_no_framework_is_needed_for_what_all_lanes_share(name: str) -> None:
    """The harness and each worker import it, also through other modules, whichever framework they have."""
    for module in reachable(name):
        assert tops(imported(module)) <= {"impls", "numpy"} | STANDARD, module


@pytest.mark.parametrize("package", [*PACKAGES[1:], "tests"])
def test_no_framework_is_imported_outside_its_file(package: str) -> None:
    """The harness measures frameworks and never imports one."""
    for name in in_package(package):
        assert not tops(imported(name)) & FRAMEWORKS, name


@pytest.mark.parametrize("package", ["samenet", "reports"])
def test_a_package_imports_what_it_requires(package: str) -> None:
    """``samenet`` needs no pytest, pandas, matplotlib or pydantic; what is optional may be missing."""
    for name in in_package(package):
        required = {*PACKAGES, *REQUIRED[package], *CARRIERS.get(name, ())} | STANDARD
        assert tops(set(imported_at_once(name))) <= required, name
        assert tops(imported(name)) <= required | OPTIONAL.get(package, set()), name


def test_pytest_bench_names_all_that_it_needs() -> None:
    """Whatever its modules cannot be imported without; what comes with another package of these is in its name, too."""
    modules = {module for name in in_package("bench") for module in reachable(name, imported_at_once)}
    needed = tops({name for module in modules for name in imported_at_once(module)}) - {*PACKAGES, "pytest"} - STANDARD
    assert needed == set(NEEDED) - {"scipy"}  # which a measurement imports


def test_help_needs_no_pictures() -> None:
    """``pytest bench/ --help`` answers without waiting for matplotlib."""
    script = (
        "import sys, pytest; code = pytest.main(['bench/', '--help']); sys.exit(code or 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "--iterations" in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short(package: str) -> None:
    """A file holds one idea."""
    for path in code(ROOT / package):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_FILE_LINES, path


def code(folder: Path) -> list[Path]:
    """Return the files that people write and edit as code."""
    return [path for kind in ("py", "js", "css", "jinja") for path in folder.rglob(f"*.{kind}")]


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    """Their docstrings are not counted."""
    for name in in_package(package):
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and name not in LONG:
                assert lines(node) <= MOST_FUNCTION_LINES, f"{name}.{node.name}"


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's length without its docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring
