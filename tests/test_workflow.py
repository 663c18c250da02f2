"""The workflows of GitHub Actions: what they may do, and the shell steps of one of them, run in a real repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from samenet.environments import ROOT
from tests.support.command_line import skip_if_disturbed
from tests.support.repository import IDENTITY, NUMPY, STEP, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
SHORT = "-k numpy-cpu -p no:cacheprovider --iterations 20 --launches 3 --workload hidden=50,batch_size=100"
GH = """#!/bin/sh
echo "$@" > called; cat results/comment.md >> called
"""


def steps(workflow: str) -> Iterator[dict[str, Any]]:
    """Yield every step of every job."""
    for job in WORKFLOWS[workflow]["jobs"].values():
        yield from job["steps"]


def shell(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the step of the benchmarks called ``name`` in ``folder`` as a runner of GitHub's would."""
    (script,) = [step["run"] for step in steps("benchmarks") if step.get("name") == name]
    settings = {"TOX_WORK_DIR": os.environ.get("TOX_WORK_DIR", str(ROOT / ".tox"))} | os.environ | IDENTITY
    settings["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), settings["PATH"]])
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=settings | environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path, small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository with a remote, whose measurements are short."""
    repository = Repository(tmp_path / "checkout", small_mnist)
    repository.git("clone", "--quiet", "--bare", str(repository.folder), str(tmp_path / "remote"))
    repository.git("remote", "add", "origin", str(tmp_path / "remote"))
    repository.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    repository.git("fetch", "--quiet", "origin")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{SHORT} --data {small_mnist}")
    return repository


@pytest.mark.slow
def test_a_pull_request_is_compared_with_its_merge_base(checkout: Repository) -> None:
    """A later commit on main is not what it is measured against; the verdicts are posted as a comment."""
    folder = checkout.folder
    base = checkout.git("rev-parse", "HEAD").strip()
    checkout.edit("README.md", "# samenet", "# samenet, later")
    checkout.commit()
    checkout.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    checkout.git("fetch", "--quiet", "origin")
    checkout.git("reset", "--quiet", "--hard", base)
    checkout.edit(NUMPY, STEP, 8 * STEP)
    checkout.commit()
    summary = folder.parent / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "PYTEST_ADDOPTS": ""}
    github["PYTEST_ADDOPTS"] = f"{os.environ['PYTEST_ADDOPTS']} --budget 6"
    compared = shell("Compare with the merge base", folder, BASE="main", **github)
    skip_if_disturbed(compared.stdout)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert f"this tree against {base} ({base[:9]})" in compared.stdout
    assert "::error title=numpy-cpu is slower::" in compared.stdout
    assert {path.name for path in (folder / "results").iterdir()} == {"comment.md", "junit.xml", "against.json"}
    comment = (folder / "results/comment.md").read_text()
    assert summary.read_text() == comment
    (folder / "bin").mkdir()
    (folder / "bin/gh").write_text(GH)
    (folder / "bin/gh").chmod(0o755)
    posted = shell("Comment", folder, NUMBER="7", GITHUB_REPOSITORY="owner/name")
    assert posted.returncode == 0, posted.stderr
    called = "pr comment 7 --repo owner/name --body-file results/comment.md --edit-last --create-if-none\n"
    assert (folder / "called").read_text() == called + comment


@pytest.mark.slow
def test_runs_of_main_become_the_history(checkout: Repository, tmp_path: Path) -> None:
    """The first one makes the branch, the second one adds to it; both can be compared from there."""
    for commit in ("a" * 40, "b" * 40):
        checkout.git("switch", "--quiet", "--force-create", "work", "origin/main")
        measured = shell("Measure", checkout.folder, GITHUB_SHA=commit)
        assert measured.returncode == 0, measured.stdout + measured.stderr
        stored = shell("Store the run", checkout.folder, GITHUB_SHA=commit)
        assert stored.returncode == 0, stored.stderr
        checkout.git("switch", "--quiet", "work")
        checkout.git("branch", "--quiet", "--delete", "--force", "benchmarks")
        checkout.git("clean", "--quiet", "--force", "-d", "results")
    checkout.git("clone", "--quiet", "--branch", "benchmarks", str(tmp_path / "remote"), str(tmp_path / "history"))
    command = [sys.executable, "-m", "reports", "compare", "a" * 40, "b" * 40, "--storage", str(tmp_path / "history")]
    command += ["--allow-empty"]  # two runs are too few to know how runs differ
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
    assert re.search(r"numpy-cpu +inconclusive", compared.stdout)


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS))
def test_actions_are_pinned_and_no_text_becomes_code(workflow: str) -> None:
    """Every action is a commit; a script gets titles and branch names in variables only."""
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert "${{" not in step["run"], f"pass it in env: {step['run']}"


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS))
def test_code_of_a_pull_request_cannot_write(workflow: str) -> None:
    """By default nothing is permitted; a job that checks out and runs the code may only read."""
    assert WORKFLOWS[workflow]["permissions"] == {}
    assert "pull_request_target" not in WORKFLOWS[workflow][True]  # YAML reads the key "on" as true
    for job in WORKFLOWS[workflow]["jobs"].values():
        if any("tox" in step.get("run", "") for step in job["steps"]):
            assert job["permissions"] == {"contents": "read"}
            assert job["steps"][0]["with"]["persist-credentials"] is False


def test_a_pull_request_gets_the_checks_of_ci_run() -> None:
    """The workflow runs the same commands as ``.ci/run``, which then measures."""
    scripts = " ".join(step.get("run", "") for step in steps("tests"))
    local = (ROOT / ".ci/run").read_text()
    assert all(command in scripts and command in local for command in ("tox run -m tests", "tox run -e lint,types"))
    conditions = {step["run"]: step["if"] for step in steps("tests") if "if" in step}
    when = "github.event_name == '{}' || github.event_name == '{}'"
    day, night = when.format("push", "pull_request"), when.format("schedule", "workflow_dispatch")
    assert conditions == {"tox run -m tests": day, "tox run -m slow": night}
    assert WORKFLOWS["tests"]["jobs"]["lint"]["if"] == day
    assert WORKFLOWS["tests"][True].keys() == {"push", "pull_request", "schedule", "workflow_dispatch"}
