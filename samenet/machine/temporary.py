"""The folder for temporary files, checked before anything is measured, and folders in it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from samenet.errors import SettingsError, WorkerError

NEEDED_BYTES = 1 << 20  # a launch compiles some megabytes, but it says so itself where they do not fit


def temporary_folder() -> Path:
    """Return the folder that ``$TMPDIR`` names, or else the system's.

    Raises:
        SettingsError: TMPDIR is not a folder that can be written, or there is no temporary folder.
    """
    chosen = os.environ.get("TMPDIR")
    try:
        # Python would use another folder without a word, and this campaign would not see the others' lock.
        if chosen:
            with tempfile.TemporaryFile(dir=chosen) as file:
                file.write(bytes(NEEDED_BYTES))
        return Path(chosen or tempfile.gettempdir()).absolute()
    except (OSError, ValueError) as error:
        if not chosen:
            raise SettingsError("no temporary folder can be written; set TMPDIR to a folder that can") from None
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"TMPDIR is {chosen}, which is not a folder that can be written ({reason}); set it to one that is"
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder for what a worker compiles.

    Raises:
        WorkerError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WorkerError(f"cannot make {folder}: {error.strerror}; set TMPDIR to a folder with free space") from None
