"""Which interpreter serves which implementation."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.registry import Implementation


ROOT = Path(__file__).parent.parent  # the tree that is measured


class NoInterpreterError(Exception):
    """No interpreter here can import the framework; the message says how to get one."""


def find_interpreter(implementation: Implementation, given: Mapping[str, Path], root: Path) -> Path:
    """Return the interpreter for ``implementation``: the given one, tox's, or the present one, in that order.

    ``given`` maps names of implementations or environments to interpreters (``--python``); tox's lies in
    ``TOX_WORK_DIR``, which tox sets, or in ``root/.tox``.

    Raises:
        NoInterpreterError: none of these is there.
    """
    environment = implementation.environment
    for name in (implementation.name, environment):
        if name in given:
            return given[name]
    python = Path(os.environ.get("TOX_WORK_DIR", root / ".tox")) / environment / "bin" / "python"
    if python.exists():
        return python
    if all(find_spec(name) for name, _ in implementation.packages):
        return Path(sys.executable)
    first = f"install {implementation.needs}, then run" if implementation.needs else "run"
    raise NoInterpreterError(f"no interpreter for {implementation.name}; {first}: tox run -e {environment}")
