"""A fleet: its file, what is refused, and what the figures of its hosts say together."""

from __future__ import annotations

import math
import os
import re
import time
import zlib
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import psutil
import pytest

from impls.workload import Workload
from reports.assemble import assemble
from samenet.errors import SettingsError
from samenet.fleet import host as on_host
from samenet.fleet import inbox
from samenet.fleet.clusters import cluster_class, of_jobs, opened, refuse_strangers
from samenet.fleet.command import described
from samenet.fleet.file import Fleet, Tls, read_fleet
from samenet.fleet.tasks import About, Host, read_sweep, tasks_of, unfit
from samenet.hosts import judge_hosts, over_hosts
from samenet.results import ComparisonRecord, Outcome
from samenet.stats import Estimate, geometric_mean
from samenet.storage import as_builtins, read_storage
from samenet.verdicts import judge
from tests.support.command_line import TRIES
from tests.support.saved_runs import failed, record, run, save
from tests.support.simulated_fleet import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from reports.document import Section
    from samenet.results import Verdict

ABOUT = About(commit="a" * 40, data="d" * 64)
RATES = {"validation": 2.0}  # %


def test_a_fleet_file_is_read(tmp_path: Path) -> None:
    """The arguments of the cluster's class stay as they are."""
    path = tmp_path / "fleet.yml"
    path.write_text("cluster: slurm\nhosts: 3\noptions: {queue: bench, walltime: '01:00:00'}\nvariables: {A: b}\n")
    fleet = read_fleet(path)
    assert (fleet.cluster, fleet.hosts, fleet.variables) == ("slurm", 3, {"A": "b"})
    assert fleet.options == {"queue": "bench", "walltime": "01:00:00"}
    assert read_fleet(None) == Fleet()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host: 3", "unknown field `host`"),
        ("hosts: three", "Expected `int`, got `str` - at `$.hosts`"),
        ("hosts: 0", "hosts is 1 or more"),
        ("cluster: [", "fleet.yml: "),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str | None, says: str) -> None:
    """And where its fields are explained."""
    path = tmp_path / "fleet.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        read_fleet(path)
    assert says in str(raised.value)
    assert "docs/fleets.md" in str(raised.value)


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "nowhere.Cluster", "", "distributed.Nothing"])
def test_a_fleet_file_runs_nothing_but_clusters(name: str) -> None:
    """A class of another kind could run a shell."""
    with pytest.raises(SettingsError):
        cluster_class(name)
    assert cluster_class("distributed.LocalCluster") is cluster_class("local")


def test_a_scheduler_that_strangers_reach_is_refused() -> None:
    """Whoever reaches it can run code on every host."""
    for address in ("tls://10.1.2.3:8786", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "inproc://10.1.2.3/1/1"):
        refuse_strangers(address)
    for cluster in ("ssh", "slurm", "dask_jobqueue.PBSCluster"):  # before it is started
        with pytest.raises(SettingsError, match="use TLS"), opened(Fleet(cluster=cluster), print):
            pass
    for address in ("tcp://10.1.2.3:8786", "tcp://0.0.0.0:8786", "tcp://bench.example:8786", "ws://10.1.2.3:1"):
        with pytest.raises(SettingsError, match="could run code on these hosts; use TLS"):
            refuse_strangers(address)


def test_a_batch_system_keeps_the_settings_of_its_site() -> None:
    """What the fleet adds, such as the files of TLS, comes before; a job's worker has them from its script."""
    tls = Tls(ca_file="/ca.pem", cert="/cert.pem", key="/my key.pem")
    site = {"scheduler-options": {"interface": "ib0"}, "job-script-prologue": ["module load python"]}
    made = of_jobs({"queue": "bench", "cores": 4}, site, Fleet(cluster="dask_jobqueue.PBSCluster", tls=tls))
    assert made["scheduler_options"] == {"dashboard": False, "dashboard_address": "127.0.0.1:0", "interface": "ib0"}
    assert made["job_script_prologue"][-1] == "module load python"
    assert "export DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY='/my key.pem'" in made["job_script_prologue"]
    assert (made["queue"], made["cores"], made["nanny"], made["protocol"]) == ("bench", 4, False, "tls://")


