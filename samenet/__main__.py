"""The command line: ``python -m samenet`` compares releases, finds the one that changed a case, runs fleets.

Exit codes: 0, done; 1, nothing could be decided, or a case failed on a host; 2, an argument or a folder cannot be used;
3, a host of a fleet has no result; 75, another campaign is measuring on this machine; 130, interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from impls.lanes import Lane
from impls.registry import cases
from samenet.bisection import Question
from samenet.data import cache_folder
from samenet.environments import ROOT
from samenet.errors import BusyError, SamenetError, SettingsError
from samenet.fleet.command import add_parser
from samenet.git import present_commit
from samenet.machine.files import check_writable
from samenet.machine.lock import only_campaign
from samenet.package_environments import environments_folder, made_environments, prune
from samenet.probing import bisect
from samenet.progress import NullProgress, counted
from samenet.protocols import Settings
from samenet.records import Quantity
from samenet.releases import compare_releases
from samenet.saved import write_run
from samenet.versions import Versions, runs_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.package_environments import PackageEnvironment
    from samenet.results import Results

UNDECIDED, UNUSABLE, INTERRUPTED = 1, 2, 130


def number(text: str) -> float:
    """Read a number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def percent(text: str) -> float:
    """Read a change, with or without its sign, as a share."""
    share = number(text.removesuffix("%").strip()) / 100
    if not share:
        raise argparse.ArgumentTypeError("a change of 0 % cannot be told from none")
    return share


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201


def default_case(package: str) -> str:
    """Return the plain case on the CPU that runs on ``package``, numpy's own for numpy and Python.

    Raises:
        SettingsError: there is none.
    """
    found = (case for case in cases() if not case.device.is_gpu and case.implementation.lane is Lane.PLAIN)
    for case in found:
        if runs_on(case.implementation, package):
            return case.id
    raise SettingsError(f"no case runs on {package}; name one with --case")


def search(options: argparse.Namespace) -> int:
    """Find which release made a change."""
    question = Question(
        package=options.package,
        first=options.first,
        last=options.last,
        case=options.case or default_case(options.package),
        quantity=Quantity(options.of),
        change=options.change,
    )
    answer = bisect(question, settings_of(options, question.case), say, LaunchLines())
    for line in (*(f"note: {note}" for note in answer.notes), answer.sentence):
        say(line)
    return 0 if answer.is_decided else UNDECIDED


class LaunchLines(NullProgress):
    """Says after each launch how long it all has taken."""

    def show(self, results: Results) -> None:
        """Print a line."""
        launches = max((len(case.launches) for case in results.cases), default=0)
        say(f"  launch {launches} has ended, {results.campaign.wall_seconds:.0f} s")


def settings_of(options: argparse.Namespace, case: str) -> Settings:
    """Return how a case is measured; an interrupted campaign of another case is not continued."""
    return Settings(
        data=options.data,
        threads=options.threads,
        budget_seconds=options.budget,
        journal=cache_folder() / "journal" / case,
    )


def releases(options: argparse.Namespace) -> int:
    """Measure the releases of a package, save both campaigns and print a table of them."""
    bounds = [f"{sign}{end}" for sign, end in ((">=", options.first), ("<=", options.last)) if end]
    if not bounds:
        raise SettingsError("name at least one end of the range, such as --from 0.6")
    case, out = options.case or default_case(options.package), options.out
    versions = Versions.of_range(options.package + ",".join(bounds), every=options.all)
    check_writable(out)
    begun, commit = datetime.now(UTC), present_commit(ROOT)
    say(f"releases of {versions.package} for {case}: {', '.join(versions.versions)}")

    def save(name: str, results: Results) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_run(out / f"{begun:%Y%m%dT%H%M%S}_{case}-{name}.json", results, commit)
        except OSError as error:
            advice = "give another folder with --out; the same command continues"
            raise SettingsError(f"cannot write into {out}: {error.strerror}; {advice}") from None

    settings = replace(settings_of(options, case), versions=str(versions))
    table = compare_releases(case, settings, LaunchLines(), say, save)
    for line in table.lines():
        say(line)
    say(f"saved in {out}; for the page with the pictures: python -m reports build --storage {out}")
    return 0 if table.has_ratio else UNDECIDED


