"""What goes wrong on a fleet: hosts that may not measure, kills, a hang, a host that dies; over a real ssh."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from reports.assemble import assemble
from samenet.assembly import read_unfinished
from samenet.fleet.tasks import MOST_RESTARTS
from samenet.machine.lock import only_campaign
from samenet.saved import read_run
from samenet.storage import read_storage
from tests.support.carriers import NODES, kill, start_sshd
from tests.support.command_line import QUICK
from tests.support.data import write_dataset
from tests.support.fleets import LONG, Fleet, folder_of, full_disk, over_ssh, processes_of, wait_until
from tests.support.repository import NUMPY, STEP, Repository

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fleet")]


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
    with over_ssh(tmp_path, good, hosts) as fleet, full_disk(folder_of(tmp_path / "small")) as is_full:
        with only_campaign(tmp_path / "h7.lock"):
            code, output = fleet.run(
                "run", "--", "-k", "[jax-cpu]", *QUICK, folder="$SAMENET_TREE", hosts=7, limit_seconds=30
            )
        assert code == 3, output
        assert "h1: done" in output
        assert re.search("h2: refused, its checkout is at [0-9a-f]{9}, and this one at [0-9a-f]{9}", output), output
        assert re.search("h3: refused, its data have the checksum [0-9a-f]{12}, and those of most", output), output
        assert f"h4: refused, cannot start {sys.executable} in {tmp_path}/nowhere: No such file or directory" in output
        assert not is_full or re.search("h5: failed, .*No space left on device", output), output
        assert "h6: failed, jax-cpu is skipped: no interpreter for jax; run: tox run -e jax" in output
        assert "h7: busy, another campaign was measuring there until the limit" in output
        assert set(fleet.hosts_with("*.json")) - {"h5"} == {"h1", "h6"}
    if not is_full:
        pytest.skip("only root may make a full disk; all else was tested")


def test_kills_and_a_hang_cost_one_host_each(tmp_path: Path, fleet_repository: Repository) -> None:
    """A killed worker of Dask is started again, as soon as its host answers to ssh, but not for ever.

    A killed campaign is not, and one that hangs is stopped.
    """
    hosts: dict[str, dict[str, str]] = {name: {} for name in ("h1", "h2", "h3", "h4")}
    with (
        over_ssh(tmp_path, fleet_repository, hosts) as ssh,
        ssh.started("run", "--", *LONG, hosts=5, limit_seconds=50, wait_seconds=90) as process,
    ):
        ssh.wait("*.jsonl", 4)
        processes_of("h2", "pytest bench/")[0].kill()
        processes_of("h3", "pytest bench/")[0].send_signal(signal.SIGSTOP)
        kill_sshd(ssh.folder)
        kill(processes_of("h1"))
        for number in range(MOST_RESTARTS + 1):
            if number == 2:
                start_sshd(ssh.folder / "sshd")
            wait_until(lambda: bool(processes_of("h4", "pytest bench/")))
            processes_of("h4", "from multiprocessing.spawn")[0].kill()
            wait_until(lambda: not processes_of("h4", "pytest bench/"))
        code, output = ssh.ended(process)
    assert code == 3, output
    assert "of 5 hosts only 4 came: h1, h2, h3, h4" in output
    assert "h1 is back and continues" in output
    assert "h1: done" in output
    assert "h2: failed, exit code -9" in output
    assert "h3: stopped at the limit, it took more than 50 s; what it had measured is saved" in output
    assert f"h4: lost, its worker ended {MOST_RESTARTS + 1} times during this campaign; " in output
    assert ssh.hosts_with("*.json") == ["h1"]
    assert ssh.hosts_with("*.jsonl") == ["h2", "h3", "h4"]
    report = assemble(read_storage(ssh.storage, read_unfinished))
    (section,) = [each for each in report.sections if each.name == "fleet"]
    assert section.verdict.startswith("4 hosts of one kind.")


def test_what_was_finished_is_collected_when_a_part_of_dask_is_killed(
    tmp_path: Path, fleet_repository: Repository
) -> None:
    """First the scheduler, then the client: nothing hangs, and the plan is continued, also past files cut short."""
    with over_ssh(tmp_path, fleet_repository, {name: {} for name in NODES[:2]}) as ssh:
        with ssh.started("run", "--", *LONG, hosts=2) as process:
            ssh.wait("*.jsonl", 2)
            kill([*processes_of("h0"), *processes_of("h2", "pytest bench/")])
            code, output = ssh.ended(process)
        assert code == 3, output
        assert output.count("lost, ") == 2
        before = finished(ssh)
        (outbox,) = ssh.folder.glob("cache/outbox/*")
        (broken,) = outbox.glob("h2/*/journal/*.jsonl")
        broken.write_bytes(broken.read_bytes()[:20])
        shutil.rmtree(ssh.storage)
        with ssh.started("run", "--plan", outbox.name, "--", *LONG, hosts=2) as process:
            wait_until(lambda: bool(processes_of("h2", "pytest bench/")))
            process.kill()
            process.communicate(timeout=60)
        finished(ssh)
        code, output = ssh.run("collect", "--plan", outbox.name, hosts=2)
        assert code == 0, output
        for path, text in before.items():  # without its client a campaign goes on, maybe to its end
            if path.name != broken.name:
                assert path.read_text().startswith(text) if path.exists() else list(path.parent.parent.rglob("*.json"))
        for path in outbox.glob("h1/*"):
            folder_of(ssh.storage / "h1" / "short").joinpath(f"0001_{path.name}.json").write_text("{")
        code, output = ssh.run("run", "--plan", outbox.name, "--", *LONG, hosts=2)
        assert code == 0, output
        assert len([read_run(path) for path in ssh.storage.rglob("*.json") if path.parent.name != "short"]) == 2
        assert ssh.hosts_with("*.json") == list(NODES[:2])


def finished(ssh: Fleet) -> dict[Path, str]:
    """Wait until no host measures, and return the journals that the client has."""
    for host in NODES[:2]:
        wait_until(lambda host=host: not processes_of(host, "pytest bench/"))  # type: ignore[misc]
    return {path: path.read_text() for path in ssh.storage.rglob("*.jsonl")}


def test_a_sweep_goes_on_without_a_host_that_died(tmp_path: Path, fleet_repository: Repository) -> None:
    """Each campaign is measured once, on any host; that of the dead one is measured as a whole on another."""
    sweep = tmp_path / "sweep.txt"
    sweep.write_text("".join(f"--seed {seed}\n" for seed in range(4)))
    with over_ssh(tmp_path, fleet_repository, {name: {} for name in NODES[:2]}) as fleet:
        arguments = ("--sweep", str(sweep), "--", *LONG)
        with fleet.started("run", *arguments, hosts=2, wait_seconds=8) as process:
            fleet.wait("*.jsonl", 2)
            kill_sshd(fleet.folder)  # so that no worker can be started again
            kill(processes_of("h2"))
            code, output = fleet.ended(process)
    assert code == 0, output
    assert "h2: lost (--seed 1), it went away; " in output
    assert re.search(r"h1: done \(--seed 1\)", output), output
    assert output.count(": done (--seed ") == 4
    runs = [read_run(path).results for path in fleet.storage.rglob("*.json")]
    assert sorted(run.campaign.seed for run in runs) == [0, 1, 2, 3]
    assert {launch.launch for run in runs for launch in run["numpy-cpu"].launches} == {0, 1, 2}
    assert fleet.hosts_with("*.jsonl") == ["h2"]  # what it had sent


def kill_sshd(folder: Path) -> None:
    """Kill the sshd that takes new connections."""
    psutil.Process(int((folder / "sshd" / "sshd.pid").read_text())).kill()
