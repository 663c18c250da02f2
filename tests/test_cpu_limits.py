"""CPU quotas, cpusets, affinity and /proc as the kernel really shows and enforces them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from samenet.environments import ROOT, find_interpreter
from samenet.machine import files
from samenet.machine.cpus import choose_cpus, moved
from samenet.records import State
from samenet.workers import Worker
from tests.support.campaigns import NUMPY, campaign, entries, plan
from tests.support.cgroups import cgroup, inside, limit, move, python_inside
from tests.support.command_line import Bench, records
from tests.support.kernel import in_namespace, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from samenet.results import CaseResult

LIMITS = """
import os
from samenet.errors import SettingsError
from samenet.machine.cgroups import cpu_quota
from samenet.machine.cpus import choose_cpus
try:
    print(cpu_quota(os.getpid()), len(choose_cpus(None)))
except SettingsError as error:
    print(error)
"""
BURN = """
import json, os, time
from dataclasses import asdict
from samenet.machine.counters import Watch
watch = Watch(os.getpid(), sorted(os.sched_getaffinity(0))[:1])
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
load = watch.stop()
print(json.dumps(asdict(load) | {"said": load.disturbance and load.disturbance.detail}))
"""


def test_the_default_follows_a_real_quota() -> None:
    """Rounded down, never more than affinity allows, and less than one CPU is refused."""
    with cgroup(1.5) as group:
        assert python_inside(group, LIMITS) == "1.5 1"
        limit(group, 1000)
        assert python_inside(group, LIMITS) == f"1000.0 {len(choose_cpus(None))}"
        limit(group, 0.5)
        refusal = "the cgroup allows 0.5 CPUs, and a thread needs a whole one; raise its CPU quota to 1"
        assert python_inside(group, LIMITS) == refusal


def test_the_quota_of_a_cgroup_above_counts() -> None:
    """A real cgroup without a quota of its own, in one that allows less than the default."""
    with cgroup(1.25) as above, cgroup(1.25, above) as group:
        for name, text in (("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")):
            if (group / name).exists():
                (group / name).write_text(text)
        assert python_inside(group, LIMITS) == "1.25 1"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make a cgroup namespace")
def test_a_quota_is_found_from_a_cgroup_namespace() -> None:
    """Its mount is older, as in a sandbox that unshares everything, so that the path in /proc does not help."""
    with cgroup(1.5) as group:
        assert python_inside(group, LIMITS, "unshare", "--cgroup") == "1.5 1"


def test_a_process_that_its_quota_stops_is_disturbed() -> None:
    """By a quota of a tenth of a CPU, also of the cgroup above, and the sentence says what to do."""
    with cgroup(0.1) as above, cgroup(0.1, above) as group:
        for name, text in (("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")):
            if (group / name).exists():
                (group / name).write_text(text)
        load = json.loads(python_inside(group, BURN))
        assert load["throttled_seconds"] > 0.1 * load["wall_seconds"]
        assert "the cgroup's CPU quota stopped it for" in load["said"]
        assert load["said"].endswith("raise the quota or lower --threads")


def run_inside(group: Path, bench: Bench, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``pytest bench/`` inside a cgroup."""
    return bench.run(inside(group, *bench.command("-k", "numpy-cpu", *options)))


def test_a_campaign_in_a_quota_says_what_it_allows(bench: Bench, tmp_path: Path) -> None:
    """One thread in 1.5 CPUs, by default; two are refused, and so is less than one CPU."""
    with cgroup(1.5) as group:
        result = run_inside(group, bench, "--benchmark-save=one")
        assert (
            f"CPUs: {choose_cpus(1)[0]}; one thread each, for every case; the cgroup allows 1.5 CPUs" in result.stdout
        )
        (case,) = records(tmp_path).values()
        assert case["threads"] == 1
        assert all(each["throttled_seconds"] is not None for each in case["rounds"])
        threads = "1000" if len(os.sched_getaffinity(0)) == 1 else "2"
        result = run_inside(group, bench, "--threads", threads)
        assert result.returncode == 4
        assert f"ERROR: {threads} threads need as many CPUs, and" in result.stdout + result.stderr
        limit(group, 0.5)
        result = run_inside(group, bench)
        assert result.returncode == 4
        assert "ERROR: the cgroup allows 0.5 CPUs" in result.stdout + result.stderr


def test_a_campaign_that_is_moved_into_a_quota_is_throttled(bench: Bench, tmp_path: Path) -> None:
    """In its first round, with all its processes: it loses its number, and no build fails for it."""
    command = bench.command("-k", "numpy-cpu", "--rounds", "3", "--iterations", "300", "--benchmark-save=one")
    with (
        cgroup(0.25) as group,
        subprocess.Popen(command, cwd=ROOT, env=bench.environment(), stdout=-1, stderr=-2, text=True) as process,
    ):
        campaign = psutil.Process(process.pid)
        for _ in first_round(tmp_path, process):
            time.sleep(0.02)
        move(group, *[each.pid for each in [campaign, *campaign.children(recursive=True)]])
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    (case,) = records(tmp_path).values()
    if case["state"] == "contended":
        pytest.skip(case["reason"])  # a neighbour took more than the quota
    assert case["state"] == "throttled", case["reason"]
    assert "the cgroup's CPU quota stopped it for" in case["reason"]
    assert "raise the quota or lower --threads" in output


