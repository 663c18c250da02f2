"""Three hosts on this machine: nodes of a real Slurm cluster, or names of a real sshd."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NODES = ("h1", "h2", "h3")
READY_SECONDS = 30.0
SLURM = """
ClusterName=samenet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SlurmdTimeout=20
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName=h1 NodeAddr=127.0.0.1 Port={h1} CPUs=2 RealMemory=4000
NodeName=h2 NodeAddr=127.0.0.1 Port={h2} CPUs=2 RealMemory=4000
NodeName=h3 NodeAddr=127.0.0.1 Port={h3} CPUs=2 RealMemory=4000
PartitionName=bench Nodes=h1,h2,h3 Default=YES State=UP OverSubscribe=EXCLUSIVE
"""
# HOME: what a user's .bashrc starts can take longer than the test.
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/sshd.pid
UsePAM no
StrictModes no
AcceptEnv SAMENET_* TOX_*
SetEnv HOME={folder}
"""


def program(name: str) -> str:
    """Return the path of a program, or skip the test where it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_for(is_ready: list[str], folder: Path, says: str) -> None:
    """Wait until a command prints what it should.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + READY_SECONDS
    done = None
    while time.monotonic() < end:
        done = subprocess.run(is_ready, capture_output=True, text=True, check=False)
        if says in done.stdout:
            return
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    raise TimeoutError(f"{done}\n{logs}")


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them all; one may have ended with another."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()


@contextmanager
def daemons(folder: Path) -> Iterator[None]:
    """Kill what has to do with the folder above this one, by command lines and variables."""
    try:
        yield
    finally:
        for process in psutil.process_iter(["cmdline", "environ"]):
            found = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
            if process.pid != os.getpid() and any(str(folder.parent) in part for part in found):
                kill([process])


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Run a Slurm of three nodes, each with room for one job, and let this process's commands reach it."""
    munged, controller, node = program("munged"), program("slurmctld"), program("slurmd")
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (folder / "state").mkdir()
    ports = dict(zip(("controller", *NODES), free_ports(4), strict=True))
    text = SLURM.format(host=socket.gethostname(), user=getpass.getuser(), folder=folder, **ports)
    configuration = folder / "slurm.conf"
    configuration.write_text(text)
    options = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    options.append(f"--socket={folder}/munge.socket")
    with daemons(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(configuration))
        subprocess.run([munged, "--force", *options], check=True)
        subprocess.run([controller, "-i"], check=True)
        for name in NODES:
            subprocess.run([node, "-N", name], check=True)
        wait_for([program("sinfo"), "-h", "-o", "%D %t"], folder, "3 idle")
        yield


@contextmanager
def sshd(folder: Path, hosts: Mapping[str, Mapping[str, str]]) -> Iterator[Path]:
    """Run an sshd on loopback, and return the configuration with which ssh reaches it as ``hosts``.

    Each has its own variables; ``h0`` is for Dask's scheduler, and ``down`` is never reached.
    """
    keygen = program("ssh-keygen")
    (port,) = free_ports(1)
    for name in ("host_key", "key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder))
    with suppress(PermissionError):  # it is needed by root's sshd alone
        Path("/run/sshd").mkdir(exist_ok=True)
    texts = []
    for name, variables in {"h0": {}, **hosts}.items():
        given = " ".join(f"{key}={value}" for key, value in {"SAMENET_HOST": name, **variables}.items())
        texts += [f"Host {name}", "HostName 127.0.0.1", f"Port {port}", f"User {getpass.getuser()}"]
        texts += [f"IdentityFile {folder / 'key'}", f"SetEnv {given}"]
    texts += ["Host down", "HostName 127.0.0.1", f"Port {free_ports(1)[0]}"]
    configuration = folder / "ssh_config"
    configuration.write_text("\n".join(texts))
    with daemons(folder):
        start_sshd(folder)
        yield configuration


def start_sshd(folder: Path) -> None:
    """Start the sshd whose files are in ``folder``, again maybe."""
    subprocess.run([program("sshd"), "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")], check=True)


def certificate(folder: Path) -> dict[str, str]:
    """Return the files of a certificate for this machine, as a fleet file names them; they are made if need be."""
    key, found = folder / "key.pem", folder / "certificate.pem"
    if not found.exists():
        folder.mkdir(exist_ok=True)
        command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(found)], check=True, capture_output=True)
    return {"ca_file": str(found), "cert": str(found), "key": str(key)}


@contextmanager
def dask_over_tls(folder: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Run a scheduler with one worker, h1, and return its address."""
    (port,) = free_ports(1)
    address, tls = f"tls://127.0.0.1:{port}", certificate(folder)
    files = [f"--tls-ca-file={tls['ca_file']}", f"--tls-cert={tls['cert']}", f"--tls-key={tls['key']}"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", f"--host={address}", "--no-dashboard", *files]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads=1", "--no-dashboard", *files]
    environment = os.environ | variables | {"SAMENET_HOST": "h1"}
    with daemons(folder):
        for command in (scheduler, worker):
            subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        yield address