def test_a_host_that_would_measure_something_else_is_refused() -> None:
    """Another commit, changed files, other data, or no checkout at all."""
    assert not unfit(ABOUT, "a" * 40, "d" * 64)
    assert unfit(ABOUT, "b" * 40, "d" * 64) == "its checkout is at aaaaaaaaa, and this one at bbbbbbbbb"
    dirty = msgspec.structs.replace(ABOUT, dirty=True)
    assert unfit(dirty, "a" * 40, "d" * 64).startswith("its checkout is at aaaaaaaaa with changes")
    assert unfit(ABOUT, "a" * 40, "e" * 64).startswith("its data have the checksum dddddddddddd")
    assert unfit(About(problem="it does not answer"), "a" * 40, None) == "it does not answer"


def test_a_clock_that_is_wrong_is_named() -> None:
    """It would put a host's runs in the wrong place of its history."""
    assert described(msgspec.structs.replace(ABOUT, ahead_seconds=-3600.0)).endswith("; its clock is -3600 s off")
    assert "clock" not in described(msgspec.structs.replace(ABOUT, ahead_seconds=2.0))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".bashrc", "a/../../b.json", "<script>"])
def test_no_file_of_a_host_leaves_its_folder(tmp_path: Path, name: str) -> None:
    """Whatever a host calls itself and its files."""
    (path,) = inbox.save(tmp_path / "storage" / inbox.safe(name), {name: zlib.compress(b"x")})
    assert path.resolve().is_relative_to(tmp_path / "storage")
    assert not set("<>/") & set(path.name)
    assert inbox.safe("h1.example-2_3") == "h1.example-2_3"


def test_a_sweep_has_a_campaign_on_each_line(tmp_path: Path) -> None:
    """Comments and repeated lines do not count; a name stays the same when lines are added."""
    path = tmp_path / "sweep.txt"
    path.write_text("# two sizes\n--workload hidden=100\n\n--workload 'hidden=200' -k jax  # jax alone\n")
    path.write_text(path.read_text() + "--workload hidden=100\n")
    sweep = read_sweep(path)
    assert sweep == [("--workload", "hidden=100"), ("--workload", "hidden=200", "-k", "jax")]
    first, second = tasks_of("plan", ("-m", "plain"), sweep)
    assert first.arguments == ("-m", "plain", "--workload", "hidden=100")
    assert first.name != second.name
    assert tasks_of("plan", ("-m", "plain"), sweep[::-1])[1].name == first.name
    (only,) = tasks_of("plan", ("-m", "plain"), ())
    assert (only.arguments, only.own) == (("-m", "plain"), "")
    assert only.name != tasks_of("plan", ("-m", "tuned"), ())[0].name


@pytest.mark.parametrize("text", ["# nothing\n", "--workload 'hidden=1\n", None])
def test_a_sweep_that_cannot_be_used_says_why(tmp_path: Path, text: str | None) -> None:
    """And what belongs into it."""
    path = tmp_path / "sweep.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=f"{re.escape(str(path))}.*; write the arguments of one"):
        read_sweep(path)


def test_a_host_goes_on_with_what_it_has_begun() -> None:
    """And leaves to others what has failed on it."""
    one, two, three = tasks_of("plan", (), [("1",), ("2",), ("3",)])
    host = Host(name="h1", address="", about=About(unfinished=(two.name,)), waiting=deque([one, two, three]))
    assert host.next_task() == two
    host.waiting = deque([replace(two, failed_on="h1"), replace(one, failed_on="h2"), three])
    assert host.next_task() == replace(one, failed_on="h2")
    host.waiting = deque([replace(two, failed_on="h1")])
    assert host.next_task() is None


