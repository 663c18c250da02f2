"""A fleet: its file, what is refused, and what the figures of its hosts say together."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from samenet.errors import SettingsError
from samenet.fleet.client import Campaigns, safe, unfit
from samenet.fleet.clusters import cluster_class, refuse_strangers
from samenet.fleet.file import Fleet, read_fleet
from samenet.hosts import across

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = {"commit": "a" * 40, "dirty": False, "data": "d" * 64}


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
    for address in ("tcp://10.1.2.3:8786", "tcp://0.0.0.0:8786", "tcp://bench.example:8786", "ws://10.1.2.3:1"):
        with pytest.raises(SettingsError, match="could run code on these hosts; use TLS"):
            refuse_strangers(address)


def test_a_host_that_would_measure_something_else_is_refused() -> None:
    """Another commit, changed files, other data, or no checkout at all."""
    assert not unfit(ABOUT, "a" * 40, "d" * 64)
    assert unfit(ABOUT, "b" * 40, "d" * 64) == "its checkout is at aaaaaaaaa, and this one at bbbbbbbbb"
    assert unfit(ABOUT | {"dirty": True}, "a" * 40, "d" * 64).startswith("its checkout is at aaaaaaaaa with changes")
    assert unfit(ABOUT, "a" * 40, "e" * 64).startswith("its data have the checksum dddddddddddd")
    assert unfit({"problem": "it does not answer"}, "a" * 40, None) == "it does not answer"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".bashrc", "a/../../b.json", "<script>"])
def test_no_file_of_a_host_leaves_its_folder(tmp_path: Path, name: str) -> None:
    """Whatever a host calls itself and its files."""
    campaigns = Campaigns.__new__(Campaigns)
    campaigns.storage = tmp_path / "storage"
    (path,) = campaigns.save(name, {name: zlib.compress(b"x")})
    assert path.resolve().is_relative_to(tmp_path / "storage")
    assert not set("<>/") & set(path.name)
    assert safe("h1.example-2_3") == "h1.example-2_3"


def test_the_interval_over_hosts_holds_the_truth() -> None:
    """In 93 to 97 % of 2,000 simulated fleets, whether hosts differ by 1 or 3 % and whether there are 3 or 30."""
    rng = np.random.default_rng(0)
    for between in (0.01, 0.03):
        for hosts in (3, 10, 30):
            held = 0
            for _ in range(2000):
                logs = rng.normal(0, between, hosts) + rng.normal(0, 0.01, hosts)
                found = across({str(number): math.exp(value) for number, value in enumerate(logs)}).typical
                held += found.low <= 1 <= found.high
            assert 0.93 <= held / 2000 <= 0.97, (between, hosts)


def test_an_odd_host_is_named_and_no_other() -> None:
    """One of 100 that is 5 % slow, in at least 95 of 100 fleets; none in at least 90 of 100 without one."""
    rng = np.random.default_rng(1)
    named = wrong = 0
    for _ in range(100):
        values = {f"h{number}": math.exp(value) for number, value in enumerate(rng.normal(0, 0.01, 100))}
        wrong += bool(across(values).odd)
        named += "h7" in across(values | {"h7": 1.05}).odd
    assert named >= 95
    assert wrong <= 10


def test_few_hosts_say_little() -> None:
    """One has no interval, and of three none can be the odd one."""
    one = across({"a": 2.0})
    assert (one.typical.value, one.typical.has_interval, one.odd) == (2.0, False, ())
    assert math.isnan(one.spread)
    assert not across({"a": 1.0, "b": 1.001, "c": 9.0}).odd
    assert across({"a": 1.0, "b": 1.0, "c": 1.0, "d": 9.0}).odd == ("d",)
