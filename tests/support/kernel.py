"""Replaces what the kernel shows, by plain files or by mounts that only one process sees."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from samenet.environments import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write ``text`` into ``path``, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@cache
def namespace_refusal() -> str:
    """Return why this process may not mount files in a mount namespace of its own, or ""."""
    try:
        probe = ["unshare", "--mount", "--map-root-user", "mount", "--bind", "/proc/stat", "/proc/stat"]
        result = subprocess.run(probe, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare"
    return result.stderr.strip() if result.returncode else ""


def in_namespace(mount: str, python: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python``, a program, in a mount namespace of its own after the shell command ``mount``."""
    if namespace_refusal():
        pytest.skip(f"no mount namespace: {namespace_refusal()}")
    shell = f'set -e; {mount}; exec "$0" -c "$1" "${{@:2}}"'
    namespace = ["unshare", "--mount", "--map-root-user"]
    return subprocess.run(
        [*namespace, "bash", "-c", shell, sys.executable, python, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
