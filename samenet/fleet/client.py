"""The client's side: hands each host its campaigns, waits for it no longer than it may take, and saves what comes."""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from distributed import CancelledError, KilledWorker, wait

from samenet.errors import BusyError, SettingsError
from samenet.fleet import host as on_host
from samenet.fleet.carrier import ANSWER_SECONDS, GRACE_SECONDS, answer
from samenet.fleet.inbox import reason, safe, save, without_number
from samenet.fleet.tasks import MOST_FAILURES, End, Host, Phase, unfit
from samenet.saved import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from distributed import Future

    from samenet.fleet.carrier import Carrier
    from samenet.fleet.host import Job, Returned
    from samenet.fleet.tasks import Task

POLL_SECONDS = 0.5
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 10.0, 300.0  # of a busy host
COLLECT = "what it had sent is saved, and collect asks it for the rest"


@dataclass(kw_only=True)
class Campaigns:
    """The campaigns of a plan.

    Attributes:
        ends: how each ended, by the host, or in a sweep the kind, and the name of the campaign.
    """

    carrier: Carrier
    tasks: Sequence[Task]
    storage: Path
    say: Callable[[str], None]
    hosts: list[Host] = field(default_factory=list)
    ends: dict[tuple[str, str], End] = field(default_factory=dict)
    _strangers: dict[str, Future[Any]] = field(default_factory=dict)
    _journals: dict[tuple[str, str], set[Path]] = field(default_factory=dict)
    _forgetting: list[Future[Any]] = field(default_factory=list)

    @property
    def is_sweep(self) -> bool:
        """Whether any host of a kind may run a campaign, and not each host the only one."""
        return self.tasks[0].own != ""

    def meet(self, ask: Callable[[Job], dict[str, Any]], *, anyway: bool = False) -> None:
        """Wait for the hosts, and ask each of them what it has.

        Raises:
            SettingsError: there are fewer than the fleet has, unless that is accepted ``anyway``.
        """
        carrier, fleet = self.carrier, self.carrier.fleet
        end = time.monotonic() + fleet.wait_seconds
        while len(carrier.workers()) < fleet.hosts and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        seconds = fleet.limit_seconds if fleet.environments else ANSWER_SECONDS
        asked = {address: carrier.submit(ask, address, self.tasks[0]) for address in carrier.workers()}
        for address, future in asked.items():
            self._add(address, answer(future, seconds))
        self.hosts.sort(key=lambda each: each.name)
        if len(self.hosts) < fleet.hosts and not anyway:
            names = ", ".join(each.name for each in self.hosts) or "none"
            came = f"{len(self.hosts)} of {fleet.hosts} hosts came in {fleet.wait_seconds:g} s: {names}"
            raise SettingsError(f"{came}; --anyway measures on these")

    def _add(self, address: str, about: dict[str, Any]) -> Host | None:
        name = about.get("host", address)
        if any(each.name == name for each in self.hosts):
            self.say(f"{name} has a second worker, at {address}, which is left out")
            return None
        self.hosts.append(Host(name=name, address=address, about=about))
        return self.hosts[-1]

    def refuse_unfit(self, commit: str | None) -> None:
        """Leave out hosts that would measure something else than the others."""
        common = Counter(each.about["data"] for each in self.hosts if "data" in each.about).most_common(1)
        for each in self.hosts:
            about = each.about if len(self.hosts) > 1 else each.about | {"dirty": False}  # of one host none can differ
            if problem := unfit(about, commit, common[0][0] if common else None):
                self._end(each, End.REFUSED, problem)

    def share(self) -> None:
        """Give each host the campaign, or the hosts of each kind those of the sweep, but for those that are saved."""
        of_kinds: dict[str, deque[Task]] = {}
        for host in self.hosts:
            if host.phase is Phase.OVER:
                continue
            missing = deque(task for task in self.tasks if not self._is_saved(task, host))
            host.waiting = of_kinds.setdefault(host.kind, missing) if self.is_sweep else missing
            if not host.waiting:
                self.say(f"{host.name}: nothing is left to measure: it is saved already")

    def _is_saved(self, task: Task, host: Host) -> bool:
        folders = self.storage.glob("*") if self.is_sweep else [self.storage / safe(host.name)]
        found = [path for folder in folders for path in folder.rglob(f"*_{task.name}.json")]
        return any(not self.is_sweep or read_run(path).results.machine.fingerprint == host.kind for path in found)

    def run(self) -> None:
        """Measure on all hosts at once, and save what each has measured, until none may go on."""
        carrier = self.carrier
        carrier.listen(self._heard)
        while any(each.is_active or (each.phase is Phase.READY and each.next_task()) for each in self.hosts):
            if not carrier.is_open:
                self._lose_all()
                break
            here = carrier.workers()
            self._replace(here)
            for each in list(self.hosts):
                self._advance(each, here)
            carrier.wait(POLL_SECONDS)
        with suppress(TimeoutError, CancelledError):
            wait(self._forgetting, timeout=GRACE_SECONDS)
        for kind, task in {(each.kind, task) for each in self.hosts for task in each.waiting if self.is_sweep}:
            self.ends[kind, task.name] = End.LOST
            self.say(f"{task.own}: not measured, since no host of kind {kind} is left for it")

    def _lose_all(self) -> None:
        for each in self.hosts:
            if each.is_active:
                self._lose(each, f"Dask's scheduler went away; {COLLECT}")
            each.turn(Phase.OVER)

    def _advance(self, host: Host, here: set[str]) -> None:
        """Do what is next for a host: begin, take its answer, or do without it."""
        now = time.monotonic()
        if host.phase is Phase.READY and (task := host.next_task()):
            host.waiting.remove(task)
            host.task, host.deadline, host.retries = task, now + self.carrier.fleet.limit_seconds, 0
            self._begin(host)
        elif host.phase is Phase.BUSY and now >= host.until:
            self._begin(host)
        elif host.phase is Phase.MEASURING and host.task and host.future:
            if host.future.done():
                self._take(host, host.task, host.future)
            elif host.address not in here:
                host.turn(Phase.AWAY, now + self.carrier.fleet.wait_seconds)
            elif now > host.until:
                host.future.cancel(force=True)
                self._lose(host, f"it did not answer within its limit of {self.carrier.fleet.limit_seconds:g} s")
        elif host.phase is Phase.AWAY and now > host.until:
            self._lose(host, f"it went away; {COLLECT}")

    def _begin(self, host: Host) -> None:
        """Begin a host's campaign, or continue it."""
        if host.task is None:
            return
        host.turn(Phase.MEASURING, time.monotonic() + self.carrier.fleet.limit_seconds + GRACE_SECONDS)
        host.future = self.carrier.submit(on_host.measure, host.address, host.task)

    def _replace(self, here: set[str]) -> None:
        """Find hosts that went away among the workers that have come since: the same one, or an equal one."""
        away = [each for each in self.hosts if each.phase is Phase.AWAY]
        if not away:
            return
        now = time.monotonic()
        self.carrier.start_again()
        for address in here - {each.address for each in self.hosts} - self._strangers.keys():
            self._strangers[address] = self.carrier.submit(on_host.describe, address, self.tasks[0])
        for address, future in self._strangers.items():
            about = answer(future, GRACE_SECONDS) if future.done() and address in here else {}
            for host in away:
                if about.get("host") == host.name:
                    self.say(f"{host.name} is back, and goes on")
                    host.address = address
                    self._begin(host)
                elif host.until - now < self.carrier.fleet.wait_seconds / 2 and self._is_equal(about, host):
                    self._lose(host, f"it went away, and {about['host']} takes its place; {COLLECT}")
                    if stranger := self._add(address, about):
                        stranger.waiting = host.waiting
                else:
                    continue
                away.remove(host)
                break

    def _is_equal(self, about: dict[str, Any], host: Host) -> bool:
        known = {each.name for each in self.hosts}
        is_new = "host" in about and about["host"] not in known and about.get("kind") == host.kind
        return is_new and not unfit(about, host.about["commit"], host.about.get("data"))

    def _take(self, host: Host, task: Task, future: Future[Any]) -> None:
        """Take what a campaign has returned."""
        try:
            returned: Returned = future.result(timeout=GRACE_SECONDS)
        except (KilledWorker, CancelledError):  # its worker has ended; Dask may start another one there
            host.turn(Phase.AWAY, time.monotonic() + self.carrier.fleet.wait_seconds)
            return
        except Exception as error:  # noqa: BLE001  # of the host's; it costs this host's part alone
            self._lose(host, f"{type(error).__name__}: {error}")
            return
        if returned.code == BusyError.EXIT_CODE:
            self._wait(host)
            return
        saved = save(self.storage / safe(host.name), returned.files)
        runs = [path for path in saved if path.suffix == ".json"]
        if returned.code is None:
            limit = f"it took more than {self.carrier.fleet.limit_seconds:g} s"
            self._end(host, End.LATE, f"{limit}; what it had measured is saved")
        elif not runs or returned.code not in {0, 1}:  # 1: a case has failed, or became slower
            for path in runs:  # cut short, as on a full disk; the host keeps what it has
                path.unlink()
            self._fail(host, f"exit code {returned.code}: {reason(returned.output)}")
        else:
            lost = "; ".join(sentence for path in runs for sentence in without_number(path))
            for stale in self._journals.pop((host.name, task.name), set()) - set(saved):
                stale.unlink(missing_ok=True)  # it is in the saved run
            self._forgetting.append(self.carrier.submit(on_host.forget, host.address, task))
            host.failures = 0
            self._end(host, End.FAILED if returned.code else End.DONE, lost)

    def _wait(self, host: Host) -> None:
        """Try a busy host again later, until it is late."""
        pause = min(FIRST_RETRY_SECONDS * 2**host.retries, LONGEST_RETRY_SECONDS)
        if time.monotonic() + pause > host.deadline:
            self._end(host, End.BUSY, "another campaign was measuring there until the limit")
            return
        self.say(f"{host.name} is busy; its campaign is tried again in {pause:g} s")
        host.retries += 1
        host.turn(Phase.BUSY, time.monotonic() + pause)

    def _fail(self, host: Host, sentence: str) -> None:
        """End a campaign that has no result; another host tries one of a sweep, once."""
        task = host.task
        if self.is_sweep and task and not task.failed_on:
            host.waiting.append(replace(task, failed_on=host.name))
            sentence = f"{sentence}; another host tries it"
        host.failures += 1
        self._end(host, End.FAILED, sentence)

    def _lose(self, host: Host, sentence: str) -> None:
        """End the part of a host that went away; an equal one may run its campaign."""
        if host.task:
            host.waiting.appendleft(host.task)
        self._end(host, End.LOST, sentence)

    def _owner(self, host: Host) -> str:
        return host.kind if self.is_sweep else host.name

    def _end(self, host: Host, end: End, sentence: str = "") -> None:
        """End a host's campaign, or its part where it has none; it gets the next one unless something is wrong."""
        task, host.task, host.future = host.task, None, None
        self.ends[self._owner(host) if task else host.name, task.name if task else ""] = end
        own = f" ({task.own})" if task and task.own else ""
        self.say(f"{host.name}: {end}{own}{f', {sentence}' if sentence else ''}")
        is_over = end in {End.LOST, End.REFUSED} or host.failures >= MOST_FAILURES
        host.turn(Phase.OVER if is_over else Phase.READY)

    def _heard(self, message: dict[str, Any]) -> None:
        """Save what a host has measured so far, with the line that it printed."""
        if not any(each.is_active and each.name == message["host"] for each in self.hosts):
            return  # late: its campaign has ended, and its files came with that
        saved = save(self.storage / safe(message["host"]), message["files"])
        self._journals.setdefault((message["host"], message["name"]), set()).update(saved)
        self.say(f"{message['host']}: {message['line']}")
