"""The oldest version of each framework that its implementations are said to work with; the newest is the pinned one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from impls.lanes import PackageVersion
from samenet import Settings, measure
from samenet.environments import ROOT, tox_folder
from samenet.errors import SettingsError
from samenet.preparation import find_case
from samenet.records import State

if TYPE_CHECKING:
    from pathlib import Path

    from impls.lanes import Case

OLDEST = {  # docs/versions.md names them; what pytensor compiles for its plain implementation takes a minute
    "jax": ("0.4.35", "jax-cpu", "jax-scan-cpu"),
    "numpy": ("1.23.2", "numpy-cpu", "numpy-tuned-cpu"),
    "pytensor": ("2.31.7", "pytensor-jax-cpu"),
}


@pytest.fixture
def cases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Case]:
    """Return the cases with the oldest version, whose environments stay next to tox's; no other one is used."""
    package = request.param
    version, *ids = OLDEST[package]
    monkeypatch.setenv("SAMENET_CACHE", str(tox_folder(ROOT) / "oldest"))
    monkeypatch.setenv("TOX_WORK_DIR", str(tmp_path / "no-tox"))
    return [replace(find_case(case), version=PackageVersion(package, version)) for case in ids]


@pytest.mark.slow
@pytest.mark.parametrize("cases", OLDEST, indirect=True)
def test_an_implementation_works_with_its_oldest_version(cases: list[Case], small_mnist: Path) -> None:
    """And does the same work."""
    settings = Settings(data=small_mnist, iterations=20, launches=1, rounds=1, workload="hidden=33,batch_size=50")
    try:
        found = measure(cases, settings)
    except SettingsError as error:
        if "no package index can be reached" in str(error):
            pytest.skip(str(error))
        raise
    for case in found.cases:
        assert case.asked_version
        if case.state is State.SKIPPED:  # as on a newer Python than it has wheels for
            pytest.skip(case.reason)
        assert case.state is State.VALID or case.state.may_recover, case.reason
        assert case.launches[0].parity
        assert case.launches[0].parity.verified
        assert case.versions[case.asked_version.package] == case.asked_version.version
