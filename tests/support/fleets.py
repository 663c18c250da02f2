"""A fleet of hosts on this machine, with the repository that they measure, and its command line."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import yaml

from samenet.environments import ROOT
from samenet.fleet.file import Fleet as FleetFile
from tests.support.carriers import certificate, sshd
from tests.support.command_line import HIDDEN, QUICK, some_of_tox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.repository import Repository

BOTH, ONE = ("-k", "numpy-cpu or [jax-cpu]", *QUICK), ("-k", "numpy-cpu", *QUICK)
LONG = (*ONE, *HIDDEN, "--threads", "1", "--launches", "3", "--rounds", "4")
PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class Fleet:
    """A fleet of ``options`` and ``variables`` whose hosts have the checkout of ``repository``; it uses TLS."""

    folder: Path
    repository: Repository
    cluster: str
    options: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def tls(self) -> dict[str, str]:
        """Its certificate, which is made once."""
        return certificate(self.folder / "tls")

    @property
    def storage(self) -> Path:
        """Where the client saves."""
        return self.folder / "storage"

    def command(self, action: str, *arguments: str, **fields: Any) -> list[str]:
        """Write the fleet file, with these fields besides its own, and return the command line."""
        path = self.folder / "fleet.yml"
        base = {"cluster": self.cluster, "options": self.options, "hosts": 3, "python": sys.executable}
        base |= {"folder": str(self.repository.folder), "variables": self.variables, "wait_seconds": 20}
        base |= {"tls": self.tls}
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


def example(cluster: str) -> dict[str, Any]:
    """Return the options of the fleet file for this cluster in docs/fleets.md, which uses TLS."""
    written = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/fleets.md").read_text(), re.DOTALL)
    files = [msgspec.yaml.decode(text, type=FleetFile) for text in written]
    (found,) = [each for each in files if each.cluster == cluster]
    assert found.tls
    return dict(found.options)


def variables_of(folder: Path, repository: Repository) -> dict[str, str]:
    """Return what a host needs besides its own name."""
    return {
        "TOX_WORK_DIR": str(some_of_tox(folder / "tox", ("numpy", "jax"))),
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
        options = example("ssh") | {
            "hosts": ["h0", *hosts],
            "connect_options": {"config": [str(configuration)], "known_hosts": None},
            "remote_python": sys.executable,
        }
        yield Fleet(folder, repository, "ssh", options)


def folder_of(path: Path) -> Path:
    """Make a folder."""
    path.mkdir()
    return path


@contextmanager
def full_disk(folder: Path) -> Iterator[bool]:
    """Give a folder a file system of its own that is full, where that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        yield False
        return
    try:
        with contextlib.suppress(OSError):
            (folder / "full").write_bytes(bytes(1 << 20))
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607
