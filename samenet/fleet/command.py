"""``python -m samenet fleet``: check the hosts of a fleet, measure on all of them, collect what they still have."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.environments import ROOT
from samenet.errors import SettingsError
from samenet.fleet.file import read_fleet
from samenet.fleet.inbox import measured, safe, save, usable
from samenet.fleet.tasks import End, Phase, read_sweep, tasks_of
from samenet.git import present_commit
from samenet.hosts import judge_hosts
from samenet.machine.files import check_writable
from samenet.progress import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from samenet.fleet.client import Campaigns
    from samenet.fleet.tasks import About
    from samenet.results import ComparisonRecord, Verdict

INCOMPLETE = 3
INTERRUPTED = 130


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
        add = action.add_argument
        add("--storage", type=Path, default=Path(".benchmarks"), metavar="DIR", help="default: %(default)s")
        if name == "run":
            add("--sweep", type=Path, metavar="FILE", help="share out campaigns, each with the arguments of a line")
        if name != "check":
            add("--plan", required=name == "collect", help="the one to continue or to collect, which a run has printed")
        action.set_defaults(run=lambda options, name=name: act(name, options, say))


def act(action: str, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run one of the actions, and return its exit code.

    Raises:
        SettingsError: the fleet file, the storage or the cluster cannot be used.
    """
    fleet = read_fleet(options.file)
    sweep = read_sweep(options.sweep) if vars(options).get("sweep") else ()
    check_writable(options.storage)
    try:
        from samenet.fleet import host as on_host  # noqa: PLC0415  # Dask is not needed elsewhere
        from samenet.fleet.carrier import Carrier  # noqa: PLC0415
        from samenet.fleet.client import Campaigns  # noqa: PLC0415
        from samenet.fleet.clusters import opened  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"a fleet needs Dask ({error}); run: python -m pip install --group fleet") from None
    plan = vars(options).get("plan") or f"{time.strftime('%Y%m%d')}-{uuid.uuid4().hex[:8]}"
    with opened(fleet, say) as client:
        carrier, tasks = Carrier(client=client, fleet=fleet, plan=plan), tasks_of(plan, tuple(options.rest), sweep)
        campaigns = Campaigns(carrier=carrier, tasks=tasks, storage=options.storage, say=say)
        campaigns.gather(on_host.prepare if action == "run" else on_host.describe)
        if action != "collect":  # it takes what any host has
            here = present_commit(ROOT)
            if here.dirty and fleet.cluster != "local":
                say(f"the hosts measure {str(here.id)[:9]}, without the changes that the checkout here has")
            campaigns.refuse_unfit(here.id)
        return {"check": check, "run": measure, "collect": collect}[action](campaigns)


def check(campaigns: Campaigns) -> int:
    """Say of each host what it has, and what keeps it from measuring."""
    for host in campaigns.hosts:
        if host.phase is not Phase.OVER:  # of which was said why it may not measure
            campaigns.say(f"{host.name}: {described(host.about)}")
    return INCOMPLETE if campaigns.ends else 0


def described(about: About) -> str:
    """Return what a host says of itself, in one line."""
    busy = "; another campaign is measuring" if about.busy else ""
    governor = f", governor {about.governor}" if about.governor else ""
    environments = ", ".join(about.environments) or "none, so pytest's interpreter has to have the frameworks"
    off = about.ahead_seconds
    clock = f"; its clock is {off:.0f} s off" if abs(off) > 60 else ""
    return f"{about.cpu} (kind {about.kind}){governor}; environments: {environments}{clock}{busy}"


def measure(campaigns: Campaigns) -> int:
    """Measure on each host that may, and say how each campaign has ended."""
    plan = campaigns.carrier.plan
    campaigns.say(f"plan {plan}: {counted(len(campaigns.tasks), 'campaign')}, {counted(len(campaigns.hosts), 'host')}")
    campaigns.share()
    try:
        campaigns.run()
    except KeyboardInterrupt:
        campaigns.say(f"interrupted; to continue, run it again with --plan {plan}")
        return INTERRUPTED
    regressions = [verdict for verdict in verdicts(campaigns) if verdict.regression]
    ends = Counter(campaigns.ends.values())
    campaigns.say(f"plan {plan}: {', '.join(f'{count} {end}' for end, count in ends.items()) or 'nothing to do'}")
    if any(not end.has_result for end in ends):
        campaigns.say(f"to continue, run it again with --plan {plan}")
        return INCOMPLETE
    return int(End.FLAWED in ends or bool(regressions))


def verdicts(campaigns: Campaigns) -> Iterator[Verdict]:
    """Say what ``--against`` or ``--versions`` found on the hosts of each kind together, where they did."""
    kinds: dict[tuple[str, str], dict[str, ComparisonRecord]] = {}
    for name, folders in measured(campaigns.storage, campaigns.carrier.plan).items():
        for host, results in folders.items():
            if results.against:
                kinds.setdefault((results.machine.fingerprint, name), {})[host] = results.against
    for (kind, _), records in kinds.items():
        for verdict in judge_hosts(records):
            count = sum(any(each.case == verdict.case for each in record.verdicts) for record in records.values())
            campaigns.say(f"{counted(count, 'host')} of kind {kind}: {verdict.sentence}")
            yield verdict


def collect(campaigns: Campaigns) -> int:
    """Save what the hosts still have of a plan."""
    from samenet.fleet import host as on_host  # noqa: PLC0415

    carrier, silent = campaigns.carrier, 0
    asked = {host: carrier.submit(on_host.collect, host.address, campaigns.tasks[0]) for host in campaigns.hosts}
    end = time.monotonic() + carrier.fleet.wait_seconds
    for host, future in asked.items():
        try:
            returned = future.result(timeout=max(end - time.monotonic(), 0.1))
            saved = save(campaigns.storage / safe(returned.host), returned.files)
            going_on = "; a campaign is measuring there, and will have more" if host.about.busy else ""
            campaigns.say(f"{returned.host}: {counted(len(saved), 'file')}{going_on}")
            for path in (each for each in saved if each.suffix == ".json" and usable([each])):
                task = replace(campaigns.tasks[0], name=path.stem.partition("_")[2])
                carrier.submit(on_host.forget, host.address, task).result(timeout=carrier.fleet.wait_seconds)
        except Exception as error:  # noqa: BLE001  # of this host's alone
            silent += 1
            campaigns.say(f"{host.name}: nothing is saved of what it has: {type(error).__name__}: {error}")
    return INCOMPLETE if silent or campaigns.ends else 0
