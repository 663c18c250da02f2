"""From results to text and pictures; a notebook needs ``to_frame`` and ``draw_speedups``.

Both are imported when they are first used: a terminal's tables need no matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.charts import draw_speedups
    from reports.frame import to_frame

__all__ = ["draw_speedups", "to_frame"]
HOMES = {"draw_speedups": "reports.charts", "to_frame": "reports.frame"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # of any module, as Python asks for it
    """Import one of the two functions."""
    if name not in HOMES:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
