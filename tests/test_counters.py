"""What the machine's counters say about a round, also when some of them are missing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from samenet.environments import ROOT
from samenet.machine.counters import CpuLoad, Watch, joules_between, since, unknown_readings
from samenet.machine.cpus import choose_cpus
from samenet.records import Disturbance, State
from tests.support.kernel import in_namespace, write

QUIET = CpuLoad(
    wall_seconds=1.0,
    cpus=2,
    worker_seconds=2.0,
    waiting_seconds=0.01,
    others_seconds=0.01,
    steal_seconds=0.01,
    throttled_seconds=0.01,
    throttles=0,
    megahertz=3000.0,
    joules=50.0,
)
PID = os.getpid()


STAT = """cpu  300 0 30 900 0 0 0 3 0 0
cpu0 100 0 10 300 0 0 0 1 0 0
cpu1 200 0 20 600 0 0 0 2 0 0
"""
CPU_FILES = {
    "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count": "4",
    "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq": "3000000",
}


def write_counters(kernel: Path) -> None:
    """Write every counter, for two CPUs and this process with one thread."""
    write(kernel / "proc/stat", STAT)
    write(kernel / f"proc/{PID}/task/1/schedstat", "1000000000 2000000 3")
    write(kernel / f"proc/{PID}/cgroup", "0::/a")
    write(kernel / "proc/self/mountinfo", f"30 25 0:26 / {kernel}/sys/fs/cgroup rw - cgroup2 cgroup2 rw")
    write(kernel / "sys/fs/cgroup/cpu.stat", "throttled_usec 1000")
    write(kernel / "sys/fs/cgroup/a/cpu.stat", "throttled_usec 2000")
    for cpu in 0, 1:
        for name, text in CPU_FILES.items():
            write(kernel / name.format(cpu), text)
        write(kernel / f"sys/class/powercap/intel-rapl:{cpu}/energy_uj", "1000000")
        write(kernel / f"sys/class/powercap/intel-rapl:{cpu}/intel-rapl:{cpu}:0/energy_uj", "7")


def known(load: CpuLoad) -> set[str]:
    """Return the counters that are known."""
    return {name for name, value in asdict(load).items() if value is not None} - {"wall_seconds", "cpus", "readings"}


EVERY_COUNTER = known(QUIET)


def test_a_round_has_the_difference_of_all_counters(kernel: Path) -> None:
    """In seconds, MHz and J; the work of others is all work but the worker's."""
    write_counters(kernel)
    watch = Watch(PID, (0, 1))
    tick = 1 / os.sysconf("SC_CLK_TCK")
    write(kernel / "proc/stat", STAT.replace("cpu0 100 0 10 300 0 0 0 1", "cpu0 350 0 10 300 0 0 0 6"))
    write(kernel / f"proc/{PID}/task/1/schedstat", "2000000000 502000000 9")
    write(kernel / "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "6")
    write(kernel / "sys/class/powercap/intel-rapl:0/energy_uj", "3500000")
    write(kernel / "sys/fs/cgroup/cpu.stat", "throttled_usec 301000")
    write(kernel / "sys/fs/cgroup/a/cpu.stat", "throttled_usec 42000")
    load = watch.stop()
    assert load.wall_seconds > 0
    expected = {
        "wall_seconds": load.wall_seconds,
        "cpus": 2,
        "readings": 1,
        "worker_seconds": 1.0,
        "waiting_seconds": 0.5,
        "others_seconds": 250 * tick - 1.0,
        "steal_seconds": 5 * tick,
        "throttled_seconds": 0.3,
        "throttles": 2,
        "megahertz": 3000,
        "joules": 2.5,
    }
    assert asdict(load) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "text", "unknown"),
    [
        ("proc/stat", None, {"others_seconds", "steal_seconds"}),
        ("proc/stat", STAT.replace("cpu1", "cpu7"), {"others_seconds", "steal_seconds"}),
        ("proc/stat", "cpu0 1 2 3\ncpu1 1 2 3\n", {"others_seconds", "steal_seconds"}),
        ("proc/stat", "cpu0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0\n", {"others_seconds", "steal_seconds"}),
        ("proc/{pid}/task/1/schedstat", None, {"worker_seconds", "waiting_seconds", "others_seconds"}),
        ("proc/{pid}/task/1/schedstat", "0 0 0", {"worker_seconds", "waiting_seconds", "others_seconds"}),
        ("proc/{pid}/cgroup", None, {"throttled_seconds"}),
        ("proc/self/mountinfo", "", {"throttled_seconds"}),
        ("sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count", None, {"throttles"}),
        ("sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", None, {"megahertz"}),
        ("sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", "<unknown>", {"megahertz"}),
        ("sys/class/powercap/intel-rapl:{}/energy_uj", None, {"joules"}),
        ("sys/class/powercap/intel-rapl:{}/energy_uj", "", {"joules"}),
    ],
)
def test_a_missing_counter_is_unknown_and_the_others_are_not(
    kernel: Path, name: str, text: str | None, unknown: set[str]
) -> None:
    """None, and never 0, for a file that is missing or empty, or has other CPUs, other columns, zeros or words."""
    write_counters(kernel)
    for path in {kernel / name.format(cpu, pid=PID) for cpu in (0, 1)}:
        path.unlink()
        if text is not None:
            write(path, text)
    load = Watch(PID, (0, 1)).stop()
    assert known(load) == EVERY_COUNTER - unknown
    assert load.disturbance is None


