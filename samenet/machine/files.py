"""Reads the files in which Linux describes a machine; any of them may be missing in a container or virtual machine."""

from __future__ import annotations

from pathlib import Path

PROC, SYS = Path("/proc"), Path("/sys")


def read_text(path: Path) -> str:
    """Return the text of ``path``, or "" where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_integers(path: Path) -> list[int]:
    """Return the whole numbers in ``path``: none where it is missing, may not be read or has only words."""
    return [int(word) for word in read_text(path).split() if word.isdecimal()]


def read_fields(path: Path) -> dict[str, str]:
    """Return the lines ``name: value`` of ``path``; of a name that is repeated, the last value."""
    pairs = (line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
