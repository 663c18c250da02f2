"""``python -m samenet fleet``: check the hosts of a fleet, measure on all of them, collect what they still have."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.environments import ROOT
from samenet.errors import SettingsError
from samenet.fleet.file import read_fleet
from samenet.git import present_commit
from samenet.machine.files import check_writable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from samenet.fleet.client import Campaigns, Host

INCOMPLETE = 3


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], say: Callable[[str], None]) -> None:
    """Add ``fleet`` to the sub-commands."""
    fleet = commands.add_parser("fleet", help="run the same campaign on each host of a fleet")
    actions = fleet.add_subparsers(required=True)
    texts = {
        "run": "measure on each host; what follows -- is for pytest bench/",
        "check": "say what each host has and lacks, and measure nothing",
        "collect": "save what hosts still have of a campaign whose client ended",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("file", nargs="?", type=Path, help="the fleet file; default: this machine alone")
        action.add_argument("--anyway", action="store_true", help="go on with fewer hosts than the fleet has")
        add = action.add_argument
        add("--storage", type=Path, default=Path(".benchmarks"), metavar="DIR", help="default: %(default)s")
        if name != "check":
            add("--plan", required=name == "collect", help="the one to continue or to collect, which a run has printed")
        action.set_defaults(run=lambda options, name=name: act(name, options, say))


def act(action: str, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run one of the actions, and return its exit code.

    Raises:
        SettingsError: the fleet file, the storage or the cluster cannot be used.
    """
    fleet = read_fleet(options.file)
    check_writable(options.storage)
    try:
        from samenet.fleet.client import Campaigns  # noqa: PLC0415  # Dask is not needed elsewhere
        from samenet.fleet.clusters import opened  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"a fleet needs Dask ({error}); run: python -m pip install --group fleet") from None
    plan = vars(options).get("plan") or f"{time.strftime('%Y%m%d')}-{uuid.uuid4().hex[:8]}"
    with opened(fleet) as client:
        campaigns = Campaigns(
            client=client, fleet=fleet, plan=plan, arguments=tuple(options.rest), storage=options.storage, say=say
        )
        campaigns.meet(anyway=options.anyway)
        campaigns.refuse_unfit(present_commit(ROOT).id)
        return {"check": check, "run": measure, "collect": collect}[action](campaigns)


def check(campaigns: Campaigns) -> int:
    """Say of each host what it has, and what keeps it from measuring."""
    for host in campaigns.hosts:
        campaigns.say(f"{host.name}: {host.sentence or described(host)}")
    return INCOMPLETE if any(host.end for host in campaigns.hosts) else 0


def described(host: Host) -> str:
    """Return what a host says of itself, in one line."""
    about = host.about
    busy = "; another campaign is measuring" if about.get("busy") else ""
    governor = f", governor {about['governor']}" if about["governor"] else ""
    environments = ", ".join(about["environments"]) or "none"
    off = about["seconds"] - time.time()
    clock = f"; its clock is {off:.0f} s off" if abs(off) > 60 else ""
    return f"{about['cpu']} (kind {about['kind']}){governor}; environments: {environments}{clock}{busy}"


def measure(campaigns: Campaigns) -> int:
    """Measure on each host that may, and say how each has ended."""
    from samenet.fleet.client import End  # noqa: PLC0415

    campaigns.say(f"plan {campaigns.plan}: {len(campaigns.hosts)} hosts")
    campaigns.run()
    for host in campaigns.hosts:
        campaigns.say(f"{host.name}: {host.end}{f', {host.sentence}' if host.sentence else ''}")
    ends = {host.end for host in campaigns.hosts}
    if ends - {End.DONE, End.FAILED}:
        campaigns.say(f"to continue: python -m samenet fleet run ... --plan {campaigns.plan}")
        return INCOMPLETE
    return int(End.FAILED in ends)


def collect(campaigns: Campaigns) -> int:
    """Save what the hosts still have of a plan."""
    from samenet.fleet import host as on_host  # noqa: PLC0415

    count = 0
    for host in campaigns.hosts:
        returned = campaigns.submit(on_host.collect, host.address).result(timeout=campaigns.fleet.wait_seconds)
        saved = campaigns.save(returned.host, returned.files)
        count += len(saved)
        campaigns.say(f"{host.name}: {len(saved)} file{'' if len(saved) == 1 else 's'}")
    return 0 if count else INCOMPLETE