def test_a_machine_without_counters_can_be_measured(kernel: Path) -> None:
    """All are unknown, and a round is not disturbed by what is unknown."""
    load = Watch(PID, (0, 1)).stop()
    assert known(load) == set()
    assert load.disturbance is None


@pytest.mark.parametrize(
    ("ran", "counted", "known"),
    [
        (0.29, 0, False),  # it is frozen, or the CPUs are others
        (0.29, 10, False),
        (0.29, 27, True),  # the kernel counts in ticks
        (0.02, 0, True),
        (0.29, 40, True),
    ],
)
def test_a_count_that_lacks_the_workers_own_work_is_unknown(
    kernel: Path, *, ran: float, counted: int, known: bool
) -> None:
    """So is the steal, which is in the same lines: else neither could ever disturb a block."""
    write_counters(kernel)
    watch = Watch(PID, (0, 1))
    write(kernel / f"proc/{PID}/task/1/schedstat", f"{1_000_000_000 + round(ran * 1e9)} 2000000 9")
    write(kernel / "proc/stat", STAT.replace("cpu0 100", f"cpu0 {100 + counted}"))
    load = watch.stop()
    assert (load.others_seconds is not None) == (load.steal_seconds is not None) == known
    assert load.worker_seconds == pytest.approx(ran)


def test_a_frozen_count_is_among_the_unknown_readings(kernel: Path) -> None:
    """The harness works for a moment, and is not counted."""
    write_counters(kernel)
    assert unknown_readings((0, 1), has_quota=True) == ["others_seconds", "steal_seconds"]


def test_a_worker_that_has_ended_has_no_seconds(kernel: Path) -> None:
    """Its counters went with it."""
    write_counters(kernel)
    watch = Watch(PID, (0, 1))
    (kernel / "proc" / str(PID) / "task").rename(kernel / "ended")
    load = watch.stop()
    assert load.worker_seconds is load.waiting_seconds is load.others_seconds is None


def test_a_cpu_that_goes_offline_during_a_round_makes_its_time_unknown(kernel: Path) -> None:
    """Its line is gone from /proc/stat."""
    write_counters(kernel)
    watch = Watch(PID, (0, 1))
    write(kernel / "proc/stat", STAT.replace("cpu1", "cpu7"))
    assert watch.stop().steal_seconds is None


@pytest.mark.parametrize(("before", "after"), [("a", "b"), ("b", "a")])
def test_a_process_that_is_moved_between_cgroups_misses_no_quota(kernel: Path, before: str, after: str) -> None:
    """The time in the first counts, and in the second all that it was ever stopped; a folder may disappear."""
    write_counters(kernel)
    write(kernel / f"proc/{PID}/cgroup", f"0::/{before}")
    watch = Watch(PID, (0, 1))
    write(kernel / f"proc/{PID}/cgroup", f"0::/{after}")
    write(kernel / "sys/fs/cgroup/a/cpu.stat", "throttled_usec 7000000")
    load = watch.stop()
    assert load.throttled_seconds == pytest.approx(7 if after == "a" else 6.998)
    assert load.disturbance
    assert load.disturbance.cause is State.THROTTLED
    watch = Watch(PID, (0, 1))
    write(kernel / f"proc/{PID}/cgroup", "0::/c")
    (kernel / "sys/fs/cgroup/a/cpu.stat").unlink()
    assert watch.stop().throttled_seconds == 0


def test_a_counter_that_starts_again_is_unknown() -> None:
    """RAPL's do after some minutes; the other package's rise does not hide it."""
    assert since(5, 3) is None
    assert since(3, 5) == 2
    assert joules_between({"a": 1, "b": 2}, {"a": 1_000_001, "b": 3_000_002}) == 4.0
    assert joules_between({"a": 60_000_000, "b": 0}, {"a": 1_000_000, "b": 64_000_000}) is None
    assert joules_between({"a": 1, "b": 2}, {"a": 1_000_001}) is None
    assert joules_between({}, {}) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root has files that others may not read")
