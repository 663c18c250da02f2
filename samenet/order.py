"""In which order entries start and are measured: random, and the same for the same seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.plan import Entry

STARTS = -1  # the turn in which a launch's workers start


def shuffled(entries: Sequence[Entry], seed: int, launch: int, turn: int = STARTS) -> list[Entry]:
    """Return ``entries`` in a random order that follows from the other arguments alone; groups stay together."""
    order = random.Random(f"{seed} {launch} {turn}").sample(entries, len(entries))  # noqa: S311  # not a secret
    clusters = list(dict.fromkeys(entry.cluster for entry in order))
    return sorted(order, key=lambda entry: clusters.index(entry.cluster))
