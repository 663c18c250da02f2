"""The machine's lock: two campaigns at the same time would measure each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.errors import BusyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def only_campaign(path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock, which is ``path`` or else a file in the temporary folder.

    Raises:
        BusyError: another process holds it.
        SettingsError: the file cannot be opened or locked, or the temporary folder cannot be used.
    """
    path = path or lock_path()
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


def lock_path() -> Path:
    """Return where the lock is.

    Raises:
        SettingsError: TMPDIR is not a folder that can be written, or there is no temporary folder.
    """
    chosen = os.environ.get("TMPDIR")
    # Python would use another folder without a word, and this campaign would not see the others' lock.
    if chosen and not (Path(chosen).is_dir() and os.access(chosen, os.W_OK | os.X_OK)):
        raise SettingsError(f"TMPDIR is {chosen}, which is not a folder that can be written; set it to one that is")
    try:
        return Path(tempfile.gettempdir()) / "samenet.lock"
    except FileNotFoundError:
        raise SettingsError("no temporary folder can be written; set TMPDIR to a folder that can") from None


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
