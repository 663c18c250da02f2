"""Which frameworks are measured, the environments that they lack, and what a library costs over its backend."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from impls.installed import size_on_disk
from impls.registry import frameworks, own_implementations
from reports.overhead import overheads, picture, table
from samenet.environments import disk_bytes
from samenet.package_environments import made_environments
from samenet.records import State
from studies.wheels import Releases
from tests.support.command_line import Bench, records, without_uv
from tests.support.saved_runs import case_result

NAMES = {implementation.name: implementation for implementation in own_implementations()}


def test_frameworks_are_selected_by_name(bench: Bench) -> None:
    """All of their cases, and no other."""
    result = bench("--frameworks", "scikit-learn, keras", "--collect-only", "-q")
    found = set(re.findall(r"\[(.+)\]$", result.stdout, re.MULTILINE))
    of_keras = {f"{name}-cpu" for name, framework in frameworks().items() if framework == "keras"}
    assert found == {"scikit-learn-cpu"} | of_keras
    assert {"keras-jax-cpu", "keras-torch-cpu", "keras-tensorflow-cpu"} <= of_keras


def test_a_framework_that_is_not_here_is_refused(bench: Bench) -> None:
    """With the names of those that are."""
    result = bench("--frameworks", "numpy,caffe")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'caffe' is no framework here; choose from: numpy, " in result.stderr


def test_an_environment_that_is_missing_is_made_where_that_is_asked_for(
    offline: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    """Without --install the case is skipped with the commands that help; afterwards it is measured without it too."""
    monkeypatch.setenv("PYTHONPATH", str(offline.install_lane(tmp_path / "plugin")))
    asked = ("--frameworks", "pacer", "--benchmark-save=x")
    skipped = bench(*asked, "-rs")
    assert "no interpreter for pacer; run: tox run -e pacer, or add --install" in skipped.stdout
    made = bench.quiet(*asked, "--install")
    assert made.returncode == 0, made.stdout + made.stderr
    assert re.search("making an environment for Python .* with pip: .*pacer 2.0", made.stdout)
    assert records(tmp_path)["pacer-cpu"]["versions"]["pacer"] == "2.0"
    again = bench.quiet(*asked, PIP_FIND_LINKS=str(tmp_path / "nowhere"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(made_environments()) == 1


def test_without_a_network_the_other_cases_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    """The one that cannot be installed has the reason."""
    monkeypatch.setenv("PYTHONPATH", str(Releases.install_lane(tmp_path / "plugin")))
    variables: dict[str, Any] = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    variables |= {"PIP_RETRIES": "0", "SAMENET_CACHE": str(tmp_path / "cache"), "PATH": without_uv()}
    result = bench.quiet("-k", "pacer or [numpy-cpu]", "--install", "--benchmark-save=x", **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    found = records(tmp_path)
    assert found["numpy-cpu"]["state"] == State.VALID
    assert found["pacer-cpu"]["reason"] == "pacer cannot be installed: no package index can be reached"


def test_what_a_package_takes_on_the_disk_includes_what_it_requires() -> None:
    """Each package once; one that is not there, as for another platform, is nothing."""
    numpy, pandas = size_on_disk([]), size_on_disk(["pandas"])
    assert numpy == size_on_disk(["NumPy", "numpy"]) == size_on_disk(["absent"])
    lane = replace(NAMES["numpy"], packages=(("pandas", "pandas"),))
    assert disk_bytes(lane, Path(sys.executable)) == pandas
    assert disk_bytes(lane, Path("/nowhere/python")) is None
    own = {name: size_of(name) for name in ("numpy", "pandas", "python-dateutil", "six", "pytz", "tzdata")}
    assert numpy == own["numpy"]
    assert own["numpy"] + own["pandas"] + own["python-dateutil"] <= pandas <= sum(own.values())


def size_of(name: str) -> int:
    """Return the bytes of a distribution's files, 0 if it is not installed."""
    try:
        paths = [Path(str(file.locate())) for file in distribution(name).files or ()]
    except PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for path in paths if path.is_file())


@pytest.mark.parametrize("name", [name for name, each in NAMES.items() if each.backend])
def test_a_backend_is_an_implementation_for_the_same_devices(name: str) -> None:
    """And has no backend itself, so that the ratio is that of one layer."""
    backend = NAMES[NAMES[name].backend]
    assert set(NAMES[name].devices) <= {*backend.devices, "cuda", "rocm", "tpu"}
    assert not backend.backend


def test_overhead_is_over_the_backend_on_the_same_device() -> None:
    """A pair needs both cases, valid; the extra time is that of one step."""
    jax, torch, flax = case_result("jax"), case_result("torch"), case_result("flax", 2.4)
    lost = replace(case_result("lightning"), state=State.UNVERIFIED, seconds=None)
    elsewhere = case_result("equinox", device="cuda")
    (found,) = overheads([jax, torch, flax, lost, elsewhere])
    assert (found.case.case, found.backend.case) == ("flax-cpu", "jax-cpu")
    assert found.ratio.low < 1.2 < found.ratio.high
    assert found.extra_ms == pytest.approx((found.ratio.value - 1) * jax.timed.value)
    (row,) = table([jax, flax]).rows
    assert row.cells["written on"] == "jax-cpu"
    assert row.cells["time ratio"].startswith("1.2")
    drawn = picture([jax, flax])
    assert drawn is not None
    assert "flax-cpu over jax-cpu" in drawn.svg
    assert not table([jax, torch]).rows
    assert picture([jax, torch]) is None
