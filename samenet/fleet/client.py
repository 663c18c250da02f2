"""The client's side: hands each host its campaign, waits for it no longer than it may take, and saves what comes."""

from __future__ import annotations

import math
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed import CancelledError, KilledWorker

from samenet.errors import BusyError, SettingsError
from samenet.fleet import host as on_host
from samenet.fleet.host import Job, Returned
from samenet.records import State
from samenet.saved import read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from distributed import Client, Future

    from samenet.fleet.file import Fleet

cloudpickle.register_pickle_by_value(on_host)

POLL_SECONDS = 0.5
ANSWER_SECONDS = 180.0  # for what a host says of itself
GRACE_SECONDS = 60.0  # for the files of a campaign that was stopped at its limit
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 10.0, 300.0  # of a busy host
COLLECT = "what it had sent is saved, and collect asks it for the rest"


class End(StrEnum):
    """How a host's part ended."""

    DONE = "done"
    FAILED = "failed"
    BUSY = "busy"
    LATE = "stopped at the limit"
    LOST = "lost"
    REFUSED = "refused"


@dataclass(kw_only=True)
class Host:
    """A host of the fleet; ``about`` is what it says of itself."""

    name: str
    address: str
    about: dict[str, Any]
    end: End | None = None
    sentence: str = ""
    future: Future[Any] | None = None
    begun: float = 0.0  # when its campaign began, last
    deadline: float = math.inf  # after which a busy host is not tried again
    retry_at: float | None = 0.0  # when its campaign is to begin; None while it runs
    retries: int = 0
    gone_since: float | None = None

    def finish(self, end: End, sentence: str = "") -> None:
        """End the host's part."""
        self.end, self.sentence, self.future = end, sentence, None


