"""Each situation of ``hostile_paths``, made for real: it works, or one sentence says what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from samenet.records import State
from samenet.saved import read_run
from tests.support.command_line import records
from tests.support.hostile_paths import SITUATIONS, PathSituation
from tests.support.scenes import Scene

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile", SITUATIONS, ids=lambda hostile: hostile.situation.encode("ascii", "replace").decode()
)
def test_it_works_or_says_what_to_do(hostile: PathSituation, tmp_path: Path, small_mnist: Path) -> None:
    """The states are as listed, the sentence stands on one line, and there is no traceback."""
    scene = Scene(tmp_path, small_mnist)
    hostile.make(scene)
    result = scene.run(hostile.cases, hostile.protocol)
    output = result.stdout + result.stderr
    assert "Traceback" not in output, output
    assert "INTERNALERROR" not in output, output
    assert any(hostile.pattern.search(line) for line in output.splitlines()), output
    if not hostile.states:
        assert result.returncode == pytest.ExitCode.USAGE_ERROR, output
        return
    found = records(scene.tree / scene.storage if scene.storage else tmp_path / "storage")
    states = {case: State(record["state"]) for case, record in found.items()}
    assert set(states) == set(hostile.states), output
    for case, state in states.items():
        expected = State(hostile.states[case])
        disturbed = expected is State.VALID and state.is_machines_fault and state is not State.SKIPPED
        assert state is expected or disturbed, output
    if hostile.commit:
        (path,) = (tmp_path / "storage").rglob("*.json")
        assert_commit(path, tmp_path, is_known=hostile.commit == "tree")


def assert_commit(path: Path, folder: Path, *, is_known: bool) -> None:
    """A saved run has the commit of the tree, and not that of a hook's repository; none where git does not tell it."""
    commit = json.loads(path.read_text())["commit_info"]
    heads = [head.read_text().strip() for head in folder.glob("*/.git/refs/heads/*")]
    assert commit["id"] in (heads if is_known else ["unversioned"])
    assert "error" not in commit
    assert read_run(path).commit.label == (heads[0][:9] if is_known else "no commit")