def found_on_hosts(*ratios: tuple[float, float, float], tolerance: float = 0.02) -> Verdict:
    """Return the verdict over hosts whose own intervals are these."""
    verdicts = {
        f"h{number}": judge("numpy-cpu", Estimate(value, low, high), tolerance, (RATES, RATES))
        for number, (value, low, high) in enumerate(ratios, 1)
    }
    records = {
        host: ComparisonRecord(revision="HEAD~1", tolerance=tolerance, verdicts=(verdict,))
        for host, verdict in verdicts.items()
    }
    (verdict,) = judge_hosts(records)
    return verdict


def test_hosts_of_a_kind_give_one_verdict() -> None:
    """A regression on one is named; otherwise they agree, or the interval over them decides."""
    same, slower, open_ = (1.001, 0.99, 1.01), (1.06, 1.04, 1.08), (1.01, 0.98, 1.04)
    assert found_on_hosts(same).word is Outcome.SAME
    assert found_on_hosts(same, same).word is Outcome.SAME
    one = found_on_hosts(same, slower, same)
    assert (one.word, one.reason, one.regression) == (Outcome.SLOWER, "slower on h2", True)
    assert found_on_hosts(open_, same).reason == "inconclusive on h1, same on h2"
    many = found_on_hosts(*[(1.005 + number / 1000, 0.97, 1.04) for number in range(5)])
    assert (many.word, many.reason) == (Outcome.SAME, "")
    assert many.ratio is not None
    assert many.ratio.high < 1.02
    assert found_on_hosts(*[(1.03 + number / 1000, 0.99, 1.08) for number in range(5)]).word is Outcome.SLOWER


def fleet_section(folder: Path) -> Section:
    """Return the section of the fleet in a report on ``folder``."""
    (section,) = [each for each in assemble(read_storage(folder)).sections if each.name == "fleet"]
    return section


def test_hosts_of_each_workload_and_versions_stay_apart(tmp_path: Path) -> None:
    """A sweep's workloads have rows of their own; a host with other packages is named, and left out of the mean."""
    small = Workload(hidden=100)
    for number, host in enumerate(("h1", "h2", "h3", "h4")):
        case = record("jax", 2.0 + number / 100)
        if host == "h4":
            case = record("jax", 1.0, versions={"python": "3.11.7", "jax": "0.9"})
        own = {"host": host}
        save(tmp_path / host, "0001_large", run(record("numpy", 3.0 + number / 100), case, machine=own))
        save(
            tmp_path / host,
            "0002_small",
            run(record("numpy", 1.0 + number / 100, workload=small), hours=1, machine=own),
        )
    section = fleet_section(tmp_path)
    assert section.verdict == (
        "4 hosts of one kind. h4 measured jax-cpu with other versions of its packages, which are left out."
    )
    cases = next(table for table in section.tables if table.name == "fleet")
    assert cases.numbers is not None
    numbers = cases.numbers
    assert len(numbers) == 3
    jax = numbers[numbers["case"] == "jax-cpu"]
    assert jax["hosts"].tolist() == [3]
    assert 1.95 < jax["seconds"].item() < 2.1


def test_the_verdicts_of_hosts_are_in_the_report(tmp_path: Path) -> None:
    """Those of a kind together, in a table of their own and in the summary; each line of a sweep has its cases."""
    for host, low in (("h1", 0.995), ("h2", 1.05), ("h3", 0.99)):
        for number, (name, low_end) in enumerate([("numpy", low), ("jax", 0.995)]):
            verdict = judge(f"{name}-cpu", Estimate(low_end + 0.005, low_end, low_end + 0.01), 0.02, (RATES, RATES))
            against = ComparisonRecord(revision="HEAD~1", tolerance=0.02, verdicts=(verdict,))
            content = run(record(name), hours=number, machine={"host": host})
            content["samenet"]["against"] = as_builtins(against)
            save(tmp_path / host, f"000{number}_run", content)
    section = fleet_section(tmp_path)
    assert "numpy-cpu is slower" in section.verdict
    (table,) = [table for table in section.tables if table.name == "hosts-verdicts-1"]
    assert [row.cells["verdict"] for row in table.rows] == ["slower", "same"]
    assert "slower on h2" in str(table.rows)


