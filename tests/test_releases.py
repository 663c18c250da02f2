"""``python -m samenet releases``: one case over the releases of a package, as a table, two saved runs and a picture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from impls.lanes import PackageVersion
from impls.workload import Workload
from reports.__main__ import main as reports
from reports.release_charts import releases as picture
from samenet.__main__ import main
from samenet.environments import ROOT
from samenet.records import Launch, Quantity, State
from samenet.releases import ReleaseTable
from samenet.results import Outcome, Verdict
from samenet.saved import read_run
from samenet.stats import Estimate
from tests.support.command_line import kill_at, skip_if_disturbed
from tests.support.saved_runs import case_result, results

if TYPE_CHECKING:
    from pathlib import Path

    from samenet.results import CaseResult
    from studies.wheels import Releases


def with_version(version: str, *, small: bool = False) -> CaseResult:
    """Return a case with a version of a package, whose starts take 0.4 s and which has 255 MiB of its own."""
    launches = [
        Launch(
            launch=number,
            cold=True,
            start_seconds=0.1,
            import_seconds=0.3 + number / 1000,
            build_seconds=0.2,
            first_step_seconds=0.3 + number / 1000,
            peak_bytes=2**28 + number,
            file_bytes=2**20,
        )
        for number in range(6)
    ]
    workload = Workload(hidden=100, batch_size=32) if small else None
    result = case_result("jax", 0.2 if small else 2.0, workload=workload)
    asked = PackageVersion("jax", version)
    versions = {"python": "3.11.7", "jax": version, "jaxlib": version}
    own: dict[str, Any] = {"case": f"jax-cpu @ jax {version}", "asked_version": asked, "launches": tuple(launches)}
    return replace(result, **own, versions=versions, environment_bytes=6 * 10**8)


def judged(case: CaseResult, value: float, reason: str = "", word: Outcome = Outcome.SLOWER) -> CaseResult:
    """Return ``case`` with this ratio in each of its verdicts."""
    ratio = Estimate(value, value - 0.04, value + 0.06)
    steady, *others = (Verdict(case.case, word, quantity=quantity, ratio=ratio, reason=reason) for quantity in Quantity)
    return replace(case, verdict=steady, other_verdicts=tuple(others))


def table(*pairs: tuple[CaseResult, CaseResult]) -> ReleaseTable:
    """Return the table of cases in two campaigns, in the order 0.4, 0.5, ..., whatever order the campaigns have."""
    large, small = (results(cases=side[::-1]) for side in zip(*pairs, strict=True))
    return ReleaseTable(versions=tuple(f"0.{number}" for number in range(4, 4 + len(pairs))), large=large, small=small)


def test_a_table_has_figures_of_the_oldest_and_ratios_of_the_others() -> None:
    """And beneath it what else differs, once."""
    oldest = (with_version("0.4"), with_version("0.4", small=True))
    large, small = (judged(with_version("0.5", small=each), 1.38, "its interval straddles") for each in (False, True))
    header, first, second, *reasons = table(oldest, (large, small)).lines()
    assert header.split("  ")[-1] == "disk (MB)"
    assert first.split()[0::2] == ["0.4", "ms", "ms", "s", "s", "MiB"]
    assert first.split()[5:] == ["0.5030", "s", "0.4030", "s", "255.00", "MiB", "600"]
    assert second.split() == ["0.5", *["1.38", "\u00b10.06"] * 5, "600"]
    assert reasons == ["0.5 has jaxlib 0.5, not 0.4"]


def test_a_table_has_no_ratio_that_is_not_earned() -> None:
    """Of a version that is skipped, of other work, or without an interval."""
    oldest = (with_version("0.4"), with_version("0.4", small=True))
    absent: dict[str, Any] = {"state": State.SKIPPED, "reason": "no wheel", "seconds": None, "efficiency": None}
    skipped = replace(with_version("0.5"), **absent, versions={})
    wrong = judged(with_version("0.6"), 0.8, "its validation error rose", Outcome.UNVERIFIED)
    none = replace(with_version("0.6", small=True), verdict=Verdict("jax-cpu @ jax 0.6", Outcome.INCONCLUSIVE))
    found = table(oldest, (skipped, skipped), (wrong, none))
    _, _, fifth, sixth, *reasons = found.lines()
    assert fifth.split() == ["0.5", *"?????", "600"]
    assert sixth.split()[:3] == ["0.6", "?", "?"]
    assert reasons == [
        "0.5 is skipped: no wheel",
        "0.6 has jaxlib 0.6, not 0.4",
        "0.6 is unverified: its validation error rose",
    ]
    assert not found.has_ratio


def test_the_picture_has_bars_where_there_are_intervals() -> None:
    """Starts are of all launches or, where no case has more than one cold start, of that one."""
    cases = [with_version(f"0.{number}") for number in (4, 5, 6)]
    drawn = picture(cases)
    assert drawn is not None
    data = drawn.data[drawn.data["version"] == "0.5"].set_index("quantity")
    assert list(data.index) == ["step (ms)", "to first step (s)", "start, import (s)", "own memory (MiB)", "disk (MB)"]
    assert data["low"].notna().tolist() == [True] * 4 + [False]
    once = [replace(case, launches=case.launches[:1]) for case in cases]
    drawn = picture(once)
    assert drawn is not None
    assert drawn.data.set_index("quantity")["low"]["start, import (s)"].isna().all()
    assert picture(cases[:2]) is None


@pytest.mark.slow
def test_releases_are_compared_and_saved_for_the_report(offline: Releases, small_mnist: Path, tmp_path: Path) -> None:
    """What was measured before a kill is saved, and not measured again; each campaign has its picture."""
    out, report = tmp_path / "releases", tmp_path / "report"
    asked = ["releases", "pacer", "--from", "1.4", "--case", "pacer-cpu", "--budget", "1", "--out", str(out)]
    command = [sys.executable, "-m", "samenet", *asked, "--data", str(small_mnist)]
    environment = os.environ | {"PYTHONPATH": str(offline.install_lane(tmp_path / "plugin"))}
    kill_at("measuring small steps", command, environment)
    time.sleep(1)  # the names of files have seconds
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    skip_if_disturbed(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    header, first, *_ = done.stdout.partition("\n  ")[2].partition("step  ")[2].splitlines()
    assert header.endswith("disk (MB)")
    assert first.startswith("1.4 ")
    before, after, small = (read_run(path).results for path in sorted(out.iterdir()))
    assert before.campaign.id == after.campaign.id != small.campaign.id
    assert [each.cases[0].workload.hidden for each in (before, after, small)] == [500, 500, 100]
    assert all(case.environment_bytes for each in (after, small) for case in each.cases)
    assert reports(["build", "--storage", str(out), "--out", str(report)]) == 0
    page = (report / "report.html").read_text()
    assert page.count("<figure") > 2
    assert "versions of pacer" in page


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["pacer"], "name at least one end of the range, such as --from 0.6"),
        (["pacer", "--from", "2"], "the package index has no two minor versions in pacer>=2"),
        (["pacer", "--from", "9", "--all"], "the package index has no two releases in pacer>=9"),
        (["pacer", "--from", "1", "--out", "/proc/nowhere"], "cannot write into /proc/nowhere: "),
    ],
)
def test_releases_that_cannot_be_compared_are_refused(
    offline: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, asked: list[str], reason: str
) -> None:
    """Before anything is installed."""
    del offline
    assert main(["releases", "--out", str(tmp_path), "--case", "pacer-cpu", *asked]) == 2
    assert reason in capsys.readouterr().err
