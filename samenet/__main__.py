"""The command line: ``python -m samenet`` finds the release that changed a case, and keeps the environments in order.

Exit codes: 0, done; 1, the search could not decide; 2, an argument or a folder cannot be used; 130, interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from impls.lanes import Lane
from impls.registry import cases
from samenet.bisection import Question
from samenet.errors import SamenetError, SettingsError
from samenet.machine.lock import only_campaign
from samenet.package_environments import environments_folder, made_environments, prune
from samenet.probing import bisect
from samenet.protocols import Settings
from samenet.records import Quantity
from samenet.versions import runs_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.package_environments import PackageEnvironment

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
    settings = Settings(data=options.data, threads=options.threads, budget_seconds=options.budget)
    answer = bisect(question, settings, say)
    for line in (*(f"note: {note}" for note in answer.notes), answer.sentence):
        say(line)
    return 0 if answer.is_decided else UNDECIDED


def environments(options: argparse.Namespace) -> int:
    """List the environments, or remove some."""
    if options.prune is None:
        chosen = made_environments()
    else:
        with only_campaign():  # which may be using them
            chosen = prune(options.prune)
    size = sum(each.about.size for each in chosen) / 1e6
    found = f"{len(chosen)} environment{'' if len(chosen) == 1 else 's'}, {size:.0f} MB"
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
    add("--case", help="such as jax-scan-cpu; default: the plain case of the package on the CPU")
    add("--budget", type=number, metavar="SECONDS", help="measuring time for each release; default: 90")
    add("--threads", type=int, help="CPUs, and threads; default: one for each core")
    add("--data", type=Path, metavar="DIR", help="folder with MNIST's four idx .gz files; default: $SAMENET_DATA")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    try:
        options = parser().parse_args(arguments)
        code: int = options.run(options)
    except SamenetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNUSABLE
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
