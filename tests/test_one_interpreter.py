"""One interpreter with the essentials, as README.md lists them, measures what it has and names what it lacks."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.requirements import NEEDED, lacking
from samenet.environments import ROOT
from samenet.installers import find_installer
from tests.support.command_line import records

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.xdist_group("one_interpreter")  # which is installed once

COMMAND = re.compile(r"^    python -m pip install (numpy .*)$", re.MULTILINE)
WITH_CUDA = re.compile(r"torch|triton|cupy.*")  # gigabytes, and of no use on a CPU
PINS = {"numpy": "numpy==2.5.*", "jax": "jax==0.11.*"}

# Runs in that interpreter: the parity of each lane that it has, in workers for which each warning is an error.
PARITY = """
import sys
from pathlib import Path
from impls.lanes import Case, Device
from impls.workload import Workload
from samenet.environments import ROOT
from tests.support.command_line import records
from samenet.machine.cpus import choose_cpus
from samenet.workers import Worker
from tests.support.workers import assert_agreement, implementation
for name in "numpy", "jax", "jax-scan":
    case, folder = Case(implementation(name), Device("cpu")), Path(sys.argv[1])
    environment = {"PYTHONWARNINGS": "error"}
    with Worker(
        case, Path(sys.executable), ROOT, cpus=choose_cpus(None), folder=folder, environment=environment
    ) as worker:
        worker.load_framework()
        assert_agreement(worker, Workload(hidden=33, batch_size=50), rows=500)
"""

# pytest bench/ where two of the libraries cannot be found.
WITHOUT = """
import sys
sys.modules["rich"] = sys.modules["msgspec"] = None
import pytest
sys.exit(pytest.main(["bench/", "-p", "no:cacheprovider"]))
"""


def find_python() -> str | None:
    """Return a Python 3.12, or None; pyenv's own python3.12 answers only where one is switched on."""
    of_pyenv = sorted(map(str, Path.home().glob(".pyenv/versions/3.12*/bin/python3.12")))
    for python in filter(None, [shutil.which("python3.12"), *of_pyenv]):
        done = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
        if done.stdout.startswith("Python 3.12."):
            return python
    return None


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """Return an interpreter with the essentials but torch, cupy and triton; it is kept in pytest's cache."""
    base = find_python()
    if base is None:
        pytest.skip("there is no Python 3.12")
    (listed,) = COMMAND.findall((ROOT / "README.md").read_text())
    names = [name.partition("[")[0] for name in shlex.split(listed)]
    essentials = [PINS.get(name, name) for name in names if not WITH_CUDA.fullmatch(name)]
    assert len(essentials) == len(names) - 3
    digest = hashlib.sha256(" ".join(essentials).encode()).hexdigest()[:12]
    folder = request.config.cache.mkdir(f"essentials-{digest}")
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder / "venv", ignore_errors=True)
        installer = find_installer()
        installer.create(Path(base), folder / "venv")
        installer.install(folder / "venv", installer.resolve(folder / "venv", essentials), [], print)
        done.touch()
    return folder / "venv" / "bin" / "python"


def environment(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment without tox's interpreters."""
    return os.environ | {"TOX_WORK_DIR": str(tmp_path / "no-tox")}


@pytest.mark.slow
def test_its_lanes_pass_parity_without_a_warning(python: Path, tmp_path: Path) -> None:
    """With numpy 2.5 and jax 0.11, which are newer than those that tox installs."""
    command = [str(python), "-W", "error", "-c", PARITY, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_its_cases_are_measured(python: Path, small_mnist: Path, tmp_path: Path) -> None:
    """And the case of a framework that it lacks says what to install."""
    options = ["--iterations", "5", "--rounds", "1", "--launches", "1", "--workload", "hidden=33,batch_size=100"]
    options += ["--data", str(small_mnist), "--benchmark-storage", str(tmp_path), "--benchmark-save=one"]
    command = [str(python), "-m", "pytest", "bench/", "-k", "[numpy-cpu] or [jax-cpu] or [torch-cpu]", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "torch-cpu is skipped: no interpreter for torch; run: " in done.stdout
    found = records(tmp_path)
    assert found["torch-cpu"]["state"] == "skipped"
    for case in "numpy-cpu", "jax-cpu":
        assert [launch["parity"]["verified"] for launch in found[case]["launches"]] == [True]
        assert found[case]["versions"]["python"].startswith("3.12.")
        assert found[case]["versions"]["numpy"].startswith("2.5.")


def test_all_that_is_missing_is_named_in_one_sentence() -> None:
    """Before anything else happens, with the command that installs it."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    sentence = "msgspec, rich are not installed; run: python -m pip install msgspec rich"
    assert done.stderr.strip() == f"ERROR: {sentence}"
    assert lacking() == ""
    assert "rich" in NEEDED
