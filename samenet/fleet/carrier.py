"""Dask, as a fleet uses it: sends a host something to do, once and nowhere else, and hears from it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cloudpickle
import msgspec
from distributed import CancelledError, SpecCluster, Status

from samenet.fleet import host as on_host
from samenet.fleet.host import TOPIC, Job
from samenet.fleet.tasks import About

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Future

    from samenet.fleet.file import Fleet
    from samenet.fleet.tasks import Task

cloudpickle.register_pickle_by_value(on_host)

ANSWER_SECONDS = 180.0  # for what a host says of itself
GRACE_SECONDS = 60.0  # for the files of a campaign that was stopped at its limit
SCHEDULER_SECONDS = 30.0  # for the scheduler to answer
AGAIN_SECONDS = 6.0  # between two requests for workers in the place of those that went away


@dataclass(kw_only=True)
class Carrier:
    """A connection to the workers on the hosts, for one plan."""

    client: Client
    fleet: Fleet
    plan: str
    _changed: threading.Event = field(default_factory=threading.Event)
    _again_at: float = 0.0
    _came_at: dict[str, float] = field(default_factory=dict)

    def workers(self) -> set[str] | None:
        """Return the addresses of the workers that are there, or None where the scheduler is not."""
        scheduler = self.client.scheduler
        if self.client.status != "running" or scheduler is None:
            return None
        try:
            found = self.client.sync(scheduler.identity, n_workers=-1, callback_timeout=SCHEDULER_SECONDS)
        except (OSError, TimeoutError, CancelledError):
            return None
        return set(found["workers"])

    @property
    def expected(self) -> int:
        """How many workers may come: those that the cluster starts, or those that the fleet file promises."""
        cluster = self.client.cluster
        return len(cluster.worker_spec) if isinstance(cluster, SpecCluster) else self.fleet.hosts

    def start_again(self) -> None:
        """Let the cluster start what has ended, if it has started the workers: a batch system's job, say."""
        now, cluster = time.monotonic(), self.client.cluster
        if isinstance(cluster, SpecCluster) and cluster.loop and now > self._again_at:
            self._again_at = now + AGAIN_SECONDS
            cluster.loop.add_callback(drop_ended, cluster)
            cluster.scale(len(cluster.worker_spec))

    def submit(self, function: Callable[[Job], Any], address: str, task: Task) -> Future[Any]:
        """Let the worker at ``address`` do something for a campaign."""
        fleet = self.fleet
        job = Job(
            plan=self.plan,
            name=task.name,
            folder=fleet.folder,
            python=fleet.python,
            variables=fleet.variables,
            environments=fleet.environments,
            arguments=task.arguments,
            limit_seconds=fleet.limit_seconds,
        )
        future = self.client.submit(
            lambda: function(job),  # which Dask cannot send by its name
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        future.add_done_callback(self._note)
        return future

    def _note(self, future: Future[Any]) -> None:
        self._came_at[str(future.key)] = time.time()
        self._changed.set()

    def listen(self, heard: Callable[[dict[str, Any]], None]) -> None:
        """Let ``heard`` have each message of a host, in Dask's thread."""

        def hear(event: tuple[float, dict[str, Any]]) -> None:
            if event[1]["plan"] == self.plan:
                heard(event[1])

        self.client.subscribe_topic(TOPIC, hear)

    def wait(self, seconds: float) -> None:
        """Wait until something that was sent is done, and no longer than so many ``seconds``."""
        self._changed.wait(seconds)
        self._changed.clear()

    def answer(self, future: Future[Any], seconds: float) -> About:
        """Return what a host says of itself, or why it does not."""
        try:
            about = msgspec.convert(future.result(timeout=max(seconds, 0.1)), About, strict=False)
        except Exception as error:  # noqa: BLE001  # whatever is wrong there is its answer
            return About(problem=f"it does not answer: {type(error).__name__}: {error}")
        came = self._came_at.get(str(future.key), time.time())
        return msgspec.structs.replace(about, ahead_seconds=about.seconds - came)


def drop_ended(cluster: SpecCluster) -> None:
    """Remove workers that could not be started, or that ended over ssh: Dask keeps them, and starts none instead."""
    for name, worker in list(cluster.workers.items()):
        over_ssh = getattr(worker, "proc", None)
        if worker.status is Status.created or (over_ssh and over_ssh.is_closing()):
            del cluster.workers[name]
