"""What cgroups of both versions allow, from what /proc and their folders show."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samenet.errors import SettingsError
from samenet.machine import files
from samenet.machine.cgroups import cpu_folders, cpu_quota, throttled_nanoseconds
from samenet.machine.cpus import choose_cpus
from tests.support.kernel import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PID = os.getpid()
V1 = "31 25 0:28 {root} {mount} rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
V2 = "30 25 0:26 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
OTHERS = """22 28 0:20 / /sys rw - sysfs sysfs rw
33 25 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
odd
"""


def v1(quota: int, period: int = 100_000) -> dict[str, str]:
    """Return the files of a cgroup of version 1."""
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


def v2(limit: str) -> dict[str, str]:
    """Return the files of a cgroup of version 2."""
    return {"cpu.max": f"{limit}\n"}


ABOVE = {"": v2("250000 100000")}


def write_cgroups(kernel: Path, path: str, groups: Mapping[str, Mapping[str, str]], *, root: str = "/") -> None:
    """Write this process's cgroup, its mount at /sys/fs/cgroup, and the files of each group in that."""
    mount = kernel / "sys/fs/cgroup"
    version = V2 if path.startswith("0::") else V1
    write(kernel / f"proc/{PID}/cgroup", f"7:memory:/elsewhere\n3:cpuset:/\n{path}\n1:name=systemd:/x\n")
    shown = str(mount).replace(" ", "\\040")
    write(kernel / "proc/self/mountinfo", OTHERS + version.format(root=root, mount=shown) + "\n")
    for group, contents in groups.items():
        for name, text in contents.items():
            write(mount / group / name, text)


@pytest.mark.parametrize(
    ("path", "root", "groups", "quota"),
    [
        ("4:cpu,cpuacct:/", "/", {"": v1(-1)}, None),
        ("4:cpu,cpuacct:/", "/", {"": v1(150_000)}, 1.5),
        ("4:cpuacct,cpu:/a/b", "/", {"": v1(-1), "a": v1(50_000), "a/b": v1(400_000)}, 0.5),
        ("4:cpu:/a/b", "/", {"": v1(-1), "a": v1(80_000, 20_000), "a/b": v1(30_000, 10_000)}, 3),
        ("4:cpu:/a", "/", {"a": v1(-1), "b": v1(50_000)}, None),  # a neighbour's
        ("4:cpu:/a:b c", "/", {"a:b c": v1(200_000)}, 2),
        ("4:cpu:/docker/1f", "/docker/1f", {"": v1(200_000)}, 2),  # a container that sees the host's path
        ("4:cpu:/docker/1f/x", "/docker/1f", {"": v1(200_000), "x": v1(100_000)}, 1),
        ("4:cpu:/docker/1f", "/kubepods/2e", {"": v1(200_000)}, 2),  # the same, from a container's runtime
        ("4:cpu:/", "/docker/1f", {"": v1(200_000)}, None),  # it was moved out of it
        ("4:cpu:/../other", "/", {"": v1(200_000)}, None),
        ("0::/", "/", {}, None),
        ("0::/", "/", ABOVE, 2.5),  # a container with a cgroup namespace
        ("0::/a/b", "/", ABOVE | {"a": v2("max 100000"), "a/b": v2("300000 100000")}, 2.5),
        ("0::/a/b", "/", {"a": v2("max 100000"), "a/b": v2("max 100000")}, None),
        ("0::/a/b", "/", {"a": v2("100000 50000"), "a/b": v2("max 100000")}, 2),
        ("0::/gone (deleted)", "/", ABOVE, 2.5),
        ("0::/b", "/..", {"x/b": v2("150000 100000")}, None),  # a namespace without its mount
        ("9:name=systemd:/", "/", {"": v2("150000 100000") | v1(150_000)}, None),
    ],
)
def test_the_smallest_quota_on_the_path_counts(
    kernel: Path, path: str, root: str, groups: dict[str, dict[str, str]], quota: float | None
) -> None:
    """In both versions, nested, in containers, and in none of them beyond what is visible."""
    write_cgroups(kernel, path, groups, root=root)
    assert cpu_quota(PID) == quota


def test_in_a_new_namespace_the_process_is_looked_for(kernel: Path) -> None:
    """With the host's mount the names between it and the namespace do not show, but the processes do."""
    groups = {"x/b": v2("150000 100000"), "y/b": v2("300000 100000"), "z": v2("50000 100000")}
    write_cgroups(kernel, "0::/b", groups, root="/..")
    write(kernel / "sys/fs/cgroup/x/b/cgroup.procs", "1\n2\n")
    write(kernel / "sys/fs/cgroup/y/b/cgroup.procs", f"3\n{PID}\n")
    assert cpu_quota(PID) == 3


