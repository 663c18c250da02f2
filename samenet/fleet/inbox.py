"""What the client keeps of a host's campaigns: their files, and what to say of them."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from samenet.errors import SamenetError
from samenet.fleet.tasks import End
from samenet.records import State
from samenet.saved import read_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from samenet.results import Results


def save(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write compressed files below ``folder``, whatever they are called, and return their paths."""
    saved = []
    for path, content in files.items():
        target = folder.joinpath(*map(safe, PurePosixPath(path).parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        part.write_bytes(zlib.decompress(content))
        part.replace(target)
        saved.append(target)
    return saved


def safe(part: str) -> str:
    """Return a part of a path from a host as a name that stays where it is put."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in part)
    return name.lstrip(".") or "_"


def measured(storage: Path, plan: str) -> dict[str, dict[str, Results]]:
    """Return what a plan's campaigns have measured, by their names and the folders of their hosts."""
    found: dict[str, dict[str, Results]] = {}
    for path in sorted(storage.glob(f"*/*/*_{plan}-*.json")):
        name = path.stem.partition("_")[2]  # pytest-benchmark counts the files of a folder
        with suppress(SamenetError):  # it was cut short
            if has_measured(results := read_run(path).results):
                found.setdefault(name, {})[path.parts[-3]] = results
    return found


def by_hosts(folders: Mapping[str, Results], hosts: Sequence[str], kind: str) -> list[Results]:
    """Return what was measured by these hosts or by any of this kind, of the results by folders of hosts.

    Hosts count by their names too, since a campaign with threads of its own, say, has another fingerprint.
    """
    names = {safe(host) for host in hosts}
    return [each for name, each in folders.items() if name in names or each.machine.fingerprint == kind]


def usable(runs: Sequence[Path]) -> list[Results]:
    """Return the results of runs, and remove those that were cut short, as on a full disk."""
    found = []
    for path in runs:
        try:
            found.append(read_run(path).results)
        except SamenetError:
            path.unlink()
    return found


def has_measured(results: Results) -> bool:
    """Return whether a case has a number, or would have one on a machine without neighbours."""
    return any(case.state is State.VALID or case.state.may_recover for case in results.cases)


def end_of(results: Sequence[Results]) -> End:
    """Return how the campaigns with these results have ended, as their exit code would say."""
    cases = [case for each in results for case in each.cases if not case.asked_version]
    has_failed = any(case.state is not State.VALID and not case.state.is_machines_fault for case in cases)
    is_slower = any(verdict.regression for each in results if each.against for verdict in each.against.verdicts)
    return End.FLAWED if has_failed or is_slower else End.DONE


def flaws(results: Sequence[Results]) -> str:
    """Say which cases have no number, and which became slower."""
    sentences = [
        f"{case.case} is {case.state}: {case.reason}"
        for each in results
        for case in each.cases
        if case.state is not State.VALID
    ]
    compared = [each.against for each in results if each.against]
    sentences += [verdict.sentence for each in compared for verdict in each.verdicts if verdict.regression]
    return "; ".join(sentences)


def reason(output: str) -> str:
    """Return the line of a campaign's last output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error: " in line.lower() or "cannot " in line]
    return next(iter([*told, *lines[-1:]]), "it said nothing")
