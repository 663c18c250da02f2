"""The registry: what every lane says of itself, and that another package can add one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from impls.registry import IMPLEMENTATIONS, MANIFEST, Implementation
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Bench

PAGE = ROOT / "docs" / "add-your-framework.md"


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda each: each.name)
def test_every_manifest_states_every_key(implementation: Implementation) -> None:
    """Nothing that a reader must know is left out of our own."""
    assert list(implementation.manifest) == list(MANIFEST)
    assert "not stated" not in implementation.manifest.values()


def test_a_foreign_manifest_has_the_same_keys() -> None:
    """What another package leaves out reads as such, and a key of its own is refused."""
    foreign = Implementation("mine", "mine:Mine", "mine", (), manifest={"blas": "its own"})
    assert foreign.manifest == dict.fromkeys(MANIFEST, "not stated") | {"blas": "its own"}
    with pytest.raises(ValueError, match="mine's manifest has colour; its keys are: blas, "):
        Implementation("mine", "mine:Mine", "mine", (), manifest={"colour": "blue"})


def test_the_pages_example_is_measured_from_outside(bench: Bench, tmp_path: Path) -> None:
    """The files of the page, saved as it says, become a valid case; the trainer is shorter than 60 lines."""
    blocks: list[tuple[str, str]] = re.findall(r"```(python|toml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (_, trainer), (_, line), (_, entry) = blocks
    assert sum(len(text.splitlines()) for _, text in blocks) < 60
    site = tmp_path / "site"
    information = site / "mine-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "mine_mlp.py").write_text(trainer)
    (site / "mine.py").write_text(line)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    group, name = entry.replace("[project.entry-points.", "[").splitlines()
    (information / "entry_points.txt").write_text(f"{group}\n{name}\n".replace('"', ""))
    result = bench("-k", "mine", "--benchmark-save=mine", PYTHONPATH=str(site))
    assert result.returncode == 0, result.stdout
    (path,) = tmp_path.glob("**/*_mine.json")
    saved: dict[str, Any] = json.loads(path.read_text())
    (case,) = saved["benchmarks"]
    assert case["extra_info"]["state"] == "valid"
    assert case["extra_info"]["manifest"] == dict.fromkeys(MANIFEST, "not stated") | {
        "precision": "float32",
        "blas": "OpenBLAS",
        "fast_math": "no",
    }