def environments(options: argparse.Namespace) -> int:
    """List the environments, or remove some."""
    if options.prune is None:
        chosen = made_environments()
    else:
        with only_campaign():  # which may be using them
            chosen = prune(options.prune)
    size = sum(each.about.size for each in chosen) / 1e6
    found = f"{counted(len(chosen), 'environment')}, {size:.0f} MB"
    folder = environments_folder()
    say(f"{found}, in {folder}" if options.prune is None else f"removed {found}, from {folder}")
    for each in chosen:
        say(described(each))
    return 0


def described(made: PackageEnvironment) -> str:
    """Return what an environment has, in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(made.about.packages.items()))
    used = f"last used {datetime.fromtimestamp(made.used, UTC):%Y-%m-%d}"
    return f"{made.folder.name}  {made.about.size / 1e6:.0f} MB, {used}: Python {made.about.python}, {packages}"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    whole = argparse.ArgumentParser("python -m samenet", description=(__doc__ or "").partition("\n")[0])
    commands = whole.add_subparsers(required=True)
    listing = commands.add_parser("environments", help="list the environments that --versions has made, or remove some")
    listing.set_defaults(run=environments)
    listing.add_argument(
        "--prune", type=number, metavar="DAYS", help="remove those that were not used for so many days; 0 removes all"
    )
    surveying = commands.add_parser("releases", help="compare the releases of a package: step, starts, memory, disk")
    surveying.set_defaults(run=releases)
    surveying.add_argument("package", help="such as jax")
    surveying.add_argument("--from", dest="first", metavar="FIRST", help="the oldest release, or a version before it")
    surveying.add_argument("--to", dest="last", metavar="LAST", help="the newest release; default: the newest there is")
    surveying.add_argument(
        "--all", action="store_true", help="every release; default: the newest of each minor version"
    )
    surveying.add_argument("--out", type=Path, default=Path("releases"), metavar="DIR", help="default: %(default)s")
    add_settings(surveying)
    searching = commands.add_parser("bisect", help="find the release of a package that made a case slower or larger")
    searching.set_defaults(run=search)
    add = searching.add_argument
    add("package", help="such as jax")
    add("first", metavar="FIRST", help="a release before the change")
    add("last", metavar="LAST", help="a release after it")
    quantities = [str(each) for each in Quantity]
    add("--of", default=str(Quantity.STEADY), choices=quantities, help="what changed; default: %(default)s")
    add(
        "--change",
        type=percent,
        default=0.05,
        metavar="PERCENT",
        help="the change to look for; less than half of it counts as none; default: 5",
    )
    add_settings(searching)
    add_parser(commands, say)
    return whole


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what is measured, and how."""
    add = parser.add_argument
    add("--case", help="such as jax-scan-cpu; default: the plain case of the package on the CPU")
    add("--budget", type=number, metavar="SECONDS", help="measuring time of a campaign, without starts; default: 90")
    add("--threads", type=int, help="CPUs, and threads; default: one for each core")
    add("--data", type=Path, metavar="DIR", help="folder with MNIST's four idx .gz files; default: $SAMENET_DATA")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    place = given.index("--") if "--" in given else len(given)
    try:
        options = parser().parse_args(given[:place], argparse.Namespace(rest=given[place + 1 :]))
        code: int = options.run(options)
    except SamenetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return BusyError.EXIT_CODE if isinstance(error, BusyError) else UNUSABLE
    except BrokenPipeError:  # as in a pipe to head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except OSError as error:
        print(f"cannot write {error.filename}: {error.strerror}; set SAMENET_CACHE to another folder", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
