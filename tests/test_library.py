"""samenet as a library: the README's notebook as written, and an environment without pytest or pandas."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from samenet import Scaling, Settings, measure, read_run
from samenet.environments import ROOT
from samenet.records import State
from tests.support.command_line import HIDDEN, some_of_tox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.command_line import Bench

NONE_VALID = "no case of these results is valid; see the reason of each case"  # on a busy machine
QUICK = Settings(workload="hidden=20,batch_size=100", iterations=20, rounds=2, launches=1)

# Runs in an environment that has nothing but what samenet needs.
MEASURE = """
import sys
from pathlib import Path
import samenet
from samenet import Settings, measure
for name in ("pytest", "pandas", "matplotlib", "pydantic"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is here")
settings = Settings(data=Path(sys.argv[1]), workload="hidden=20,batch_size=100", iterations=20, launches=1)
result = measure(["numpy-cpu"], settings)["numpy-cpu"]
print(result.state, result.error_rates["validation"], len(result.rounds))
"""

INSTALLED = """
import sys
from pathlib import Path
from samenet import Settings, measure
from samenet.environments import ROOT
from samenet.errors import RevisionError
from samenet.git import present_commit
quick = {"data": Path(sys.argv[1]), "workload": "hidden=20,batch_size=100", "iterations": 20, "launches": 1}
results = measure(["numpy-cpu", "torch-cpu"], Settings(**quick))
print(results["numpy-cpu"].state)
print(results["torch-cpu"].reason)
print(present_commit(ROOT).label)
try:
    measure(["numpy-cpu"], Settings(**quick, against="HEAD"))
except RevisionError as error:
    print(error)
"""


def run(source: str, *arguments: object, python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python source in this project's tree."""
    command: Sequence[str] = [str(python), "-c", source, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_it_measures_in_an_environment_without_pytest_and_pandas(small_mnist: Path, tmp_path: Path) -> None:
    """Made by the test, with the dependencies that pyproject.toml names for the library and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", *project["dependencies"]]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    result = run(MEASURE, small_mnist, python=python, TOX_WORK_DIR=str(tmp_path / "none"))
    assert result.returncode == 0, result.stderr
    state, error, rounds = result.stdout.split()
    assert state in {"valid", "contended"}  # the machine may be busy
    assert 0 <= float(error) <= 100
    assert int(rounds) >= 1


def test_a_wheel_measures_from_any_folder(small_mnist: Path, tmp_path: Path) -> None:
    """Installed into an environment inside another project's repository, whose commit is not samenet's."""
    project = tmp_path / "project"
    for command in ("init --quiet", "-c user.name=t -c user.email=t@example.org commit -q --allow-empty -m other"):
        project.mkdir(exist_ok=True)
        subprocess.run(["git", *command.split()], cwd=project, check=True)  # noqa: S607
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT, tmp_path / "source", ignore=ignored)
    venv.create(project / ".venv", with_pip=True)
    python = project / ".venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", str(tmp_path / "source")]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    environment = {name: value for name, value in os.environ.items() if name not in {"TOX_WORK_DIR", "PYTHONPATH"}}
    done = subprocess.run(
        [str(python), "-c", INSTALLED, str(small_mnist)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    state, absent, commit, against = done.stdout.splitlines()
    assert state in {"valid", "contended"}
    assert absent == "no interpreter for torch; run: python -m pip install torch"
    assert commit == "no commit"
    assert against.endswith("is not part of a repository; run this in a git checkout of samenet")


def test_the_readmes_notebook_runs_as_written(small_mnist: Path, tmp_path: Path) -> None:
    """Its lines are run as they are, on small data; the frame has both cases, and the picture is SVG."""
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(lines.splitlines()) <= 12
    shown = lines.rstrip().rpartition("\n")
    call = shown[2].partition("#")[0].strip()
    drawn = f"try:\n    print({call}.svg[:4])\nexcept ValueError as error:\n    print(error)\n"
    source = f"{shown[0]}\n{drawn}"
    tox = str(some_of_tox(tmp_path / "tox", ("numpy", "torch")))
    result = run(source, python=Path(sys.executable), SAMENET_DATA=str(small_mnist), TOX_WORK_DIR=tox)
    assert result.returncode == 0, result.stderr
    for case in ("numpy-cpu", "torch-cpu"):
        assert case in result.stdout
    assert result.stdout.splitlines()[-1] in {"<svg", NONE_VALID}


def test_a_saved_run_is_read_into_the_types_that_were_measured(bench: Bench, tmp_path: Path) -> None:
    """Nothing is lost on the way through the file."""
    bench("-k", "numpy-cpu", *HIDDEN, "--benchmark-save=one")
    (path,) = tmp_path.rglob("*.json")
    run = read_run(path)
    result = run.results["numpy-cpu"]
    assert result.workload.hidden == 20
    assert {(each.launch, each.turn) for each in result.rounds} >= {(0, 0), (0, 1)}
    assert run.results.bound
    assert run.results.bound.versions["numpy"]
    assert run.results.again
    assert run.results.campaign.id
    with pytest.raises(KeyError, match="no case torch-cpu in these results; choose one of: numpy-cpu"):
        run.results["torch-cpu"]


def test_a_case_that_cannot_be_measured_is_in_the_results_with_its_reason(small_mnist: Path, tmp_path: Path) -> None:
    """Without its interpreter, or for another network."""
    settings = replace(QUICK, data=small_mnist, workload="model=linear,batch_size=100")
    result = measure(["numpy-tuned-cpu"], settings)["numpy-tuned-cpu"]
    assert result.state is State.SKIPPED
    assert result.reason == "unsupported: numpy-tuned supports only model mlp"


def test_several_sizes_are_one_result(small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign for each size, their cases together, and no bound that would belong to all."""
    monkeypatch.setenv("TOX_WORK_DIR", str(some_of_tox(tmp_path / "tox", ["numpy"])))
    protocol = Scaling(sizes=("hidden=100", "hidden=250"))
    results = measure(["numpy-cpu"], replace(QUICK, protocol=protocol, data=small_mnist))
    assert [case.workload.hidden for case in results.cases] == [100, 250]
    assert {case.protocol for case in results.cases} == {"scaling"}
    assert results.bound is None
    assert results.noise_floor is None
