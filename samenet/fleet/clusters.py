"""Dask's clusters: opened with workers that leave the CPUs alone, and refused where strangers could run code."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import shlex
import sys
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import asyncssh
import dask
from distributed import Client, LocalCluster
from distributed.deploy.cluster import Cluster

from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from samenet.fleet.file import Fleet

T = TypeVar("T")
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
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.tick.limit": "60s",  # or each tick would be logged as late
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.http.routes": [],  # which would answer anyone, without TLS
    "distributed.worker.http.routes": [],
    "distributed.comm.retry.count": 0,
    "distributed.deploy.lost-worker-timeout": "5s",  # after which a job that has ended can be started again
    "distributed.comm.timeouts.connect": "10s",
}
ROLES = ("scheduler", "worker", "client")
PER_HOST = {"connect_options", "remote_python"}  # SSHCluster takes lists of them, too
USE_TLS = "use TLS, as docs/fleets.md says"
SSH_SECONDS = 30.0  # for a host to answer
OPEN_SECONDS, CLOSE_SECONDS, LEFT_SECONDS = 60.0, 60.0, 900.0
LOGGERS = ("distributed", "distributed.client", "distributed.deploy.ssh", "asyncssh", "tornado.application")
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # which everyone could see
# One task at a time, and no memory limit that could end a campaign; a batch system starts what has ended again, over
# ssh a nanny does, and on this machine all is in this process.
JOBS = {"processes": 1, "nanny": False, "scheduler_options": NO_DASHBOARD}
DEFAULTS: dict[str, dict[str, Any]] = {
    "local": {"processes": False, "threads_per_worker": 1, "memory_limit": 0, "scheduler_kwargs": NO_DASHBOARD},
    "ssh": {
        "scheduler_options": NO_DASHBOARD,
        "worker_options": {"nthreads": 1, "memory_limit": 0},
        "connect_options": {"keepalive_interval": 15},  # or a host that was switched off would seem to be there
    },
    "slurm": {"cores": 1, "memory": "1GB", "job_mem": "0"},  # 0: all that a node has
}


@contextmanager
def opened(fleet: Fleet, say: Callable[[str], None]) -> Iterator[Client]:
    """Start the fleet's cluster, or connect to its scheduler, and end what was started; ``say`` what is left out.

    Raises:
        SettingsError: it cannot be started or reached, or anyone on the network could run code on its hosts.
    """
    for name in LOGGERS:  # what matters of it, the client says in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if fleet.cluster != "local" and "://" not in fleet.cluster and not fleet.tls:
        raise SettingsError(f"anyone on the network could run code on these hosts; {USE_TLS}")
    # Of the scheduler, after which what a killed client has left ends by itself.
    idle = {"distributed.scheduler.idle-timeout": f"{fleet.wait_seconds + LEFT_SECONDS:g}s"}
    with dask.config.set(QUIET | idle | encryption(fleet)):
        stack = ExitStack()
        if "://" not in fleet.cluster:
            cluster_class(fleet.cluster)  # dask-jobqueue has to be imported in the main thread
        try:
            client = within(fleet.wait_seconds + OPEN_SECONDS, lambda: _client(fleet, stack, say))
            refuse_strangers(client.scheduler_info(n_workers=0)["address"])
            yield client
        finally:
            with suppress(Exception):  # of a scheduler that has gone away; all results are saved
                within(CLOSE_SECONDS, stack.close)


def within(seconds: float, act: Callable[[], T]) -> T:
    """Return what ``act`` returns; what takes longer than so many ``seconds`` is left alone.

    Raises:
        SettingsError: it took longer.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001  # it is raised in the other thread
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return done.result(seconds)
    except TimeoutError:
        raise SettingsError(f"Dask did not answer in {seconds:g} s") from None


def encryption(fleet: Fleet) -> dict[str, Any]:
    """Return Dask's settings for the fleet's TLS."""
    tls = fleet.tls
    if tls is None:
        return {}
    roles = {f"distributed.comm.tls.{role}": {"cert": tls.cert, "key": tls.key} for role in ROLES}
    always = {"distributed.comm.default-scheme": "tls", "distributed.comm.require-encryption": True}
    return always | roles | {"distributed.comm.tls.ca-file": tls.ca_file}


