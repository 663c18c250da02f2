"""The client's side of a fleet: it hands each host one campaign at a time, with a limit, and saves what comes back."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from distributed import CancelledError, KilledWorker, wait

from samenet.errors import BusyError, SamenetError
from samenet.fleet import host as on_host
from samenet.fleet.carrier import GRACE_SECONDS
from samenet.fleet.inbox import by_hosts, end_of, flaws, has_measured, measured, reason, safe, save, usable
from samenet.fleet.meeting import add, gather, unfit_hosts
from samenet.fleet.tasks import MOST_FAILURES, MOST_RESTARTS, About, End, Host, Phase, unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from distributed import Future

    from samenet.fleet.carrier import Carrier
    from samenet.fleet.host import Job, Returned
    from samenet.fleet.tasks import Task

POLL_SECONDS = 2.5  # between two looks at the hosts, of which this machine may be one
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 10.0, 300.0  # of a busy host
COLLECT = "what it had sent is saved, and collect asks it for the rest"
UNUSABLE_FILES = (SamenetError, OSError, zlib.error)


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
    _newcomers: dict[str, Future[Any]] = field(default_factory=dict)
    _journals: dict[tuple[str, str], set[Path]] = field(default_factory=dict)
    _forgetting: list[Future[Any]] = field(default_factory=list)

    @property
    def is_sweep(self) -> bool:
        """Whether any host of a kind may run a campaign, and not each host the only one."""
        return self.tasks[0].own != ""

    def gather(self, ask: Callable[[Job], dict[str, Any]]) -> None:
        """Wait for the hosts, and ask each of them what it has.

        Raises:
            SettingsError: none has come.
        """
        self.hosts = gather(self.carrier, self.tasks[0], ask, self.say)
        if len(self.hosts) < self.carrier.fleet.hosts:
            self.ends["", ""] = End.LOST
            names = ", ".join(each.name for each in self.hosts)
            self.say(f"of {self.carrier.fleet.hosts} hosts only {len(self.hosts)} came: {names}")

    def refuse_unfit(self, commit: str | None) -> None:
        """Leave out hosts that would measure something else than the others."""
        for host, problem in unfit_hosts(self.hosts, commit, self.carrier.fleet).items():
            self._end(host, End.REFUSED, problem)

    def share(self) -> None:
        """Give each host the campaign, or the hosts of each kind those of the sweep; none that is saved already."""
        saved = measured(self.storage, self.carrier.plan)
        of_kinds: dict[str, deque[Task]] = {}
        for host in (each for each in self.hosts if not each.is_over):
            kind = host.about.kind if self.is_sweep else ""
            alike = [each.name for each in self.hosts if each is host or (kind and each.about.kind == kind)]
            found = {task: by_hosts(saved.get(task.name, {}), alike, kind) for task in self.tasks}
            done = {task: results for task, results in found.items() if results}
            self.ends |= {(kind or host.name, task.name): end_of(results) for task, results in done.items()}
            missing = deque(task for task in self.tasks if task not in done)
            host.waiting = of_kinds.setdefault(kind, missing) if self.is_sweep else missing
            if not host.waiting:
                self.say(f"{host.name}: all of the plan is saved already")

    def run(self) -> None:
        """Measure on all hosts at once, and save what each has measured, until none can continue."""
        carrier = self.carrier
        carrier.listen(self._save_progress)
        while any(each.is_unfinished for each in self.hosts):
            here = carrier.workers()
            if here is None:
                self._lose_all()
                break
            self._find_again(here)
            for each in list(self.hosts):
                self._advance(each, here)
            carrier.wait(POLL_SECONDS)
        with suppress(TimeoutError, CancelledError):
            wait(self._forgetting, timeout=GRACE_SECONDS)
        left = [(each.about.kind, task) for each in self.hosts for task in each.waiting if self.is_sweep]
        for kind, task in dict.fromkeys(left):  # which hosts of a kind share
            self.ends.setdefault((kind, task.name), End.LOST)
            self.say(f"{task.own}: no other host of kind {kind} is left for it")

    def _lose_all(self) -> None:
        for each in self.hosts:
            if each.is_unfinished:
                self._lose(each, f"Dask's scheduler went away; {COLLECT}")
            each.turn(Phase.OVER)

    def _advance(self, host: Host, here: set[str]) -> None:
        """Do what is next for a host: begin, take its answer, or do without it."""
        now = time.monotonic()
        if host.phase is Phase.READY and (task := host.next_task()) and not self._stands_back(host):
            host.waiting.remove(task)
            host.task, host.restarts = task, 0
            self._begin(host)
        elif host.phase is Phase.BUSY and now >= host.until:
            host.turn(Phase.READY)
            self._begin(host)
        elif host.phase is Phase.MEASURING and host.task and host.future:
            if host.address not in here:  # and its answer, if it had one, went with it
                host.turn(Phase.AWAY, now + self.carrier.fleet.wait_seconds)
            elif host.future.done():
                self._take(host, host.task, host.future)
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

    def _find_again(self, here: set[str]) -> None:
        """Find hosts that went away among the workers that have come since: the same one, or an equal one."""
        away = [each for each in self.hosts if each.phase is Phase.AWAY]
        if not away:
            return
        self.carrier.start_again()
        known = {each.address for each in self.hosts if each.phase is not Phase.AWAY}
        for address in here - known - self._newcomers.keys():
            self._newcomers[address] = self.carrier.submit(on_host.prepare, address, self.tasks[0])
        for address, future in list(self._newcomers.items()):
            if address in here and not future.done():
                continue
            about = self.carrier.answer(future, 0) if address in here else About(problem="it went away")
            if about.problem or any(self._take_place(host, address, about) for host in away):
                del self._newcomers[address]  # and it is asked again, if it is still there

    def _take_place(self, host: Host, address: str, about: About) -> bool:
        """Continue a campaign on a new worker, if it is on the same host or, after a while, on an equal one."""
        if host.phase is not Phase.AWAY:
            return False
        if about.host == host.name:
            host.restarts += 1
            if host.restarts > MOST_RESTARTS:
                self._lose(host, f"its worker ended {host.restarts} times during this campaign; {COLLECT}")
                return True
            self.say(f"{host.name} is back and continues")
            host.address = address
            self._begin(host)
            return True
        has_waited = host.until - time.monotonic() < self.carrier.fleet.wait_seconds / 2
        is_new = about.host not in {each.name for each in self.hosts} and about.kind == host.about.kind
        if not has_waited or not is_new or unfit(about, host.about.commit, host.about.data):
            return False
        self._lose(host, f"it went away, and {about.host} takes its place; {COLLECT}")
        if newcomer := add(self.hosts, address, about, self.say):
            newcomer.waiting = host.waiting
        return True

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
        try:
            self._receive(host, task, returned)
        except UNUSABLE_FILES as error:
            self._fail(host, f"its files cannot be saved or read here, and stay there: {error}")

    def _receive(self, host: Host, task: Task, returned: Returned) -> None:
        """Save a campaign's files, and end it or try it again."""
        if returned.code == BusyError.EXIT_CODE:
            self._wait(host, task)
            return
        host.retries, host.deadline = 0, math.inf
        saved = save(self.storage / safe(host.name), returned.files)
        runs = [path for path in saved if path.suffix == ".json"]
        results = usable(runs)
        if returned.code is None:
            limit = f"it took more than {self.carrier.fleet.limit_seconds:g} s"
            self._end(host, End.LATE, f"{limit}; what it had measured is saved")
            return
        if not results or returned.code not in {0, 1}:  # 1: a case has failed, or became slower
            for path in runs:  # the host keeps what it has
                path.unlink(missing_ok=True)
            self._fail(host, f"exit code {returned.code}: {flaws(results) or reason(returned.output)}")
            return
        for stale in self._journals.pop((host.name, task.name), set()) - set(saved):
            stale.unlink(missing_ok=True)  # it is in the saved run
        self._forgetting.append(self.carrier.submit(on_host.forget, host.address, task))
        if not any(map(has_measured, results)):
            self._fail(host, flaws(results) or "it has measured no case")
            return
        host.failures = 0
        self._end(host, End.FLAWED if returned.code else end_of(results), flaws(results))

    def _wait(self, host: Host, task: Task) -> None:
        """Try a busy host again later, until it is late; another one may run its campaign of a sweep meanwhile."""
        now, has_begun = time.monotonic(), task.name in host.about.unfinished  # there, for a client that was killed
        host.deadline = min(host.deadline, now + self.carrier.fleet.limit_seconds)
        pause = min(FIRST_RETRY_SECONDS * 2**host.retries, LONGEST_RETRY_SECONDS)
        is_late = now + pause > host.deadline
        if self.is_sweep and not has_begun:
            host.waiting.appendleft(task)
            host.task = None
        if is_late:
            self._end(host, End.BUSY, "another campaign was measuring there until the limit")
            return
        self.say(f"{host.name} is busy; it is tried again in {pause:g} s")
        host.retries += 1
        host.turn(Phase.BUSY, now + pause)

    def _fail(self, host: Host, sentence: str) -> None:
        """End a campaign that has no result; another host tries one of a sweep, once.

        One that fails there too is itself at fault, and not the host.
        """
        others = [each for each in self.hosts if each is not host and each.waiting is host.waiting and not each.is_over]
        first = next((each for each in self.hosts if host.task and each.name == host.task.failed_on), None)
        if first:
            first.failures = 0
        else:
            host.failures += 1
        if others and self._give_back(host):
            sentence = f"{sentence}; another host tries it"
        self._end(host, End.FAILED, sentence)

    def _stands_back(self, host: Host) -> bool:
        """Return whether several campaigns have failed on a host in a row, and an equal one can go on without it."""
        others = [each for each in self.hosts if each is not host and each.waiting is host.waiting]
        fine = [each for each in others if each.failures < MOST_FAILURES and each.phase is not Phase.BUSY]
        return host.failures >= MOST_FAILURES and any(each.is_unfinished for each in fine)

    def _lose(self, host: Host, sentence: str) -> None:
        """End the part of a host that went away; an equal one may run its campaign."""
        self._give_back(host)
        self._end(host, End.LOST, sentence)

    def _give_back(self, host: Host) -> bool:
        """Let another host run a campaign that came to nothing on this one, unless it did so before."""
        task = host.task
        if task is None or task.failed_on:
            return False
        host.waiting.append(replace(task, failed_on=host.name))
        return True

    def _end(self, host: Host, end: End, sentence: str = "") -> None:
        """End a host's campaign, or its part where it has none; it gets the next one unless something is wrong."""
        task, host.task, host.future = host.task, None, None
        owner = host.about.kind if task and self.is_sweep else host.name
        self.ends[owner, task.name if task else ""] = end
        own = f" ({task.own})" if task and task.own else ""
        self.say(f"{host.name}: {end}{own}{f', {sentence}' if sentence else ''}")
        host.turn(Phase.OVER if end in {End.LOST, End.REFUSED, End.BUSY} else Phase.READY)

    def _save_progress(self, message: dict[str, Any]) -> None:
        """Save what a host has measured so far, with the line that it printed; Dask calls this in its own thread."""
        if not any(each.is_active and each.name == message["host"] for each in self.hosts):
            return  # late: its campaign has ended, and its files came with that
        try:
            saved = save(self.storage / safe(message["host"]), message["files"])
        except UNUSABLE_FILES as error:
            self.say(f"{message['host']}: its journal cannot be saved here, and stays there: {error}")
            return
        self._journals.setdefault((message["host"], message["name"]), set()).update(saved)
        self.say(f"{message['host']}: {message['line']}")
