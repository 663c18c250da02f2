"""Dask's clusters: opened with workers that leave the CPUs alone, and refused where strangers could run code."""

from __future__ import annotations

import ipaddress
import logging
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.deploy.cluster import Cluster
from distributed.security import Security

from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from samenet.fleet.file import Fleet

KNOWN = {
    "local": "distributed.LocalCluster",
    "ssh": "distributed.SSHCluster",
    "slurm": "dask_jobqueue.SLURMCluster",
}
# An idle worker took 4.9 % of a CPU as Dask has it, and 0.3 % so.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.tick.interval": "10s",
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.idle-timeout": "15 minutes",  # after which what a killed client has left ends by itself
    "distributed.comm.retry.count": 0,
    "distributed.deploy.lost-worker-timeout": "5s",  # after which a job that has ended can be started again
    "distributed.comm.timeouts.connect": "10s",
}
LOGGERS = ("distributed", "distributed.client", "distributed.deploy.ssh", "asyncssh", "tornado.application")
# One task at a time, and no memory limit that could end a campaign; a batch system starts what has ended again, and
# elsewhere a nanny does.
DEFAULTS: dict[str, dict[str, Any]] = {
    "local": {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None},
    "ssh": {"worker_options": {"nthreads": 1, "memory_limit": 0}},
    "slurm": {"cores": 1, "processes": 1, "memory": "1GB", "nanny": False},
}


@contextmanager
def opened(fleet: Fleet) -> Iterator[Client]:
    """Start the fleet's cluster, or connect to its scheduler, and end what was started.

    Raises:
        SettingsError: it cannot be started or reached, or anyone on the network could run code on its hosts.
    """
    for name in LOGGERS:  # what matters of it, the client says in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(QUIET):
        stack = ExitStack()
        try:
            client = _client(fleet, stack)
            refuse_strangers(client.scheduler_info(n_workers=0)["address"])
            yield client
        finally:
            with suppress(Exception):  # of a scheduler that has gone away; all results are saved
                stack.close()


def _client(fleet: Fleet, stack: ExitStack) -> Client:
    try:
        client: Client = stack.enter_context(_connected(fleet, stack))
    except (OSError, TypeError, ValueError, RuntimeError, ImportError) as error:
        raise SettingsError(f"cannot start the cluster {fleet.cluster}: {error}; see docs/fleets.md") from None
    return client


def _connected(fleet: Fleet, stack: ExitStack) -> Client:
    if "://" in fleet.cluster:
        options = dict(fleet.options)
        if "security" in options:
            options["security"] = Security(**options["security"])
        return Client(fleet.cluster, **{"timeout": fleet.wait_seconds, **options})
    made = cluster_class(fleet.cluster)
    options = {**DEFAULTS.get(fleet.cluster, {}), **fleet.options}
    if made is LocalCluster:
        options.setdefault("n_workers", fleet.hosts)
    if fleet.cluster == "slurm":
        variables = {name.upper().replace(".", "__").replace("-", "_"): value for name, value in QUIET.items()}
        exports = [f"export DASK_{name}={value}" for name, value in variables.items()]
        options["job_script_prologue"] = [*exports, *options.get("job_script_prologue", [])]
    cluster = stack.enter_context(made(**options))
    if len(cluster.workers) < fleet.hosts and made is not LocalCluster and hasattr(cluster, "scale"):
        cluster.scale(fleet.hosts)
    return Client(cluster)


def cluster_class(name: str) -> type[Cluster]:
    """Return one of Dask's cluster classes.

    Raises:
        SettingsError: there is none of this name.
    """
    module, _, attribute = KNOWN.get(name, name).rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        advice = f"write an address, the path of a class, or one of {', '.join(KNOWN)}"
        raise SettingsError(f"no cluster {name}: {error}; {advice}") from None
    # SSHCluster is a function that returns one
    if name not in KNOWN and not (isinstance(found, type) and issubclass(found, Cluster)):
        raise SettingsError(f"{name} is not one of Dask's cluster classes")
    made: type[Cluster] = found
    return made


def refuse_strangers(address: str) -> None:
    """Refuse a scheduler to which anyone on the network can send code.

    Raises:
        SettingsError: its address is neither TLS's nor loopback's.
    """
    parts = urlsplit(address)
    if parts.scheme in {"tls", "inproc"}:
        return
    try:
        is_local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise SettingsError(
            f"anyone who reaches {address} could run code on these hosts; use TLS, as docs/fleets.md says"
        )
