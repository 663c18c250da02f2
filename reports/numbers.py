"""How numbers and dates are written: the digits follow the interval, the unknown has one word, dates are in UTC."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from samenet.stats import significant

if TYPE_CHECKING:
    from datetime import datetime

    from samenet.stats import Estimate

UNKNOWN = "unknown"
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], " ")  # XML has no way to write them


def figure(estimate: Estimate | None, suffix: str = "") -> str:
    """Return the estimate with its interval, such as ``9.83 (9.71 to 9.95)``; nothing where there is none."""
    return estimate.text(suffix) if estimate else ""


def single(value: float | None) -> str:
    """Return something that was measured once, with two significant digits."""
    return "" if value is None else f"{value:.{significant(value, 2)}f}"


def mebibytes(count: int | None) -> str:
    """Return bytes in MiB, or that they are unknown."""
    return UNKNOWN if count is None else f"{(count + 2**19) >> 20}"  # a shift takes an integer of any size


def known(value: object) -> str:
    """Return a fact as text; None is unknown."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return UNKNOWN if value is None else str(value)


def counted(amount: int | None) -> str:
    """Return how many of something were asked for; None is as many as it took for narrow intervals."""
    return "as many as it took" if amount is None else str(amount)


def utc(when: datetime) -> datetime:
    """Return the same moment in UTC: runs of several time zones share a table and an axis."""
    return when.astimezone(UTC)


def moment(when: datetime) -> str:
    """Return a date and time in UTC, which it names."""
    return f"{utc(when):%Y-%m-%d %H:%M} UTC"
