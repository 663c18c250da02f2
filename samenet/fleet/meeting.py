"""Which hosts have come, and which of them may measure."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from samenet.errors import SettingsError
from samenet.fleet.carrier import ANSWER_SECONDS
from samenet.fleet.tasks import Host, unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from samenet.fleet.carrier import Carrier
    from samenet.fleet.file import Fleet
    from samenet.fleet.host import Job
    from samenet.fleet.tasks import About, Task

COMING_SECONDS = 0.5  # between two looks at the hosts that have come


def gather(
    carrier: Carrier, task: Task, ask: Callable[[Job], dict[str, Any]], say: Callable[[str], None]
) -> list[Host]:
    """Wait for the hosts, ask each of them what it has for a campaign, and return them by name.

    Raises:
        SettingsError: none has come.
    """
    fleet = carrier.fleet
    end = time.monotonic() + fleet.wait_seconds
    while len(here := carrier.workers() or set()) < carrier.expected and time.monotonic() < end:
        time.sleep(COMING_SECONDS)
    if not here:
        raise SettingsError(f"no host came in {fleet.wait_seconds:g} s; is Dask's worker running there?")
    end = time.monotonic() + (fleet.limit_seconds if fleet.environments else ANSWER_SECONDS)
    asked = {address: carrier.submit(ask, address, task) for address in here}
    hosts: list[Host] = []
    for address, future in asked.items():
        add(hosts, address, carrier.answer(future, end - time.monotonic()), say)
    return sorted(hosts, key=lambda each: each.name)


def add(hosts: list[Host], address: str, about: About, say: Callable[[str], None]) -> Host | None:
    """Add a host to the others, unless it is one of them."""
    name = about.host or address
    if any(each.name == name for each in hosts):
        say(f"{name} has a second worker, at {address}, which is left out")
        return None
    hosts.append(Host(name=name, address=address, about=about))
    return hosts[-1]


def unfit_hosts(hosts: Sequence[Host], commit: str | None, fleet: Fleet) -> dict[Host, str]:
    """Return the hosts that would measure something else than the others, and why."""
    data = Counter(each.about.data for each in hosts if not each.about.problem).most_common(1)
    found = {}
    for each in hosts:
        about = each.about
        if fleet.hosts == len(hosts) == 1:  # there is none that it could differ from
            about = msgspec.structs.replace(about, dirty=False, commit=about.commit or commit)
        if problem := unfit(about, commit, data[0][0] if data else None):
            found[each] = problem
    return found
