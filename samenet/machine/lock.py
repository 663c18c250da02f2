"""The machine's lock: two campaigns at the same time would measure each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from samenet.errors import BusyError, SettingsError
from samenet.machine.temporary import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def only_campaign(path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock, which is ``path`` or else a file in the temporary folder.

    Raises:
        BusyError: another process holds it.
        SettingsError: the file cannot be opened or locked, or the temporary folder cannot be used.
    """
    path = path or temporary_folder() / "samenet.lock"
    try:
        lock = open_lock(path)
    except OSError as error:
        raise SettingsError(
            f"cannot open the lock {path}: {error.strerror}; make it readable, or set TMPDIR to a folder of your own"
        ) from None
    try:
        take_lock(lock, path)
        yield
    finally:
        os.close(lock)


def open_lock(path: Path) -> int:
    """Return a descriptor of the lock file, which is made where there is none.

    It is opened for reading, since that suffices to lock another user's file. Without O_NONBLOCK, opening a pipe
    would wait.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        # Only here: in a shared folder Linux refuses O_CREAT on another user's file (fs.protected_regular).
        lock = os.open(path, flags | os.O_CREAT, 0o644)
        with contextlib.suppress(OSError):  # another user was faster, or the file system has no modes
            os.fchmod(lock, 0o644)  # a strict umask would keep other users from locking it
        return lock


def take_lock(lock: int, path: Path) -> None:
    """Lock the open file ``lock``, without waiting.

    Raises:
        BusyError: another process holds it.
        SettingsError: files in this folder cannot be locked, as on some network drives.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError("another campaign is measuring on this machine; wait for its end") from None
    except OSError as error:
        raise SettingsError(f"cannot lock {path}: {error.strerror}; set TMPDIR to a folder on a local disk") from None