def first_round(storage: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Wait until a journal below ``storage`` has the first round, or the process has ended."""
    while process.poll() is None:
        journals = [path.read_text() for path in (storage / "journal").rglob("*") if path.is_file()]
        if any("wall_seconds" in text for text in journals):
            return
        yield


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """Start numpy on every CPU that this process may use."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    with Worker(NUMPY, find_interpreter(NUMPY.implementation, {}, ROOT), ROOT, cpus=cpus, folder=tmp_path) as live:
        live.load_framework()
        yield live


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU, which cannot be taken away")
@pytest.mark.alone
def test_a_worker_whose_affinity_is_changed_is_noticed(worker: Worker) -> None:
    """Of one thread alone it is not: libraries may tie each thread to a CPU."""
    first, *others = worker.cpus
    threads = [int(path.name) for path in (files.PROC / str(worker.pid) / "task").iterdir()]
    assert moved(worker.pid, worker.cpus) is None
    os.sched_setaffinity(threads[0], {first})
    assert len(threads) == 1 or moved(worker.pid, worker.cpus) is None
    for thread in threads:
        os.sched_setaffinity(thread, {first})
    disturbance = moved(worker.pid, worker.cpus)
    assert disturbance
    assert disturbance.cause is State.THROTTLED
    given = ", ".join(map(str, worker.cpus))
    assert disturbance.detail.startswith(f"it was given CPUs {given} and could use {first}; leave its affinity")
    assert moved(worker.pid, others)
    worker.kill()
    assert moved(worker.pid, worker.cpus) is None


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU, which cannot be taken away")
@pytest.mark.alone
def test_a_cpu_that_leaves_the_cpuset_costs_the_number(worker: Worker) -> None:
    """The kernel moves the process silently, as it does when a CPU goes offline."""
    folder = Path("/sys/fs/cgroup/cpuset") / f"samenet-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cpuset can be made here: {error}")
    try:
        (folder / "cpuset.mems").write_text((folder.parent / "cpuset.mems").read_text())
        (folder / "cpuset.cpus").write_text(str(worker.cpus[1]))
        move(folder, worker.pid)
        assert moved(worker.pid, worker.cpus)
    finally:
        worker.kill()
        folder.rmdir()


def test_a_cpu_that_is_gone_when_a_worker_starts_costs_its_number() -> None:
    """The campaign runs on what is left, and no round counts; CPU 1023 stands for one that went offline."""
    measured = plan(cpus=(1023,), rounds=2)
    result = campaign(measured, entries("a")).run()["a"]
    assert result.state is State.THROTTLED
    assert "it was given CPUs 1023 and could use" in result.reason


@pytest.mark.alone
def test_a_campaign_whose_affinity_changes_on_the_way_loses_no_cpu() -> None:
    """The next launch starts its workers on the CPUs that the campaign has, not on what the harness has now."""
    before = os.sched_getaffinity(0)
    other = max(before)

    def wanted(_: Mapping[str, CaseResult]) -> set[str]:
        os.sched_setaffinity(0, {other})
        return {"a"}

    try:
        result = campaign(plan(launches=2), entries("a"), wanted=wanted).run()["a"]
    finally:
        os.sched_setaffinity(0, before)
    assert len(result.launches) == 2
    assert "it was given CPUs" not in result.reason


def test_a_kernel_that_does_not_say_the_peak_leaves_it_unknown(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status has other lines only, as in some sandboxes."""
    assert worker.memory()["peak_bytes"]
    write(tmp_path / f"proc/{worker.pid}/status", "Name:\tpython\nVmRSS:\t1 kB\n")
    monkeypatch.setattr(files, "PROC", tmp_path / "proc")
    assert worker.memory()["peak_bytes"] is None


HIDDEN = "import sys, pytest; sys.exit(pytest.main(sys.argv[2:]))"


@pytest.mark.parametrize("lines", ["others", "none"])
def test_a_container_whose_proc_has_other_cpus_can_be_measured(bench: Bench, tmp_path: Path, lines: str) -> None:
    """What cannot be read is unknown, and the first lines say so."""
    cpu = choose_cpus(1)[0]
    stat = tmp_path / "stat"
    kept = [
        line for line in Path("/proc/stat").read_text().splitlines(keepends=True) if not line.startswith(f"cpu{cpu} ")
    ]
    stat.write_text("".join(kept) if lines == "others" else "")
    options = bench.command("-k", "numpy-cpu", "--threads", "1", "--benchmark-save=one")[3:]
    result = in_namespace('mount --bind "$2" /proc/stat', HIDDEN, str(stat), *options, **bench.environment())
    assert result.returncode == 0, result.stdout + result.stderr
    assert "unknown here: others_seconds, steal_seconds; disturbances that only" in result.stdout
    (case,) = records(tmp_path).values()
    assert case["state"] in {"valid", "throttled"}
    for each in case["rounds"]:
        assert each["others_seconds"] is each["steal_seconds"] is None
        assert each["waiting_seconds"] is not None
