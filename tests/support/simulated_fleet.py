"""Hosts that only wait instead of measuring: what does a large fleet cost, and does its report find the slow one?

python -m tests.support.simulated_fleet --hosts 100 --campaigns 20
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import yaml

from samenet.environments import ROOT
from samenet.errors import BusyError
from samenet.fleet.clusters import QUIET, as_variables
from samenet.git import present_commit
from tests.support.carriers import free_ports
from tests.support.saved_runs import record, run, save

if TYPE_CHECKING:
    from collections.abc import Iterator

# In place of a host's Python: says what the host is, or waits for a while and hands out the next of its made-up runs.
# It is busy where a file says so, and a campaign with --fail fails.
PYTHON = """#!/bin/sh
if [ "$2" = samenet.fleet.about ]; then cat {folder}/about.json; exit; fi
for word in "$@"; do
    case $word in --benchmark-storage=*) out=${{word#*=}};; --benchmark-save=*) name=${{word#*=}};; esac
done
if [ -e {folder}/busy-$SAMENET_HOST ]; then exit {busy}; fi
case "$*" in *--fail*) echo "error: it is bad"; exit 4;; esac
sleep {seconds}
mkdir -p "$out/saved"
mv "$(ls {folder}/runs/$SAMENET_HOST/*/*.json | head -n 1)" "$out/saved/0001_$name.json"
"""
SLOW, SLOWER = "h0", 1.05
BETWEEN = WITHIN = 0.01  # standard deviations between hosts, and between campaigns of a host
SPARE = 5  # runs, for a host that takes more campaigns than others


def make_hosts(folder: Path, hosts: int, campaigns: int, seconds: float) -> None:
    """Write what the hosts need: all are of one kind, and one of them is slow."""
    rng = np.random.default_rng(0)
    for number in range(hosts):
        name = f"h{number}"
        effect = rng.normal(0, BETWEEN) + (np.log(SLOWER) if name == SLOW else 0)
        for campaign in range(campaigns + SPARE):
            noise = np.exp(effect + rng.normal(0, WITHIN, 2))
            cases = [record("numpy", 2.0 * noise[0], losses=[2.0]), record("jax", 1.7 * noise[1], losses=[2.0])]
            content = run(*cases, hours=campaign, machine={"host": name})
            save(folder / "runs" / name, f"{campaign:04}", content)
    kind = content["samenet"]["machine"]["fingerprint"]
    about = {"commit": present_commit(ROOT).id, "kind": kind, "cpu": "Synthetic", "data": "d" * 64}
    (folder / "about.json").write_text(json.dumps(about))
    python = folder / "python"
    python.write_text(PYTHON.format(folder=folder, seconds=seconds, busy=BusyError.EXIT_CODE))
    python.chmod(0o755)
    fleet = {"hosts": hosts, "python": str(python), "folder": str(ROOT)}
    (folder / "sweep.txt").write_text("".join(f"--seed {seed}\n" for seed in range(hosts * campaigns)))
    (folder / "fleet.yml").write_text(yaml.safe_dump(fleet))


def add_fields(folder: Path, **fields: object) -> None:
    """Write more fields into the fleet file."""
    with (folder / "fleet.yml").open("a") as file:
        file.writelines(f"{name}: {value}\n" for name, value in fields.items())


def start(folder: Path, action: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command of the fleet."""
    command = ["samenet", "fleet", action, str(folder / "fleet.yml"), "--storage", str(folder / "storage"), *arguments]
    return subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@contextmanager
def workers(folder: Path, hosts: int) -> Iterator[str]:
    """Start a scheduler on loopback with a worker for each host, and return its address."""
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    environment = os.environ | as_variables(QUIET) | {"OMP_NUM_THREADS": "1", "SAMENET_CACHE": str(folder / "cache")}
    scheduler = ["dask_scheduler", f"--host={address}", "--no-dashboard"]
    worker = ["dask_worker", address, "--nthreads=1", "--no-nanny", "--memory-limit=0", "--no-dashboard"]
    started = []
    try:
        for number, (program, *options) in enumerate([scheduler, *[worker] * hosts], -1):
            command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
            own = {"SAMENET_HOST": f"h{number}"}
            started.append(subprocess.Popen(command, env=environment | own, stderr=subprocess.DEVNULL))
        yield address
    finally:
        for each in started:
            each.kill()


def simulate(folder: Path, hosts: int, campaigns: int, seconds: float) -> list[str]:
    """Run the fleet, build its report, and return what they took and what the report says of the fleet."""
    make_hosts(folder, hosts, campaigns, seconds)
    with workers(folder, hosts) as address:
        add_fields(folder, cluster=address)
        begun, lines = 0.0, list[str]()
        with start(folder, "run", "--sweep", str(folder / "sweep.txt")) as process:
            for line in process.stdout or ():
                lines.append(line.strip())
                begun = begun or time.monotonic() * line.startswith("plan ")
        took = time.monotonic() - begun
    command = ["reports", "build", "--storage", str(folder / "storage"), "--out", str(folder / "report")]
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return [
        f"{lines[-1]}, in {took:.0f} s: {took - campaigns * seconds:.1f} s more than {campaigns} times {seconds:g} s",
        f"the report took {time.monotonic() - begun:.0f} s",
        *(
            line
            for line in (folder / "report" / "report.md").read_text().splitlines()
            if line[:1].isdigit() and " of one kind." in line
        ),
    ]


def main() -> None:
    """Simulate a fleet, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--campaigns", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="samenet-fleet-") as folder:
        found = simulate(Path(folder), options.hosts, options.campaigns, options.seconds)
    sys.stdout.write("\n".join([*found, ""]))


if __name__ == "__main__":
    main()
