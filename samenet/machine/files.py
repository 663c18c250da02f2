"""Files in which Linux describes a machine, any of which may be missing, and ours, which are replaced as a whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

from samenet.errors import SettingsError

PROC, SYS = Path("/proc"), Path("/sys")


def read_text(path: Path) -> str:
    """Return the text of ``path``, or "" where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):  # a path with a null character, or one that the file system's encoding does not have
        return ""


def whole_number(word: str) -> int | None:
    """Return the number that ``word`` is, or None if it is none of a kernel's counters, which have 64 bits."""
    return int(word) if word.isdecimal() and len(word) <= 20 else None


def read_integers(path: Path) -> list[int]:
    """Return the whole numbers in ``path``: none where it is missing, may not be read or has only words."""
    return [number for word in read_text(path).split() if (number := whole_number(word)) is not None]


def read_fields(path: Path) -> dict[str, str]:
    """Return the lines ``name: value`` of ``path``; of a name that is repeated, the last value."""
    pairs = (line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def check_writable(folder: Path) -> None:
    """Check that a folder can be written, or made, before there is something to write; make nothing yet.

    Raises:
        SettingsError: it cannot.
    """
    try:
        present = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=present):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot write into {folder}: {reason}; give another folder with --out") from None


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file ``path``, whose folder is made if need be: a reader finds the former content or all of this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
