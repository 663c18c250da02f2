"""Two revisions of a real repository in one campaign."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.repository import NUMPY, STEP, Repository

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path, small_mnist: Path) -> Repository:
    """Return a repository with one commit."""
    return Repository(tmp_path / "repository", small_mnist)


def words(comparison: dict[str, Any]) -> dict[str, str]:
    """Return the verdicts' words by case."""
    return {each["case"]: each["word"] for each in comparison["verdicts"]}


def test_a_slower_step_fails_and_is_named(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommitted extra work in numpy's step is found, and the other case is not accused."""
    repository.edit(NUMPY, STEP, 4 * STEP)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, output, comparison = repository.against("HEAD", "--tolerance", "20", cases="numpy-cpu or [jax-cpu]")
    assert code == pytest.ExitCode.TESTS_FAILED, output
    found = words(comparison)
    assert found["numpy-cpu"] == "slower"
    assert found["jax-cpu"] in {"same", "inconclusive", "faster"}
    assert "numpy-cpu is slower, " in output
    (numpy,) = [each for each in comparison["before"] if each["implementation"] == "numpy"]
    assert numpy["rounds"]
    assert "::error title=numpy-cpu is slower::numpy-cpu is slower, " in output
    assert comparison["commit"] == repository.git("rev-parse", "HEAD").strip()


def test_the_same_code_passes(repository: Repository, tmp_path: Path) -> None:
    """Nothing has changed but a comment: no verdict fails, and JUnit's XML and the comment have it too.

    The revision is a branch with a slash in its name, as many have.
    """
    repository.git("branch", "team/before")
    repository.edit(NUMPY, STEP, "    # the hidden layer\n" + STEP)
    comment, junit = tmp_path / "comment.md", tmp_path / "junit.xml"
    code, output, comparison = repository.against(
        *("team/before", "--tolerance", "20", "--comment", str(comment), f"--junitxml={junit}")
    )
    assert code == 0, output
    (verdict,) = comparison["verdicts"]
    assert verdict["word"] in {"same", "inconclusive", "faster"}
    (found,) = ET.parse(junit).iter("property")  # noqa: S314  # our own file
    assert found.attrib == {"name": "verdict", "value": verdict["sentence"]}
    assert f"**{comparison['summary']}**" in comment.read_text()


def test_a_step_that_skips_work_is_caught_by_parity(repository: Repository) -> None:
    """An implementation that became twice as fast, and leaves out the update of a bias, is no speedup."""
    repository.edit(NUMPY, STEP, 4 * STEP)  # then it was slow
    repository.commit()
    repository.edit(NUMPY, 4 * STEP, STEP)
    code, output, comparison = repository.against("HEAD", "--tolerance", "20")
    assert code == 0, output
    (sound,) = comparison["verdicts"]
    assert sound["word"] == "faster"
    repository.edit(NUMPY, "return x.T @ d_z, d_z.sum(axis=0), ", "return x.T @ d_z, np.float32(0), ")
    code, output, comparison = repository.against("HEAD", "--tolerance", "20")
    assert code == pytest.ExitCode.TESTS_FAILED, output
    (wrong,) = comparison["verdicts"]
    assert wrong["word"] == "unverified"
    assert "b1 is off by 1 " in wrong["reason"]


def test_a_worker_that_knows_no_lead_in_is_measured_and_so_is_its_pair(repository: Repository) -> None:
    """As in 0.2.0: the lead-in is a request of its own, on both sides."""
    repository.edit("impls/worker.py", "first: int = 0, lead_in: int = 0)", "first: int = 0)")
    repository.edit("impls/worker.py", "if lead_in else []", "if (lead_in := 0) else []")
    repository.commit()
    repository.git("checkout", "--quiet", "HEAD~", "--", "impls")
    code, output, comparison = repository.against("HEAD", "--tolerance", "20")
    assert code == 0, output
    (former,), (now,) = comparison["before"], json.loads(repository.saved.read_text())["benchmarks"]
    assert {block["lead_in"] for side in (former, now["extra_info"]) for block in side["rounds"]} == {0}


def test_cases_that_only_one_side_has_are_new_and_removed(repository: Repository) -> None:
    """A renamed implementation is one of each, and neither fails."""
    repository.edit("impls/numpy_lanes.py", 'name="numpy",', 'name="nampy",')
    code, output, comparison = repository.against("HEAD", "--allow-empty", cases="nampy-cpu")
    assert code == 0, output
    assert words(comparison) == {"nampy-cpu": "new", "numpy-cpu": "removed"}


def test_a_comparison_that_judged_nothing_does_not_pass(repository: Repository) -> None:
    """A gate without a single common case is unusable, and says so."""
    repository.edit("impls/numpy_lanes.py", 'name="numpy",', 'name="nampy",')
    code, output, _ = repository.against("HEAD", cases="nampy-cpu")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "nothing was compared, since no case could be judged; --allow-empty lets this pass" in output


def test_a_revision_whose_code_fails_is_inconclusive(repository: Repository) -> None:
    """What cannot be measured at the revision costs no present number."""
    repository.edit(NUMPY, STEP, STEP + '    raise RuntimeError("broken then")\n')
    repository.commit()
    repository.edit(NUMPY, '    raise RuntimeError("broken then")\n', "")
    code, output, comparison = repository.against("HEAD", "--allow-empty")
    assert code == 0, output
    (verdict,) = comparison["verdicts"]
    assert verdict["word"] == "inconclusive"
    assert "at HEAD it is failed" in verdict["reason"]
    assert "broken then" in verdict["reason"]


def test_a_revision_with_other_pins_is_measured_with_them(repository: Repository) -> None:
    """The environment of the revision is built beside the present one."""
    repository.edit("tox.ini", "deps = numpy==2.4.6\n", "deps = numpy==2.4.5\n")
    repository.commit()
    repository.edit("tox.ini", "deps = numpy==2.4.5\n", "deps = numpy==2.4.6\n")
    _, output, comparison = repository.against("HEAD")
    (before,) = comparison["before"]
    assert before["versions"]["numpy"] == "2.4.5", output


@pytest.mark.slow
def test_pins_that_cannot_be_installed_are_the_reason(repository: Repository) -> None:
    """With the error of pip or uv, not tox's last line; a second try does not take the half-made environment."""
    repository.edit("tox.ini", "deps = numpy==2.4.6\n", "deps = numpy==99.99\n")
    repository.commit()
    repository.edit("tox.ini", "deps = numpy==99.99\n", "deps = numpy==2.4.6\n")
    for _ in range(2):
        _, output, comparison = repository.against("HEAD", "--allow-empty", "--budget", "2")
        (verdict,) = comparison["verdicts"]
        assert verdict["word"] == "inconclusive", output
        if "tox cannot" not in verdict["reason"]:
            pytest.skip(verdict["reason"])  # numpy itself was disturbed
        assert verdict["reason"].startswith(
            (
                "tox cannot make numpy of HEAD: No matching distribution found for numpy==99.99",
                "tox cannot make numpy of HEAD: Because there is no version of numpy==99.99",  # with tox-uv
            )
        )


@pytest.mark.parametrize(
    ("revision", "complaint"),
    [("nowhere", "there is no revision 'nowhere' here"), ("HEAD~99", "no revision 'HEAD~99'")],
)
def test_an_unknown_revision_is_refused(repository: Repository, revision: str, complaint: str) -> None:
    """The message names it, and nothing is measured."""
    code, output, _ = repository.against(revision)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert complaint in output


def test_a_shallow_clone_is_told_how_to_deepen_itself(repository: Repository, tmp_path: Path) -> None:
    """A revision that was cut off is not just unknown."""
    repository.edit(NUMPY, STEP, "    # the hidden layer\n" + STEP)
    repository.commit()
    first = repository.git("rev-parse", "HEAD~1").strip()
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.folder}", str(tmp_path / "shallow"))
    repository.folder = tmp_path / "shallow"
    code, output, _ = repository.against(first)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "this clone is shallow; run: git fetch --unshallow" in output


def test_an_output_that_cannot_be_written_is_refused_before_measuring(repository: Repository) -> None:
    """Neither the comment nor the step summary of a CI costs a measurement, and neither reads as a regression."""
    code, output, comparison = repository.against("HEAD", "--comment", "/nowhere/comment.md")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "cannot write /nowhere/comment.md: No such file or directory; choose another with --comment" in output
    assert not comparison


def test_a_hooks_git_variables_do_not_lead_to_another_repository(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR, which git sets for hooks, names some other repository."""
    repository.git("init", "--quiet", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    code, output, _ = repository.against("nowhere")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "there is no revision 'nowhere' here; see: git log --oneline" in output