def save_paired(folder: Path, host: str, **fields: Any) -> None:
    """Save a run in which jax is 1.2 times as fast as numpy, on a machine that is slower while numpy alone counts."""
    numpy, jax = record("numpy", 2.0), record("jax", 2.0 / 1.2)
    paces = [1.0, 1.0, 1.0, 1.15, 1.15]
    for case, typical in ((numpy, 2.0), (jax, 2.0 / 1.2)):
        for pace, each in zip(paces, case["rounds"], strict=True):
            each["wall_seconds"] = typical * pace
    for each in jax["rounds"][3:]:
        each["disturbance"] = {"cause": "contended", "detail": "made up"}
    numpy["seconds"] = {"value": 2.0 * math.exp(np.log(paces).mean()), "low": 1.9, "high": 2.3, "error": 0.1}
    content = run(numpy, jax, machine={"host": host}, **fields)
    save(folder / host, "0001_run", content)


def test_speedups_over_hosts_are_paired(tmp_path: Path) -> None:
    """As those of each host are, wherever it has been checked out; one without the baseline has none."""
    for host in ("h1", "h2", "h3"):
        save_paired(tmp_path, host)
    path = next((tmp_path / "h2").rglob("*.json"))
    path.write_text(path.read_text().replace('"branch": "main"', '"branch": "HEAD"'))
    late = run(failed("numpy"), record("jax", 2.0), machine={"host": "h4"}, hours=1)
    save(tmp_path / "h4", "0001_run", late)
    section = fleet_section(tmp_path)
    assert section.verdict.startswith("4 hosts of one kind.")
    cases = next(table for table in section.tables if table.name == "fleet")
    (speedup,) = [row.cells["speedup over hosts"] for row in cases.rows if row.cells["case"] == "jax-cpu"]
    assert speedup.startswith("1.20")


def test_an_unfinished_campaign_is_named(tmp_path: Path) -> None:
    """Its host has fewer launches than the others."""
    for host in ("h1", "h2"):
        save_paired(tmp_path, host, campaign={"unfinished": host == "h2"})
    assert "Not finished: the campaign on h2." in fleet_section(tmp_path).verdict
    titles = [each.title for each in assemble(read_storage(tmp_path)).sections]
    assert any(title.startswith("Group 1: h") for title in titles)  # each host has one


def test_equal_labels_of_kinds_are_told_apart(tmp_path: Path) -> None:
    """Two kinds may have the same CPU and another memory."""
    for host in ("h1", "h2"):
        save_paired(tmp_path, host)
    path = next((tmp_path / "h2").rglob("*.json"))
    path.write_text(path.read_text().replace('"fingerprint": "Synthetic"', '"fingerprint": "Other"'))
    section = fleet_section(tmp_path)
    cases = next(table for table in section.tables if table.name == "fleet")
    assert {row.cells["kind"] for row in cases.rows} == {
        "Synthetic, 2 threads (Synthetic)",
        "Synthetic, 2 threads (Other)",
    }


@pytest.mark.slow
@pytest.mark.parametrize("apart", [True, False], ids=["worker", "fleet"])
def test_what_is_idle_leaves_the_cpus_alone(*, apart: bool) -> None:
    """A worker takes less than 0.5 % of a CPU, and so does all of Dask on this machine: it is taken from the case."""
    with opened(Fleet(options={"processes": apart}), print) as client:
        worker = psutil.Process(*client.run(os.getpid).values())
        time.sleep(3)  # until it has settled
        for _ in range(TRIES):  # a neighbour makes all that it does take longer
            before, begin = sum(worker.cpu_times()[:2]), time.monotonic()
            time.sleep(10)
            used, seconds = sum(worker.cpu_times()[:2]) - before, time.monotonic() - begin
            if used <= 0.005 * seconds:
                break
    assert used <= 0.005 * seconds


