"""A fleet through a real Slurm and a real sshd, each with hosts on loopback, and what goes wrong there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
import yaml

from reports.assemble import assemble
from samenet.assembly import read_unfinished
from samenet.environments import ROOT, tox_folder
from samenet.fleet.file import Fleet as FleetFile
from samenet.machine.lock import only_campaign
from samenet.saved import read_run
from samenet.storage import read_storage
from tests.support.carriers import NODES, slurm, sshd
from tests.support.data import write_dataset
from tests.support.repository import NUMPY, STEP, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("fleet")
SHORT = ("--launches", "1", "--rounds", "2", "--iterations", "20", "--workload", "hidden=20,batch_size=100")
BOTH, ONE = ("-k", "numpy-cpu or [jax-cpu]", *SHORT), ("-k", "numpy-cpu", *SHORT)
LONG = (*ONE, "--threads", "1", "--launches", "3", "--rounds", "4")
PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class Fleet:
    """A fleet of ``options`` and ``variables`` whose hosts have the checkout of ``repository``."""

    folder: Path
    repository: Repository
    cluster: str
    options: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def storage(self) -> Path:
        """Where the client saves."""
        return self.folder / "storage"

    def command(self, action: str, *arguments: str, **fields: Any) -> list[str]:
        """Write the fleet file, with these fields besides its own, and return the command line."""
        path = self.folder / "fleet.yml"
        base = {"cluster": self.cluster, "options": self.options, "hosts": 3, "python": sys.executable}
        base |= {"folder": str(self.repository.folder), "variables": self.variables, "wait_seconds": 20}
        path.write_text(yaml.safe_dump(base | fields))
        return [sys.executable, "-m", "samenet", "fleet", action, str(path), "--storage", str(self.storage), *arguments]

    def run(self, action: str, *arguments: str, **fields: Any) -> tuple[int, str]:
        """Run the command to its end, and return its exit code and what it prints."""
        with self.started(action, *arguments, **fields) as process:
            return self.ended(process)

    def started(self, action: str, *arguments: str, **fields: Any) -> subprocess.Popen[str]:
        """Start the command."""
        command, tree = self.command(action, *arguments, **fields), self.repository.folder
        return subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for the end of the command."""
        output, _ = process.communicate(timeout=240)
        assert "Traceback" not in output, output
        assert " - distributed" not in output, output
        return process.returncode, output

    def hosts_with(self, pattern: str) -> list[str]:
        """Return the names of the hosts of which the client has such files."""
        return sorted({path.relative_to(self.storage).parts[0] for path in self.storage.rglob(pattern)})

    def wait(self, pattern: str, count: int) -> None:
        """Wait until the client has such files of so many hosts."""
        wait_until(lambda: len(self.hosts_with(pattern)) >= count)


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def processes_of(host: str, part: str = "") -> list[psutil.Process]:
    """Return the processes of a host with this text in their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended
            if process.environ().get("SAMENET_HOST") == host and part in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, small_mnist: Path) -> Repository:
    """Return a repository with one commit."""
    return Repository(tmp_path_factory.mktemp("fleet") / "repository", small_mnist)


def example(cluster: str) -> dict[str, Any]:
    """Return the options of the fleet file for this cluster in docs/fleets.md."""
    written = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/fleets.md").read_text(), re.DOTALL)
    files = [msgspec.yaml.decode(text, type=FleetFile) for text in written]
    return dict(next(each.options for each in files if each.cluster == cluster))


def variables_of(folder: Path, repository: Repository) -> dict[str, str]:
    """Return what a host needs besides its own name."""
    return {
        "TOX_WORK_DIR": str(tox_folder(ROOT)),
        "SAMENET_DATA": str(repository.data),
        "SAMENET_CACHE": str(folder / "cache"),
    }


@contextmanager
def over_ssh(folder: Path, repository: Repository, hosts: Mapping[str, Mapping[str, str]]) -> Iterator[Fleet]:
    """Return a fleet of ``hosts``, with their variables; each has a lock of its own, since they share this machine."""
    (folder / "sshd").mkdir()
    every = variables_of(folder, repository)
    own = {
        name: every | {"SAMENET_LOCK": str(folder / f"{name}.lock")} | dict(variables)
        for name, variables in hosts.items()
    }
    with sshd(folder / "sshd", own) as configuration:
        worker = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1"}
        options = example("ssh") | {
            "hosts": ["h0", *hosts],
            "connect_options": {"config": [str(configuration)], "known_hosts": None},
            "remote_python": sys.executable,
            "worker_options": worker,
            "scheduler_options": {"host": "127.0.0.1"},
        }
        yield Fleet(folder, repository, "ssh", options)


@pytest.fixture
def ssh(tmp_path: Path, repository: Repository) -> Iterator[Fleet]:
    """Return a fleet of three hosts that are alike."""
    with over_ssh(tmp_path, repository, {name: {} for name in NODES}) as fleet:
        yield fleet


def assert_complete(fleet: Fleet, output: str, cases: set[str]) -> None:
    """Three hosts of one kind have measured these cases, as ``pytest bench/`` by itself does."""
    assert fleet.hosts_with("*.json") == list(NODES), output
    for path in fleet.storage.rglob("*.json"):
        run = read_run(path)
        assert {case.case for case in run.results.cases} == cases
        assert run.results.machine.host == path.relative_to(fleet.storage).parts[0]
        assert run.commit.id == fleet.repository.git("rev-parse", "HEAD").strip()
        assert not any(name.startswith(("OMP", "MKL", "OPENBLAS")) for name in run.results.machine.environment)
    report = assemble(read_storage(fleet.storage))
    (section,) = [each for each in report.sections if each.name == "fleet"]
    assert section.verdict.startswith("3 hosts of one kind.")
    assert not list((fleet.folder / "cache").rglob("*.json*"))  # the client has it


def test_slurm_carries_a_campaign_to_each_node(tmp_path: Path, repository: Repository) -> None:
    """The nodes are one machine with one lock: the second and the third are busy, and have their turn later."""
    (tmp_path / "slurm").mkdir()
    options = example("slurm") | {"interface": "lo", "python": sys.executable}
    options |= {"log_directory": str(tmp_path / "slurm"), "scheduler_options": {"host": "127.0.0.1"}}
    fleet = Fleet(tmp_path, repository, "slurm", options, variables_of(tmp_path, repository))
    with slurm(tmp_path / "slurm"):
        code, output = fleet.run("run", "--", *BOTH)
    assert code == 0, output
    assert "is busy; its campaign is tried again in 10 s" in output
    assert_complete(fleet, output, {"numpy-cpu", "jax-cpu"})


def test_ssh_carries_a_campaign_to_each_host(ssh: Fleet) -> None:
    """A check says first what each host has."""
    code, output = ssh.run("check")
    assert code == 0, output
    for name in NODES:
        assert f"{name}: " in output
    assert output.count("environments: ") == 3
    code, output = ssh.run("run", "--", *BOTH)
    assert code == 0, output
    assert_complete(ssh, output, {"numpy-cpu", "jax-cpu"})


def test_unfit_hosts_are_named_and_the_others_measure(tmp_path: Path, small_mnist: Path) -> None:
    """Another commit, other data, no checkout, a full disk, no interpreter, and a campaign that goes on."""
    good, other = (Repository(tmp_path / name, small_mnist) for name in ("good", "other"))
    other.edit(NUMPY, STEP, f"    # a comment\n{STEP}")
    other.commit()
    changed, usual = write_dataset(folder_of(tmp_path / "changed"), train=1100), {"SAMENET_TREE": str(good.folder)}
    hosts = {
        "h1": usual,
        "h2": {"SAMENET_TREE": str(other.folder)},
        "h3": usual | {"SAMENET_DATA": str(changed)},
        "h4": {"SAMENET_TREE": str(tmp_path / "nowhere")},
        "h5": usual | {"SAMENET_CACHE": str(tmp_path / "small")},
        "h6": usual | {"TOX_WORK_DIR": str(tmp_path / "no-tox")},
        "h7": usual,
    }
    with over_ssh(tmp_path, good, hosts) as fleet, full_disk(folder_of(tmp_path / "small")):
        with only_campaign(tmp_path / "h7.lock"):
            code, output = fleet.run(
                "run", "--", "-k", "[jax-cpu]", *SHORT, folder="$SAMENET_TREE", hosts=7, limit_seconds=60
            )
        assert code == 3, output
        assert "h1: done" in output
        assert re.search("h2: refused, its checkout is at [0-9a-f]{9}, and this one at [0-9a-f]{9}", output), output
        assert re.search("h3: refused, its data have the checksum [0-9a-f]{12}, and those of most", output), output
        assert f"h4: refused, cannot start {sys.executable} in {tmp_path}/nowhere: No such file or directory" in output
        assert re.search("h5: failed, .*No space left on device", output), output
        assert "h6: done, jax-cpu is skipped: no interpreter for jax; run: tox run -e jax" in output
        assert "h7: busy, another campaign was measuring there until the limit" in output
        assert fleet.hosts_with("*.json") == ["h1", "h6"]


def folder_of(path: Path) -> Path:
    """Make a folder."""
    path.mkdir()
    return path


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Give a folder a file system of its own that is full."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        with contextlib.suppress(OSError):
            (folder / "full").write_bytes(bytes(1 << 20))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


def test_kills_and_a_hang_cost_one_host_each(ssh: Fleet) -> None:
    """A worker of Dask is started again and goes on there; a campaign is not, and one that hangs is stopped."""
    with ssh.started("run", "--", *LONG, limit_seconds=45) as process:
        ssh.wait("*.jsonl", 3)
        processes_of("h1", "from multiprocessing.spawn")[0].kill()
        processes_of("h2", "pytest bench/")[0].kill()
        processes_of("h3", "pytest bench/")[0].send_signal(signal.SIGSTOP)
        code, output = ssh.ended(process)
    assert code == 3, output
    assert "h1 is back, and goes on" in output
    assert "h1: done" in output
    assert "h2: failed, exit code -9" in output
    assert "h3: stopped at the limit, it took more than 45 s; what it had measured is saved" in output
    assert ssh.hosts_with("*.json") == ["h1"]
    assert ssh.hosts_with("*.jsonl") == ["h2", "h3"]
    report = assemble(read_storage(ssh.storage, read_unfinished))
    (section,) = [each for each in report.sections if each.name == "fleet"]
    assert section.verdict.startswith("3 hosts of one kind.")


@pytest.mark.parametrize("victim", ["client", "scheduler"])
def test_what_was_finished_is_collected_when_a_part_of_dask_is_killed(ssh: Fleet, victim: str) -> None:
    """Nothing hangs, and the plan can be continued."""
    with ssh.started("run", "--", *LONG) as process:
        ssh.wait("*.jsonl", 3)
        before = {path: path.read_text() for path in ssh.storage.rglob("*.jsonl")}
        if victim == "client":
            process.kill()
            process.communicate(timeout=60)
        else:
            for process_of_dask in processes_of("h0"):
                process_of_dask.kill()
            code, output = ssh.ended(process)
            assert code == 3, output
            assert output.count("lost, ") == 3
    for host in NODES:
        wait_until(lambda host=host: not processes_of(host, "pytest bench/"))  # type: ignore[misc]
    plan = next(ssh.folder.glob("cache/outbox/*")).name
    shutil.rmtree(ssh.storage)
    code, output = ssh.run("collect", "--plan", plan)
    assert code == 0, output
    for path, text in before.items():  # without its client a campaign goes on, maybe to its end
        assert path.read_text().startswith(text) if path.exists() else list(path.parent.parent.rglob("*.json"))
    code, output = ssh.run("run", "--plan", plan, "--", *LONG)
    assert code == 0, output
    assert ssh.hosts_with("*.json") == list(NODES)
