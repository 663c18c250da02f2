"""Two revisions of a real repository in one campaign."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from reports.stats import Estimate
from reports.verdicts import Word, confidence, judge
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org"}
IDENTITY |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org"}
NUMPY = "impls/numpy_mlp.py"
STEP = "    hidden, backward = hidden_layer(x, *first)\n"


class Repository:
    """A copy of this project's tree under git, with one commit."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Copy the tree to ``folder`` and commit it; runs take their images from ``data``."""
        self.folder, self._data = folder, data
        ignored = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git, and return what it prints."""
        command = ["git", *arguments]
        environment = os.environ | IDENTITY
        return subprocess.run(
            command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace ``old``, which has to be there, by ``new``."""
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def against(self, revision: str, *options: str, cases: str = "numpy-cpu") -> tuple[int, str, dict[str, Any]]:
        """Measure the tree against ``revision``; return the exit code, the output and the saved comparison."""
        saved = self.folder.parent / "saved.json"
        command = [sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider", "-k", cases]
        command += ["--against", revision, "--data", str(self._data), "--workload", "hidden=100,batch_size=200"]
        command += ["--iterations", "60", "--budget", "6", f"--benchmark-json={saved}", *options]
        environment = os.environ | {"TOX_WORK_DIR": os.environ.get("TOX_WORK_DIR", str(ROOT / ".tox"))}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        content = saved.read_text() if saved.exists() else ""
        comparison = json.loads(content)["samenet"]["against"] if content else {}
        return done.returncode, done.stdout + done.stderr, comparison


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


def test_cases_that_only_one_side_has_are_new_and_removed(repository: Repository) -> None:
    """A renamed implementation is one of each, and neither fails."""
    repository.edit("impls/registry.py", 'Implementation("numpy", ', 'Implementation("nampy", ')
    code, output, comparison = repository.against("HEAD", cases="nampy-cpu")
    assert code == 0, output
    assert words(comparison) == {"nampy-cpu": "new", "numpy-cpu": "removed"}


def test_a_revision_whose_code_fails_is_inconclusive(repository: Repository) -> None:
    """What cannot be measured at the revision costs no present number."""
    repository.edit(NUMPY, STEP, STEP + '    raise RuntimeError("broken then")\n')
    repository.commit()
    repository.edit(NUMPY, '    raise RuntimeError("broken then")\n', "")
    code, output, comparison = repository.against("HEAD")
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


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (1.03, 1.05, Word.SLOWER),
        (0.9, 0.97, Word.FASTER),
        (0.985, 1.015, Word.SAME),
        (0.99, 1.03, Word.INCONCLUSIVE),
        (1.01, 1.05, Word.INCONCLUSIVE),
        (float("nan"), float("nan"), Word.INCONCLUSIVE),
    ],
)
def test_a_verdict_needs_its_whole_interval(low: float, high: float, word: Word) -> None:
    """With a tolerance of 2 %, only an interval wholly on one side decides."""
    assert judge("numpy-cpu", Estimate(1.0, low, high), 0.02).word is word


def test_learning_less_is_a_regression_however_fast() -> None:
    """A validation error that rose by more than a tenth of a point fails."""
    verdict = judge("numpy-cpu", Estimate(0.5, 0.4, 0.6), 0.02, ({"validation": 12.0}, {"validation": 12.2}))
    assert verdict.word is Word.UNVERIFIED
    assert verdict.regression


def test_many_cases_ask_more_of_each() -> None:
    """Four intervals hold together at 95 % if each holds at 98.75 %."""
    assert confidence(4) == pytest.approx(0.9875)
    assert confidence(0) == confidence(1) == pytest.approx(0.95)
