"""Which interpreter serves which implementation."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import impls
from samenet.errors import NoInterpreterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.lanes import Implementation


ROOT = Path(impls.__file__).parent.parent  # the tree that is measured


def tox_folder(root: Path) -> Path:
    """Return the folder of tox's environments: ``$TOX_WORK_DIR``, which tox sets, or ``root/.tox``."""
    return Path(os.environ.get("TOX_WORK_DIR") or root / ".tox").absolute()


def find_interpreter(implementation: Implementation, given: Mapping[str, Path], root: Path) -> Path:
    """Return the interpreter for ``implementation``: the given one, tox's, or the present one, in that order.

    ``given`` maps names of implementations or environments to interpreters (``--python``).

    Raises:
        NoInterpreterError: none of these is there.
    """
    environment = implementation.environment
    for name in (implementation.name, environment):
        if name in given:
            return given[name]
    python = tox_folder(root) / environment / "bin" / "python"
    if os.access(python, os.X_OK):
        return python
    if all(find_spec(name) for name, _ in implementation.packages):
        return Path(sys.executable)
    first = f"install {implementation.prerequisites}, then run" if implementation.prerequisites else "run"
    packages = " ".join(distribution for _, distribution in implementation.packages)
    # A wheel has no tox.ini: what is installed next to it serves the present interpreter.
    command = f"tox run -e {environment}" if (root / "tox.ini").is_file() else f"python -m pip install {packages}"
    raise NoInterpreterError(f"no interpreter for {implementation.name}; {first}: {command}")
