"""A fleet through a real Slurm and a real sshd, each with hosts on loopback, and through a scheduler with TLS."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reports.assemble import assemble
from samenet.saved import read_run
from samenet.storage import read_storage
from tests.support.carriers import NODES, dask_over_tls, program, slurm
from tests.support.command_line import HIDDEN, skip_if_disturbed
from tests.support.fleets import BOTH, ONE, Fleet, example, folder_of, over_ssh, variables_of
from tests.support.repository import NUMPY, STEP, Repository

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("fleet")


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


def test_ssh_carries_a_campaign_to_each_host(ssh: Fleet) -> None:
    """As it would run there by hand; a host that ssh does not reach is named, and stops nothing."""
    ssh.options["hosts"].append("down")
    code, output = ssh.run("run", "--", *BOTH)
    assert code == 0, output
    assert "down cannot be reached by ssh: " in output
    assert_complete(ssh, output, {"numpy-cpu", "jax-cpu"})


def test_slurm_carries_a_campaign_to_each_node(tmp_path: Path, fleet_repository: Repository) -> None:
    """Where a job is cancelled, there is another one, and the campaign continues there."""
    folder = folder_of(tmp_path / "slurm")
    options = example("slurm") | {"python": sys.executable, "log_directory": str(folder)}
    own_lock = f"export SAMENET_LOCK={folder}/$SLURMD_NODENAME.lock"  # the nodes are one machine
    options |= {"job_script_prologue": [own_lock]}
    fleet = Fleet(tmp_path, fleet_repository, "slurm", options, variables_of(tmp_path, fleet_repository))
    with slurm(folder), fleet.started("run", "--", *BOTH, "--launches", "3", wait_seconds=60) as process:
        fleet.wait("*.jsonl", 1)
        subprocess.run([program("scancel"), "--nodelist", "h2"], check=True)
        code, output = fleet.ended(process)
    assert code == 0, output
    assert "h2 is back and continues" in output
    assert_complete(fleet, output, {"numpy-cpu", "jax-cpu"})


@pytest.mark.slow
def test_a_scheduler_with_tls_is_reached(tmp_path: Path, small_mnist: Path) -> None:
    """With its certificate, and not without; the host makes its environments first."""
    repository = Repository(tmp_path / "repository", small_mnist)
    tox_ini = repository.folder / "tox.ini"
    tox_ini.write_text(f"{tox_ini.read_text()}\n[testenv:nothing]\nuv_seed = false\ncommands =\n")
    repository.commit()
    variables = variables_of(tmp_path, repository)
    with dask_over_tls(tmp_path / "tls", variables) as address:
        fleet = Fleet(tmp_path, repository, address, {}, variables)
        code, output = fleet.run("run", "--", *ONE, hosts=1, environments=["no-such"])
        assert code == 3, output
        assert "h1: refused, tox cannot make no-such: " in output
        code, output = fleet.run("run", "--", *ONE, hosts=1, environments=["nothing"])
        assert code == 0, output
        assert (tmp_path / "tox" / "nothing" / "bin" / "python").exists()
        code, output = fleet.run("check", hosts=1)
        assert code == 0, output
        assert re.search("h1: .* environments: jax, nothing, numpy", output), output
        (path,) = fleet.storage.rglob("*.json")
        assert not any(
            name.startswith("OMP") for name in read_run(path).results.machine.environment
        )  # as a nanny sets it
        code, output = fleet.run("check", hosts=1, wait_seconds=3, tls=None)
    assert code == 2, output
    assert f"cannot start the cluster {address}: " in output


@pytest.mark.slow
def test_a_change_is_judged_on_each_kind(tmp_path: Path, small_mnist: Path) -> None:
    """Twice the products are slower on every host, and the exit code says so."""
    repository = Repository(tmp_path / "repository", small_mnist)
    repository.edit(NUMPY, STEP, STEP + "    for _ in range(40):\n        x @ first[0]\n")
    repository.commit()
    in_turn = {"SAMENET_LOCK": str(tmp_path / "lock")}  # or each would be the other's neighbour
    with over_ssh(tmp_path, repository, dict.fromkeys(NODES[:2], in_turn)) as fleet:
        against = ("--against", "HEAD~1", "--budget", "3", "--threads", "1")
        for _ in range(3):  # all of its blocks may be disturbed
            code, output = fleet.run("run", "--", "-k", "numpy-cpu", "--iterations", "20", *HIDDEN, *against, hosts=2)
            if code != 3:
                break
    skip_if_disturbed(output)
    assert code == 1, output
    assert re.search(
        "2 hosts of kind .*: numpy-cpu is slower, .* times the time: slower on h1, slower on h2", output
    ), output
    report = assemble(read_storage(fleet.storage))
    (section,) = [each for each in report.sections if each.name == "fleet"]
    assert "numpy-cpu is slower" in section.verdict
