"""What the client keeps of a host's campaign: its files, and a sentence on how it ended."""

from __future__ import annotations

import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from samenet.records import State
from samenet.saved import read_run

if TYPE_CHECKING:
    from pathlib import Path


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


def without_number(path: Path) -> list[str]:
    """Return a sentence for each case of a saved run that has no number."""
    cases = read_run(path).results.cases
    return [f"{case.case} is {case.state}: {case.reason}" for case in cases if case.state is not State.VALID]


def reason(output: str) -> str:
    """Return the line of a campaign's last output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error: " in line.lower() or "cannot " in line]
    return next(iter([*told, *lines[-1:]]), "it said nothing")
