"""What a fleet asks the checkout on a host, ``python -m samenet.fleet.about``: one line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samenet import data
from samenet.environments import ROOT, tox_folder
from samenet.errors import BusyError, SamenetError
from samenet.git import present_commit
from samenet.machine.cpus import choose_cpus
from samenet.machine.description import describe
from samenet.machine.lock import only_campaign

if TYPE_CHECKING:
    from collections.abc import Sequence


def about(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the commit, the data, the hardware and what a campaign with these arguments would lack here."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int)
    given, _ = parser.parse_known_args(arguments)
    commit = present_commit(ROOT)
    found: dict[str, Any] = {"commit": commit.id, "dirty": bool(commit.dirty), "environments": environments()}
    try:
        machine = describe(choose_cpus(given.threads))
        found |= {"kind": machine.fingerprint, "cpu": machine.hardware["cpu"], "governor": machine.governor}
        found["data"] = data.load(given.data).sha256
        with only_campaign():
            found["busy"] = False
    except BusyError:
        found["busy"] = True
    except SamenetError as error:
        found["problem"] = str(error)
    return found


def environments() -> list[str]:
    """Return the tox environments here."""
    return sorted(path.parent.parent.name for path in tox_folder(ROOT).glob("*/bin/python"))


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(about(sys.argv[1:]))}\n")