def test_energy_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    """As for everyone but root since Linux 5.10."""
    source = """
import os, sys
from pathlib import Path
from samenet.machine import counters, files
files.SYS = Path(sys.argv[1])
assert counters.package_microjoules() == {"intel-rapl:0": 5}
os.setuid(65534)
assert counters.package_microjoules() == {}
"""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        path = Path(folder, "class/powercap/intel-rapl:0/energy_uj")
        write(path, "5")
        path.chmod(0o400)
        subprocess.check_call([sys.executable, "-c", source, folder], cwd=ROOT)


def quota_for(share: str) -> Disturbance:
    """Return the disturbance by a CPU quota."""
    remedy = "raise the quota or lower --threads"
    return Disturbance(State.THROTTLED, f"the cgroup's CPU quota stopped it for {share} of the time; {remedy}")


@pytest.mark.parametrize(
    ("load", "disturbance"),
    [
        (QUIET, None),
        (replace(QUIET, throttles=3), Disturbance(State.THROTTLED, "throttled 3 times")),
        (
            replace(QUIET, waiting_seconds=0.5, others_seconds=0.5),
            Disturbance(State.CONTENDED, "other processes held its CPUs for 25 % of the time"),
        ),
        (replace(QUIET, throttled_seconds=0.24, waiting_seconds=0.5, others_seconds=0.5), quota_for("12 %")),
        (replace(QUIET, throttled_seconds=9.0), quota_for("100 %")),
        (replace(QUIET, throttled_seconds=None), None),
        (replace(QUIET, waiting_seconds=0.5), None),  # for each other
        (replace(QUIET, others_seconds=0.5), None),  # on a CPU that was free
        (
            replace(QUIET, steal_seconds=0.5),
            Disturbance(State.CONTENDED, "the hypervisor took 25 % of its CPUs"),
        ),
        (replace(QUIET, waiting_seconds=0.1, others_seconds=0.1, readings=25), None),  # within the error of 25 readings
        (replace(QUIET, waiting_seconds=0.5, others_seconds=None), None),
        (replace(QUIET, waiting_seconds=None, others_seconds=0.5), None),
    ],
)
def test_a_disturbance_has_a_cause_and_what_was_seen(load: CpuLoad, disturbance: Disturbance | None) -> None:
    """Heat and quotas throttle; others that hold a CPU for which it waits contend, and so does the hypervisor."""
    assert load.disturbance == disturbance


WATCH = """
import json, os, sys
from dataclasses import asdict
from samenet.machine.counters import Watch
watch = Watch(os.getpid(), [int(cpu) for cpu in sys.argv[2:]])
sum(range(10_000_000))
print(json.dumps(asdict(watch.stop())))
"""


UNKNOWN = """
import os, sys
from samenet.machine.counters import unknown_readings
before = os.sched_getaffinity(0)
print(unknown_readings([int(cpu) for cpu in sys.argv[2:]], has_quota=False))
assert os.sched_getaffinity(0) == before
"""


def test_readings_of_this_machine_are_known_unless_they_are_frozen(tmp_path: Path) -> None:
    """With the real /proc/stat, and with a copy of it in its place."""
    cpus = [str(cpu) for cpu in choose_cpus(None)]
    stat = tmp_path / "stat"
    stat.write_text(Path("/proc/stat").read_text())
    for mount, readings in {"true": set(), 'mount --bind "$2" /proc/stat': {"others_seconds", "steal_seconds"}}.items():
        result = in_namespace(mount, UNKNOWN, str(stat), *cpus)
        assert result.returncode == 0, result.stderr
        assert set(ast.literal_eval(result.stdout)) == readings


def test_a_container_that_hides_a_cpu_leaves_its_time_unknown(tmp_path: Path) -> None:
    """With a real /proc/stat in which lxcfs has renamed the CPUs: what the worker did is still known."""
    cpu = choose_cpus(None)[0]
    lines = Path("/proc/stat").read_text().splitlines(keepends=True)
    stat = tmp_path / "stat"
    stat.write_text("".join(line for line in lines if not line.startswith(f"cpu{cpu} ")))
    result = in_namespace('mount --bind "$2" /proc/stat', WATCH, str(stat), str(cpu))
    assert result.returncode == 0, result.stderr
    load = json.loads(result.stdout)
    assert load["others_seconds"] is load["steal_seconds"] is None
    assert load["worker_seconds"] > 0
