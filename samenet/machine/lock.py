"""The machine's lock: two campaigns at the same time would measure each other.

It is the same file for every user and every job, each of which may have a TMPDIR of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.errors import BusyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where each user may make a file. A job of a batch system may have a /tmp of its own, so that comes last.
SHARED_FOLDERS = (Path("/run/lock"), Path("/dev/shm"), Path("/tmp"))  # noqa: S108


def lock_file() -> Path:
    """Return the file that stands for this machine: ``$SAMENET_LOCK``, for a part of it that shares nothing, or ours.

    Which folder it is in must not depend on the user, so it is not asked who may write into it.
    """
    if given := os.environ.get("SAMENET_LOCK"):
        return Path(given).absolute()
    open_to_all = (folder for folder in SHARED_FOLDERS if folder.is_dir() and folder.stat().st_mode & stat.S_IWOTH)
    return next(open_to_all, SHARED_FOLDERS[-1]) / "samenet.lock"


@contextlib.contextmanager
def only_campaign(path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock, which is ``path`` or else ``lock_file()``.

    Raises:
        BusyError: another process holds it.
        SettingsError: the file cannot be opened or locked.
    """
    path = path or lock_file()
    try:
        lock = open_lock(path)
    except OSError as error:
        raise SettingsError(
            f"cannot open the lock {path}: {error.strerror}; make it readable, or set SAMENET_LOCK to another file"
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
        advice = "set SAMENET_LOCK to a file on a local disk"
        raise SettingsError(f"cannot lock {path}: {error.strerror}; {advice}") from None