@pytest.mark.parametrize("version", [V1, V2])
def test_a_folder_with_a_space_is_found(kernel: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    r"""The kernel writes it as ``\040``."""
    monkeypatch.setattr(files, "PROC", kernel / "a b/proc")
    write_cgroups(kernel / "a b", "0::/" if version == V2 else "2:cpu:/", {"": v2("100000 50000") | v1(200_000)})
    assert cpu_quota(PID) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cpu.max", "max"),
        ("cpu.max", "100000"),
        ("cpu.max", "100000 0"),
        ("cpu.max", "0 100000"),
        ("cpu.max", "-1 -1"),
        ("cpu.max", "1.5 1"),
        ("cpu.max", "100000 100000 1"),
        ("cpu.max", "nan inf"),
        ("cpu.max", f"{'9' * 5000} 1"),
        ("cpu.cfs_quota_us", "100000"),  # and no period
        ("cpu.cfs_quota_us", "1 1\n1 1"),
    ],
)
def test_odd_content_is_no_limit(kernel: Path, name: str, text: str) -> None:
    """None is known, and the machine can be measured."""
    write_cgroups(kernel, "0::/", {"": {name: text}})
    assert cpu_quota(PID) is None
    assert choose_cpus(1)


WORDS = st.one_of(
    st.text(), st.sampled_from(["max", "-1", "0", "100000", "9" * 21, "cgroup", "cpu", "/..", "-", "\x00"])
)
LINES = st.lists(WORDS, max_size=12).map(" ".join)


@given(texts=st.tuples(*[st.lists(LINES, max_size=4).map("\n".join)] * 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_files_contain_there_is_an_answer(kernel: Path, texts: tuple[str, ...]) -> None:
    """A positive number of CPUs or none, and counters that are whole numbers."""
    paths, mounts, root, limit, counters = texts
    known = [V1.format(root=root, mount=kernel / "group"), V2.format(root="/", mount=kernel / "group")]
    contents = {
        f"proc/{PID}/cgroup": "\n".join([paths, f"3:cpu:{root}", "0::/"]),
        "proc/self/mountinfo": "\n".join([mounts, *known]),
        "group/cpu.max": limit,
        "group/cpu.cfs_quota_us": limit,
        "group/cpu.cfs_period_us": limit,
        "group/cpu.stat": counters,
    }
    for name, text in contents.items():
        write(kernel / name, text.encode(errors="replace").decode())
    quota = cpu_quota(PID)
    assert quota is None or 0 < quota < math.inf
    assert all(isinstance(count, int) for count in throttled_nanoseconds(PID).values())


def test_stopped_time_is_read_of_every_cgroup_in_its_own_unit(kernel: Path) -> None:
    """Version 2 counts microseconds; a group without its own quota may have no such counter."""
    stat = "usage_usec 9\nnr_periods 3\nnr_throttled 2\nthrottled_usec 5\n"
    write_cgroups(kernel, "0::/a/b", {"": {"cpu.stat": "usage_usec 9\n"}, "a": {"cpu.stat": stat}, "a/b": v2("max")})
    assert throttled_nanoseconds(PID) == {kernel / "sys/fs/cgroup/a": 5000}
    stat = "nr_periods 3\nnr_throttled 2\nthrottled_time 5\n"
    write_cgroups(kernel, "3:cpu:/c", {"": {"cpu.stat": "odd"}, "c": {"cpu.stat": stat}})
    assert throttled_nanoseconds(PID) == {kernel / "sys/fs/cgroup/c": 5}
    assert throttled_nanoseconds(PID, [kernel / "sys/fs/cgroup/a"])[kernel / "sys/fs/cgroup/a"] == 5000


def test_without_cgroups_nothing_is_known(kernel: Path) -> None:
    """As on a kernel without them, and where /proc is not mounted."""
    assert cpu_folders(PID) == []
    assert cpu_quota(PID) is None
    assert throttled_nanoseconds(PID) == {}


@pytest.mark.parametrize(
    ("quota", "threads", "answer"),
    [
        (150_000, None, (0,)),
        (150_000, 1, (0,)),
        (199_999, None, (0,)),
        (200_000, None, (0, 1)),
        (300_000, 3, (0, 1, 2)),
        (900_000, None, (0, 1, 2, 3)),
        (-1, None, (0, 1, 2, 3)),
        (150_000, 2, "2 threads need as many CPUs, and the cgroup allows 1.5; lower --threads to 1, or raise"),
        (50_000, None, "the cgroup allows 0.5 CPUs, and a thread needs a whole one; raise its CPU quota"),
        (50_000, 1, "the cgroup allows 0.5 CPUs, and a thread needs a whole one; raise its CPU quota"),
        (900_000, 5, "5 threads need as many CPUs, and this process may use 4; lower --threads"),
        (150_000, 0, "0 threads cannot train; raise --threads"),
    ],
)
def test_the_quota_limits_the_threads(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, quota: int, threads: int | None, answer: tuple[int, ...] | str
) -> None:
    """By default they are the whole CPUs of affinity and quota, whichever has fewer; more are refused."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    write_cgroups(kernel, "4:cpu:/a", {"a": v1(quota)})
    if isinstance(answer, tuple):
        assert choose_cpus(threads) == answer
    else:
        with pytest.raises(SettingsError, match=f"^{answer}"):
            choose_cpus(threads)
