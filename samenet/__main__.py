"""The command line: ``python -m samenet environments`` lists what ``--versions`` has installed, and removes it.

Exit codes: 0, done; 2, an argument or the folder cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from samenet.errors import SamenetError
from samenet.package_environments import environments_folder, made_environments, prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.package_environments import PackageEnvironment

UNUSABLE = 2


def days(text: str) -> float:
    """Read a number of days."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, 0 or more")
    return number


def line(made: PackageEnvironment) -> str:
    """Return what an environment has, in one line."""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(made.about.packages.items()))
    unused = f"last used {datetime.fromtimestamp(made.used, UTC):%Y-%m-%d}"
    return f"{made.folder.name}  {made.about.size / 1e6:.0f} MB, {unused}: Python {made.about.python}, {packages}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    parser = argparse.ArgumentParser("python -m samenet", description="What samenet keeps on this machine.")
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("environments", help="list the environments that --versions has made, or remove some")
    listing.add_argument(
        "--prune", type=days, metavar="DAYS", help="remove those that were not used for so many days; 0 removes all"
    )
    options = parser.parse_args(arguments)
    try:
        chosen = made_environments() if options.prune is None else prune(options.prune)
        folder = environments_folder()
    except SamenetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNUSABLE
    size = sum(each.about.size for each in chosen) / 1e6
    found = f"{len(chosen)} environment{'' if len(chosen) == 1 else 's'}, {size:.0f} MB"
    print(f"{found}, in {folder}" if options.prune is None else f"removed {found}, from {folder}")  # noqa: T201
    for each in chosen:
        print(line(each))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