def test_a_worker_with_short_campaigns_is_not_taken_for_dead() -> None:
    """Each is over before a rare heartbeat is due, and the next one begins before a usual one is."""

    def campaign() -> None:
        with on_host.rare_heartbeats():
            time.sleep(0.3)

    with opened(Fleet(), print) as client:
        begin = time.time()
        for number in range(5):
            client.submit(campaign, key=f"campaign-{number}").result()
        (worker,) = client.scheduler_info()["workers"].values()
    assert worker["last_seen"] > begin + 1


def test_the_interval_over_hosts_holds_the_truth() -> None:
    """In 93 to 97 % of 2,000 simulated fleets, whether hosts differ by 1 or 3 % and whether there are 3 or 30."""
    rng = np.random.default_rng(0)
    for between in (0.01, 0.03):
        for hosts in (3, 10, 30):
            held = 0
            for _ in range(2000):
                logs = rng.normal(0, between, hosts) + rng.normal(0, 0.01, hosts)
                found = over_hosts({str(number): math.exp(value) for number, value in enumerate(logs)}).typical
                held += found.low <= 1 <= found.high
            assert 0.93 <= held / 2000 <= 0.97, (between, hosts)


def test_pooled_launches_would_not_hold_it() -> None:
    """In 50 to 65 % of 2,000 fleets whose hosts differ by 3 % and launches by 1 %, with five launches on each."""
    rng = np.random.default_rng(0)
    for hosts in (3, 10, 30):
        held = 0
        for _ in range(2000):
            logs = rng.normal(0, 0.03, (hosts, 1)) + rng.normal(0, 0.01, (hosts, 5))
            pooled = geometric_mean(list(logs.ravel()))
            held += pooled.low <= 1 <= pooled.high
        assert 0.5 <= held / 2000 <= 0.65, hosts


def test_an_odd_host_is_named_and_no_other() -> None:
    """One of 100 that is 5 % slow, in at least 95 of 100 fleets; none in at least 90 of 100 without one."""
    rng = np.random.default_rng(1)
    named = wrong = 0
    for _ in range(100):
        values = {f"h{number}": math.exp(value) for number, value in enumerate(rng.normal(0, 0.01, 100))}
        wrong += bool(over_hosts(values).odd)
        named += "h7" in over_hosts(values | {"h7": 1.05}).odd
    assert named >= 95
    assert wrong <= 10


def test_two_odd_hosts_do_not_hide_each_other() -> None:
    """Of ten that differ by 1 %, two that are 8 % slow."""
    rng = np.random.default_rng(2)
    named = 0
    for _ in range(100):
        values = {f"h{number}": math.exp(value) for number, value in enumerate(rng.normal(0, 0.01, 10))}
        named += {"h3", "h7"} <= {*over_hosts(values | {"h3": 1.08, "h7": 1.08}).odd}
    assert named >= 90


def test_few_hosts_say_little() -> None:
    """One has no interval, and of three none can be the odd one."""
    one = over_hosts({"a": 2.0})
    assert (one.typical.value, one.typical.has_interval, one.odd) == (2.0, False, ())
    assert math.isnan(one.spread)
    assert not over_hosts({"a": 1.0, "b": 1.001, "c": 9.0}).odd
    assert over_hosts({"a": 1.0, "b": 1.0, "c": 1.0, "d": 9.0}).odd == ("d",)


@pytest.mark.slow
def test_simulated_hosts_share_a_sweep(tmp_path: Path) -> None:
    """As a hundred do for docs/evidence.md."""
    ended, _, summary = simulate(tmp_path, 4, 2, 0.5)
    assert re.match("plan .*: 8 done, in ", ended), ended
    assert summary == "4 hosts of one kind."
