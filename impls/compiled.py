"""Whether a framework can load what it compiles into the folder for temporary files."""

from __future__ import annotations

import os
import tempfile

# What glibc says of a library in a folder that is mounted noexec, wherever in a framework's traceback it is.
NOEXEC = "failed to map segment from shared object"


def temporary_folder_is_noexec() -> bool:
    """Return whether nothing in the folder for temporary files can be executed, or loaded as a library."""
    return bool(os.statvfs(tempfile.gettempdir()).f_flag & os.ST_NOEXEC)


def refuse_noexec() -> None:
    """Check that compiled code can be loaded, before a framework compiles for a minute and fails.

    Raises:
        RuntimeError: the folder for temporary files is mounted noexec.
    """
    if temporary_folder_is_noexec():
        raise RuntimeError(f"the temporary folder {tempfile.gettempdir()} is mounted noexec; set TMPDIR to another one")
