"""A campaign's events on disk, a line of JSON each, written as they happen; what was measured survives a kill.

A killed harness loses nothing that was written, since the system keeps it. Against a power cut the file is synced
once a second at most, and after each launch.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
import time
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from samenet.errors import JournalError
from samenet.events import Entered, Event, Header, Joined, LaunchEnded, Learned, Log, Lost, Retried, Timed, Withdrawn
from samenet.saved import BROKEN, loads

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from impls.workload import Params

KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Header, Entered, Joined, Timed, Learned, Lost, Retried, Withdrawn, LaunchEnded)
}
SYNC_SECONDS = 1.0


class Journal:
    """The open journal of one campaign; without a path it keeps the events in memory alone.

    ``broken`` says why the file could not be written, if so: measuring continues without it.
    """

    def __init__(self, path: Path | None, header: Header, log: Log | None = None) -> None:
        """Continue a journal with ``log`` in it; see ``create`` and ``reopen``."""
        self.path, self.header, self.log = path, header, log or Log()
        self.broken = ""
        self._synced = time.monotonic()
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path | None, header: Header) -> Self:
        """Begin a journal in ``folder``; where that cannot be written, the events are in memory alone."""
        if folder is None:
            return cls(None, header)
        path = folder / f"{header.context.protocol}-{header.id}.jsonl"
        journal = cls(path, header)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(line(header))
        except OSError as error:
            journal._break(error)
        return journal

    @classmethod
    def reopen(cls, path: Path, header: Header) -> Self:
        """Continue the journal in ``path`` under its own id; a last line that was cut off is removed.

        Raises:
            JournalError: it cannot be read.
        """
        former, log, size = read(path)
        os.truncate(path, size)
        return cls(path, replace(header, id=former.id, when=former.when), log)

    def write(self, event: Event) -> None:
        """Add ``event`` to what was observed, and to the file; workers that start together may do so at once."""
        with self._lock:
            self._write(event)

    def _write(self, event: Event) -> None:
        self.log.add(event)
        if self.path is None or self.broken:
            return
        try:
            with self.path.open("ab", buffering=0) as file:
                self._append(file, line(event))
                is_point = isinstance(event, LaunchEnded) or (
                    isinstance(event, Timed) and event.error_percent is not None
                )
                if is_point or time.monotonic() - self._synced > SYNC_SECONDS:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
        except OSError as error:
            self._break(error)

    @staticmethod
    def _append(file: io.FileIO, text: bytes) -> None:
        """Write a whole line or nothing: a full disk takes a part of it without an error.

        Raises:
            OSError: the line is not written.
        """
        begin = file.seek(0, os.SEEK_END)
        if file.write(text) != len(text):
            file.truncate(begin)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _break(self, error: OSError) -> None:
        self.broken = f"cannot write {self.path}: {error.strerror}; later measurements are not in the journal"

    def weights_path(self, label: str, updates: int) -> Path | None:
        """Return where the weights of an entry after so many updates are kept."""
        return self.path and self.path.with_name(f"{self.path.stem}-{label}-{updates}.npz")

    def save_weights(self, label: str, updates: int, weights: Params) -> None:
        """Keep the weights of a training; they are whole on disk before the round that made them is written."""
        path = self.weights_path(label, updates)
        if path is None or self.broken:
            return
        content = io.BytesIO()
        np.savez(content, *weights)
        try:
            with path.open("wb") as file:
                file.write(content.getbuffer())
                os.fsync(file.fileno())
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            self._break(error)

    def load_weights(self, label: str, updates: int) -> Params | None:
        """Return the weights that were kept, or None where there are none or the file is damaged."""
        path = self.weights_path(label, updates)
        try:
            with np.load(path or "", allow_pickle=False) as saved:
                return tuple(saved[name] for name in saved.files)
        except (OSError, ValueError, zipfile.BadZipFile):
            return None

    def forget_weights(self, label: str, *, but: int) -> None:
        """Remove the weights of an entry, except those after ``but`` updates."""
        kept = self.weights_path(label, but)
        for path in self._weights():
            if kept and path != kept and path.stem.rpartition("-")[0] == kept.stem.rpartition("-")[0]:
                path.unlink(missing_ok=True)

    def _weights(self) -> list[Path]:
        return list(self.path.parent.glob(f"{self.path.stem}-*.npz")) if self.path else []

    def release(self, labels: Collection[str]) -> None:
        """Remove what is saved elsewhere: the entries with these ``labels`` and, if no rounds are left, the file."""
        if self.path is None:
            return
        if any(seen.timed for label, seen in self.log.entries.items() if label not in labels):
            for label in set(labels) & set(self.log.entries):
                self.write(Withdrawn(label=label))
            return
        for path in [*self._weights(), self.path]:
            path.unlink(missing_ok=True)


def line(event: Header | Event) -> bytes:
    """Return an event as a line of JSON."""
    return msgspec.json.encode([type(event).__name__.lower(), event]) + b"\n"


def read_header(path: Path) -> Header:
    """Return the first line of a journal.

    Raises:
        JournalError: it is not a journal of this version.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise JournalError(f"{path} is not a regular file; delete it")
        with path.open("rb") as file:
            header: Header = _event(file.readline(), Header)
            return header
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from None
    except BROKEN as error:
        raise JournalError(f"{path} does not begin as a journal of this version: {error}; delete it") from None


def _event(text: bytes, kind: type[Any] | None = None) -> Any:  # noqa: ANN401  # any of the events
    name, content = loads(text)
    if name not in KINDS or (kind and KINDS[name] is not kind):
        raise ValueError(f"unexpected event {name!r}")
    return msgspec.convert(content, KINDS[name])


def read(path: Path) -> tuple[Header, Log, int]:
    """Return a journal's header and events, and the size (bytes) of its whole lines: the last one may be cut off.

    Raises:
        JournalError: another line is damaged.
    """
    header, log = read_header(path), Log()
    first, *lines = path.read_bytes().splitlines(keepends=True)
    size = len(first)
    for number, text in enumerate(lines, 2):
        if not text.endswith(b"\n"):
            break
        try:
            log.add(_event(text))
        except BROKEN as error:
            raise JournalError(f"{path} is damaged in line {number}: {error}; delete it") from None
        size += len(text)
    return header, log, size


def find(folder: Path, key: str) -> Path | None:
    """Return the longest journal in ``folder`` of a campaign with this key, if there is one."""
    same = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(JournalError):  # another version's, which a report lists with its reason
            if read_header(path).key == key:
                same.append(path)
    return max(same, key=lambda path: path.stat().st_size, default=None)
