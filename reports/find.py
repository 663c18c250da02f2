"""Saved runs by what their users call them: a name, a number, a file, or a folder's newest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.errors import StorageError
from samenet.storage import Rejected, read_run, read_storage, storage_folder, without_earlier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.storage import Run


@dataclass(frozen=True)
class Found:
    """The file of a run, and other files of its name that cannot be read."""

    path: Path
    ignored: tuple[Rejected, ...] = ()


def find_run(text: str, storage: Path) -> Found:
    """Return the file of a saved run: a file, the newest run in a folder, or a name or number in ``storage``.

    Raises:
        StorageError: there is none, or more than one.
    """
    path = storage_folder(text)
    if path.is_file():
        return Found(path)
    if path.is_dir():
        newest = read_storage(path).groups[0].newest  # the group with the newest run comes first
        return Found(path / newest.path)
    stems = {file: file.stem for file in sorted(storage.rglob("*.json"))}  # 0001_name, as pytest-benchmark saves it
    named = [file for file, stem in stems.items() if text in {stem, *stem.split("_", 1)}]
    if len(named) == 1:
        return Found(named[0])
    matches, ignored = distinct(named)
    if len(matches) == 1:
        return Found(matches[0], ignored)
    if named:
        raise StorageError(f"{text} is {_more_than_one(matches, ignored)}")
    choices = ", ".join(stems.values()) or "none"
    raise StorageError(f"there is no run {text} in {storage}; its runs: {choices}; give a file or a folder too")


def _more_than_one(matches: Sequence[Path], ignored: Sequence[Rejected]) -> str:
    if matches:
        return f"{len(matches)} runs; give one of these files: {', '.join(map(str, matches))}"
    return f"no run that can be read: {'; '.join(f'{file.path} {file.reason}' for file in ignored)}"


def distinct(files: Sequence[Path]) -> tuple[list[Path], tuple[Rejected, ...]]:
    """Return a file for each run, without copies and earlier states, and the files that cannot be read."""
    runs: dict[str, Run] = {}
    ignored = []
    for file in files:
        try:
            run = read_run(file)
        except StorageError as error:
            readable = Path(str(file).encode(errors="replace").decode())
            ignored.append(Rejected(readable, str(error).removeprefix(f"{readable} ")))
        else:
            runs.setdefault(run.identity, run)
    return [run.path for run in without_earlier(list(runs.values()))], tuple(ignored)
