"""The machine: which CPUs are used, who holds its lock, and its record."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from samenet.environments import ROOT
from samenet.errors import BusyError, SettingsError
from samenet.machine import lock
from samenet.machine.cpus import choose_cpus
from samenet.machine.description import describe, fingerprint
from samenet.machine.lock import SHARED_FOLDERS, lock_file, only_campaign
from samenet.machine.temporary import temporary_folder
from tests.support.kernel import in_namespace, write


def test_each_core_gives_one_cpu_first(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cores with two hardware threads each, and of CPUs without a known topology."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert choose_cpus(None) == (0, 1, 2, 3)
    for cpu in range(4):
        siblings = kernel / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        write(siblings, f"{cpu % 2},{cpu % 2 + 2}\n")
    assert choose_cpus(None) == (0, 1)
    assert choose_cpus(1) == (0,)
    assert choose_cpus(3) == (0, 1, 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3})
    assert choose_cpus(None) == (2, 3)


@pytest.mark.parametrize("siblings", ["", "unknown", "7", "0x3", "4-7,9", "9" * 5000])
def test_without_a_usable_list_of_siblings_every_cpu_is_a_core(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, siblings: str
) -> None:
    """A list that lacks the CPU itself is none: two CPUs are not one core because their files say the same nonsense."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2})
    for cpu in 1, 2:
        write(kernel / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    assert choose_cpus(None) == (1, 2)


def test_a_system_that_hides_its_affinity_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sandbox may that allows few system calls."""

    def denied(_: int) -> set[int]:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_getaffinity", denied)
    with pytest.raises(SettingsError, match=r"which CPUs .*: Operation not permitted; allow the system call"):
        choose_cpus(None)


@pytest.mark.parametrize(("threads", "remedy"), [(10_000, "lower --threads"), (0, "raise --threads"), (-1, "raise")])
def test_an_impossible_number_of_threads_is_a_wrong_setting(threads: int, remedy: str) -> None:
    """The message says how many there may be."""
    with pytest.raises(SettingsError, match=remedy):
        choose_cpus(threads)


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot confine a process to CPUs."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SettingsError, match="run samenet on Linux"):
        choose_cpus(None)


LOCK = """
from pathlib import Path
import sys
from samenet.errors import SamenetError
from samenet.machine.lock import only_campaign
try:
    with only_campaign(*map(Path, sys.argv[1:])):
        print("locked")
except SamenetError as error:
    print(type(error).__name__, error)
"""


def lock_elsewhere(*path: str, **options: object) -> str:
    """Return what another process says that takes the lock."""
    command = [sys.executable, "-c", LOCK, *path]
    return subprocess.check_output(command, cwd=ROOT, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_one_campaign_at_a_time(tmp_path: Path) -> None:
    """A second one is refused, in this process or another, until the first has ended."""
    path = tmp_path / "lock"
    with only_campaign(path):
        with pytest.raises(BusyError, match="another campaign is measuring on this machine; wait for its end"):
            only_campaign(path).__enter__()
        assert lock_elsewhere(str(path)).startswith("BusyError")
    assert lock_elsewhere(str(path)) == "locked\n"


def test_jobs_with_folders_of_their_own_share_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch systems give each job a TMPDIR; a part of a machine that shares nothing may have a lock of its own."""
    monkeypatch.delenv("SAMENET_LOCK", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert lock_file().parent in SHARED_FOLDERS
    monkeypatch.setenv("SAMENET_LOCK", str(tmp_path / "part"))
    assert lock_file() == tmp_path / "part"


def test_the_locks_folder_is_one_that_all_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not this user could write into another one: root and a user would not see each other's lock."""
    closed, shared = tmp_path / "closed", tmp_path / "shared"
    closed.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.delenv("SAMENET_LOCK", raising=False)
    monkeypatch.setattr(lock, "SHARED_FOLDERS", (tmp_path / "missing", closed, shared))
    assert lock_file() == shared / "samenet.lock"


def test_a_campaign_that_fails_releases_the_lock(tmp_path: Path) -> None:
    """Its error is not changed."""
    with pytest.raises(ZeroDivisionError), only_campaign(tmp_path / "lock"):
        raise ZeroDivisionError
    with only_campaign(tmp_path / "lock"):
        pass


def test_the_lock_can_be_shared_between_users(tmp_path: Path) -> None:
    """Even if the one who made it has a strict umask."""
    path = tmp_path / "lock"
    before = os.umask(0o077)
    try:
        with only_campaign(path):
            pass
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(("mode", "answer"), [(0o644, "locked"), (0o600, "SettingsError cannot open the lock")])
def test_a_lock_of_another_user_is_locked_or_explained(mode: int, answer: str) -> None:
    """In a folder that all may write, as /tmp is."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o1777)
        path = Path(folder, "lock")
        path.touch()
        path.chmod(mode)
        # Imported first, since another user may not be able to read this folder.
        become = "import os, samenet.errors, samenet.machine.lock; os.setgid(65534); os.setuid(65534)"
        said = subprocess.check_output([sys.executable, "-c", become + LOCK, str(path)], cwd=ROOT, text=True)
    assert said.startswith(answer)


@pytest.mark.parametrize("kind", ["in a missing folder", "below a file", "a link to itself"])
def test_a_lock_that_cannot_be_opened_is_a_wrong_setting(tmp_path: Path, kind: str) -> None:
    """One sentence has the path, what the system says, and a remedy."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    paths = {"in a missing folder": "missing/lock", "below a file": "file/lock", "a link to itself": "loop"}
    path = tmp_path / paths[kind]
    with (
        pytest.raises(SettingsError, match=rf"cannot open the lock {path}: [A-Z].*; .*set SAMENET_LOCK"),
        only_campaign(path),
    ):
        pass


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    """It can be locked like a file."""
    os.mkfifo(tmp_path / "pipe")
    assert lock_elsewhere(str(tmp_path / "pipe"), timeout=60) == "locked\n"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_temporary_folder_that_is_none_is_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Python would use another one without a word."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    with pytest.raises(SettingsError, match=rf"TMPDIR is {tmp_path / name}, .*; set it to one that is"):
        temporary_folder()


def test_an_empty_tmpdir_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with other empty variables."""
    monkeypatch.setenv("TMPDIR", "")
    assert temporary_folder().is_dir()


def test_a_read_only_folder_is_a_wrong_setting(tmp_path: Path) -> None:
    """Which root, too, cannot write: as TMPDIR, and as the folder of the lock."""
    mount = f"mount -t tmpfs -o ro none {shlex.quote(str(tmp_path))}"
    look = "from samenet.machine.temporary import temporary_folder; temporary_folder()"
    result = in_namespace(mount, look, TMPDIR=str(tmp_path))
    assert f"SettingsError: TMPDIR is {tmp_path}, which" in result.stderr
    result = in_namespace(mount, LOCK, str(tmp_path / "lock"))
    assert result.stdout.startswith(f"SettingsError cannot open the lock {tmp_path}/lock: "), result.stderr


def test_a_record_of_a_machine_without_files_says_unknown(kernel: Path) -> None:
    """What /proc and /sys would say is None."""
    machine = describe((0, 1))
    assert machine.governor is None
    assert machine.hardware["memory_gib"] is None
    assert machine.cpus == (0, 1)


def test_equal_hardware_has_equal_fingerprints(kernel: Path) -> None:
    """CPU, memory and the number of CPUs that are used change it; the governor does not."""
    write(
        kernel / "proc/cpuinfo", "model name\t: A CPU\nmicrocode\t: 0x1\nflags\t\t: hypervisor\n\nmodel name\t: A CPU\n"
    )
    write(kernel / "proc/meminfo", "MemTotal:       24684084 kB\nMemFree: 1 kB\n")
    machine = describe((0, 1))
    assert machine.virtualised
    assert machine.microcode == "0x1"
    assert machine.hardware["cpu"] == "A CPU"
    assert machine.hardware["memory_gib"] == 24
    again = describe((2, 3))
    assert again.fingerprint == machine.fingerprint
    assert describe((0,)).fingerprint != machine.fingerprint
    write(kernel / "proc/meminfo", "MemTotal:       16384000 kB\n")
    assert describe((0, 1)).fingerprint != machine.fingerprint


def test_the_governor_is_that_of_the_cpus_used(kernel: Path) -> None:
    """All of them, where they have different ones; that of CPU 0 only if it is used."""
    for cpu, governor in enumerate(["powersave", "performance", "schedutil", "performance"]):
        write(kernel / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", f"{governor}\n")
    assert describe((0,)).governor == "powersave"
    assert describe((1, 3)).governor == "performance"
    assert describe((3, 2)).governor == "performance, schedutil"
    assert describe((7,)).governor is None


def test_processors_without_a_name_are_told_apart(kernel: Path) -> None:
    """ARM's list numbers in /proc/cpuinfo: two of them do not have the same hardware."""
    text = "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {}\nCPU revision\t: 1\n"
    write(kernel / "proc/cpuinfo", text.format("0xd0c"))
    one = describe((0,))
    assert one.hardware["cpu"] == "ARM implementer 0x41, part 0xd0c, variant 0x3, revision 1"
    write(kernel / "proc/cpuinfo", text.format("0xd40"))
    assert describe((0,)).fingerprint != one.fingerprint


def test_the_fingerprint_of_known_hardware_stays() -> None:
    """Saved runs are compared by it, so that its text must not change."""
    hardware = {
        "cpu": "Intel(R) Xeon(R) Processor",
        "architecture": "x86_64",
        "cpus_present": 2,
        "cpus_used": 2,
        "memory_gib": 24,
        "gpus": [],
    }
    assert fingerprint(hardware) == "6d780b1792d5"