def _client(fleet: Fleet, stack: ExitStack, say: Callable[[str], None]) -> Client:
    try:
        client: Client = stack.enter_context(_connected(fleet, stack, say))
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001  # of any class that the file names
        raise SettingsError(f"cannot start the cluster {fleet.cluster}: {error}; see docs/fleets.md") from None
    return client


def _connected(fleet: Fleet, stack: ExitStack, say: Callable[[str], None]) -> Client:
    if "://" in fleet.cluster:
        return Client(fleet.cluster, **{"timeout": fleet.wait_seconds, **fleet.options})
    made, options = cluster_class(fleet.cluster), merged(DEFAULTS.get(fleet.cluster, {}), fleet.options)
    if made is LocalCluster:
        options.setdefault("n_workers", fleet.hosts)
    if fleet.cluster == "ssh":
        options = asyncio.run(reachable(options, say))
    if job := getattr(made, "job_cls", None):  # of dask-jobqueue
        options = of_jobs(options, dask.config.get(f"jobqueue.{job.config_name}", {}), fleet)
    cluster = stack.enter_context(made(**options))
    if len(cluster.workers) < fleet.hosts and fleet.cluster not in {"local", "ssh"} and hasattr(cluster, "scale"):
        cluster.scale(fleet.hosts)
    return Client(cluster)


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a cluster: those that are given, and the defaults of all others."""
    both = {name for name in defaults.keys() & given.keys() if isinstance(defaults[name], dict)}
    nested = {name: merged(defaults[name], given[name]) for name in both if isinstance(given[name], dict)}
    return {**defaults, **given, **nested}


def of_jobs(options: Mapping[str, Any], site: Mapping[str, Any], fleet: Fleet) -> dict[str, Any]:
    """Return the arguments of a class of dask-jobqueue; what they replace of the ``site``'s settings is kept."""
    kept = {"scheduler_options": site.get("scheduler-options") or {}}
    prologue = options.get("job_script_prologue", site.get("job-script-prologue") or [])
    own = {"protocol": "tls://", "job_script_prologue": [*exports(fleet), *prologue]}
    return merged(merged(JOBS, kept), options) | own


def exports(fleet: Fleet) -> list[str]:
    """Return the lines of a job's script that give its worker the settings of this process."""
    flat = dict(QUIET)
    for name, value in encryption(fleet).items():
        flat |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return [f"export {name}={shlex.quote(value)}" for name, value in as_variables(flat).items()]


def as_variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that give a process of Dask these settings."""
    return {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(each) for name, each in settings.items()}


def of_host(options: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the options of one host: some may be lists, with one value for each."""
    return {
        name: value[number] if name in PER_HOST and isinstance(value, list) else value
        for name, value in options.items()
    }


async def reachable(options: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the options for the hosts on which ssh starts Dask, since SSHCluster starts none of them if one fails.

    Raises:
        SettingsError: none is named, or the first one, for the scheduler, is none of them.
    """
    hosts = list(options.get("hosts", ()))
    if not hosts:
        raise SettingsError("a cluster over ssh needs hosts among its options; see docs/fleets.md")
    each = [of_host(options, number) for number in range(len(hosts))]
    problems = await asyncio.gather(*map(problem_of, hosts, each))
    for host, problem in zip(hosts, problems, strict=True):
        if problem and host == hosts[0]:
            raise SettingsError(f"{host}, which is to run Dask's scheduler, {problem}")
        if problem:
            say(f"{host} {problem}")
    kept = [number for number, problem in enumerate(problems) if not problem]
    lists = {name for name in PER_HOST & options.keys() if isinstance(options[name], list)}
    return {**options, **{name: [options[name][number] for number in kept] for name in lists | {"hosts"}}}


async def problem_of(host: str, options: Mapping[str, Any]) -> str:
    """Return why Dask cannot be started on a host, or nothing."""
    python = options.get("remote_python") or sys.executable
    try:
        async with asyncio.timeout(SSH_SECONDS), asyncssh.connect(host, **options.get("connect_options", {})) as ssh:
            done = await ssh.run(f"{python} -c 'import distributed'")
    except TimeoutError:
        return f"did not answer to ssh in {SSH_SECONDS:g} s"
    except (OSError, asyncssh.Error) as error:
        return f"cannot be reached by ssh: {error}"
    last = str(done.stderr or "").strip().rpartition("\n")[2]
    return f"has no Dask in {python}: {last}" if done.exit_status else ""


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
        raise SettingsError(f"anyone who reaches {address} could run code on these hosts; {USE_TLS}")