@dataclass(kw_only=True)
class Campaigns:
    """One campaign on each host."""

    client: Client
    fleet: Fleet
    plan: str
    arguments: tuple[str, ...]
    storage: Path
    say: Callable[[str], None]
    hosts: list[Host] = field(default_factory=list)

    @property
    def job(self) -> Job:
        """What a host is asked to do."""
        fleet = self.fleet
        return Job(
            plan=self.plan,
            folder=fleet.folder,
            python=fleet.python,
            variables=fleet.variables,
            arguments=self.arguments,
            limit_seconds=fleet.limit_seconds,
        )

    def workers(self) -> set[str]:
        """Return the addresses of the workers that are there."""
        return set(self.client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, function: Callable[[Job], Any], address: str) -> Future[Any]:
        """Let the worker at ``address`` do something, once, and no other."""
        job = self.job
        return self.client.submit(
            lambda: function(job),  # which Dask cannot send by its name
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )

    def meet(self, *, anyway: bool = False) -> None:
        """Wait for the hosts, and ask each of them what it has.

        Raises:
            SettingsError: there are fewer than the fleet has, unless that is accepted ``anyway``.
        """
        end = time.monotonic() + self.fleet.wait_seconds
        while len(self.workers()) < self.fleet.hosts and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        asked = {address: self.submit(on_host.describe, address) for address in self.workers()}
        seen: set[str] = set()
        for address, future in asked.items():
            about = answer(future)
            name = about.get("host", address)
            if name in seen:
                self.say(f"{name} has a second worker, at {address}, which is left out")
                continue
            seen.add(name)
            self.hosts.append(Host(name=name, address=address, about=about))
        self.hosts.sort(key=lambda each: each.name)
        if len(self.hosts) < self.fleet.hosts and not anyway:
            names = ", ".join(each.name for each in self.hosts) or "none"
            raise SettingsError(
                f"{len(self.hosts)} of {self.fleet.hosts} hosts came in {self.fleet.wait_seconds:g} s: {names};"
                " --anyway measures on these"
            )

    def refuse_unfit(self, commit: str | None) -> None:
        """Refuse hosts that would measure something else than the others, and leave out those that have measured."""
        common = Counter(each.about["data"] for each in self.hosts if "data" in each.about).most_common(1)
        for each in self.hosts:
            about = each.about if len(self.hosts) > 1 else each.about | {"dirty": False}  # of one host none can differ
            if problem := unfit(about, commit, common[0][0] if common else None):
                each.finish(End.REFUSED, problem)
            elif list((self.storage / safe(each.name)).rglob(f"*_{self.plan}.json")):
                each.finish(End.DONE, "its run is saved already")

    def run(self) -> None:
        """Measure on all hosts at once, and save what each has measured, until each has ended or may not go on."""
        self.client.subscribe_topic(self.job.topic, self._heard)
        while waiting := [each for each in self.hosts if each.end is None]:
            here = self.workers() if self.client.status == "running" else None
            for each in waiting:
                if here is None:
                    each.finish(End.LOST, f"Dask's scheduler went away; {COLLECT}")
                else:
                    self._advance(each, here)
            time.sleep(POLL_SECONDS)
        self.client.unsubscribe_topic(self.job.topic)

    def _advance(self, host: Host, here: set[str]) -> None:
        """Do what is next for a host: begin, take its answer, or give it up."""
        now = time.monotonic()
        if host.future is None:
            if host.retry_at is not None and now >= host.retry_at:
                host.begun, host.retry_at = now, None
                host.deadline = min(host.deadline, now + self.fleet.limit_seconds)
                host.future = self.submit(on_host.measure, host.address)
        elif host.gone_since or (host.address not in here and not host.future.done()):
            self._miss(host, here)
        elif host.future.done():
            self._take(host, host.future)
        elif now > host.begun + self.fleet.limit_seconds + GRACE_SECONDS:
            host.future.cancel(force=True)
            host.finish(End.LOST, f"it did not answer within its limit of {self.fleet.limit_seconds:g} s")

    def _miss(self, host: Host, here: set[str]) -> None:
        """Wait for a host that went away, which may return with another address, and go on there."""
        now = time.monotonic()
        host.gone_since = host.gone_since or now
        others = {each.address for each in self.hosts if each is not host}
        for address in here - others:
            about = answer(self.submit(on_host.describe, address))
            if about.get("host") == host.name:
                self.say(f"{host.name} is back, and goes on")
                host.address, host.gone_since, host.future, host.retry_at = address, None, None, now
                return
        if now > host.gone_since + self.fleet.wait_seconds:
            host.finish(End.LOST, f"it went away; {COLLECT}")

    def _take(self, host: Host, future: Future[Any]) -> None:
        """Take what a campaign has returned."""
        try:
            returned: Returned = future.result(timeout=GRACE_SECONDS)
        except (KilledWorker, CancelledError):  # its worker has ended; Dask may start another one there
            host.gone_since = time.monotonic()
            return
        except Exception as error:  # noqa: BLE001  # of the host's; it costs this host's part alone
            host.finish(End.LOST, f"{type(error).__name__}: {error}")
            return
        if returned.code == BusyError.EXIT_CODE:
            pause = min(FIRST_RETRY_SECONDS * 2**host.retries, LONGEST_RETRY_SECONDS)
            if time.monotonic() + pause > host.deadline:
                host.finish(End.BUSY, "another campaign was measuring there until the limit")
                return
            self.say(f"{host.name} is busy; its campaign is tried again in {pause:g} s")
            host.future, host.retries, host.retry_at = None, host.retries + 1, time.monotonic() + pause
            return
        saved = self.save(host.name, returned.files)
        runs = [path for path in saved if path.suffix == ".json"]
        if returned.code is None:
            host.finish(End.LATE, f"it took more than {self.fleet.limit_seconds:g} s; what it had measured is saved")
        elif not runs or returned.code not in {0, 1}:  # 1: a case has failed, or became slower
            for path in runs:  # cut short, as on a full disk; the host keeps what it has
                path.unlink()
            host.finish(End.FAILED, f"exit code {returned.code}: {reason(returned.output)}")
        else:
            lost = "; ".join(sentence for path in runs for sentence in without_number(path))
            host.finish(End.FAILED if returned.code else End.DONE, lost)
            for stale in (self.storage / safe(host.name) / "journal").glob("*"):
                if stale not in saved:  # it is in the saved run
                    stale.unlink()
            self.submit(on_host.forget, host.address).result(timeout=GRACE_SECONDS)

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """Save what a host has measured so far, with the line that it printed."""
        _, message = event
        self.save(message["host"], message["files"])
        self.say(f"{message['host']}: {message['line']}")

    def save(self, name: str, files: dict[str, bytes]) -> list[Path]:
        """Write a host's files below the storage, and return their paths."""
        folder, saved = self.storage / safe(name), []
        for path, content in files.items():
            target = folder.joinpath(*map(safe, PurePosixPath(path).parts))
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            part.write_bytes(zlib.decompress(content))
            part.replace(target)
            saved.append(target)
        return saved


def answer(future: Future[Any]) -> dict[str, Any]:
    """Return what a host says of itself, or why it does not."""
    try:
        about: dict[str, Any] = future.result(timeout=ANSWER_SECONDS)
    except Exception as error:  # noqa: BLE001  # whatever is wrong there is its answer
        return {"problem": f"it does not answer: {type(error).__name__}: {error}"}
    return about


def without_number(path: Path) -> list[str]:
    """Return a sentence for each case of a saved run that has no number."""
    cases = read_run(path).results.cases
    return [f"{case.case} is {case.state}: {case.reason}" for case in cases if case.state is not State.VALID]


def reason(output: str) -> str:
    """Return the line of a campaign's last output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error: " in line.lower() or "cannot " in line]
    return next(iter([*told, *lines[-1:]]), "it said nothing")


def unfit(about: dict[str, Any], commit: str | None, data: str | None) -> str:
    """Return why a host must not measure, or nothing."""
    if "problem" in about:
        return str(about["problem"])
    if about["commit"] != commit or about["dirty"]:
        changed = " with changes" if about["dirty"] else ""
        return f"its checkout is at {str(about['commit'])[:9]}{changed}, and this one at {str(commit)[:9]}"
    if about.get("data", data) != data:
        return f"its data have the checksum {about['data'][:12]}, and those of most hosts {str(data)[:12]}"
    return ""


def safe(part: str) -> str:
    """Return a part of a path from a host as a name that stays where it is put."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in part)
    return name.lstrip(".") or "_"
