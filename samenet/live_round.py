"""Where a case is in its round: the updates that its next block does, and what the round has computed so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impls.workload import Float32, Params

# The first step after other cases have run takes 2 to 10 % more time: it finds its data in no cache.
LEAD_IN_STEPS = 1
LONG_BLOCKS = 5  # of a round on a GPU, at least


class Span(NamedTuple):
    """The updates of one block, from minibatch ``first`` on: ``lead_in`` without a clock, then ``steps`` timed ones."""

    first: int
    lead_in: int
    steps: int

    @property
    def end(self) -> int:
        """The updates of its round that are done after it."""
        return self.first + self.lead_in + self.steps


def spans(iterations: int, block_steps: int, marks: Sequence[int] = ()) -> list[Span]:
    """Divide a round into blocks of about ``block_steps`` timed updates, with an end at each of ``marks``."""
    made = []
    for begin, end in pairwise((0, *marks, iterations)):
        made += divided(begin, end, max(1, round((end - begin) / (block_steps + LEAD_IN_STEPS))))
    return made


def long_spans(iterations: int, block_steps: int) -> list[Span]:
    """Return blocks of at least ``block_steps`` timed updates, ``LONG_BLOCKS`` of them or more.

    The training goes on beyond ``iterations`` where these take less.
    """
    steps = max(iterations, LONG_BLOCKS * (block_steps + LEAD_IN_STEPS))
    return divided(0, steps, steps // (block_steps + LEAD_IN_STEPS))


def divided(begin: int, end: int, count: int) -> list[Span]:
    """Return the updates from ``begin`` to ``end`` in ``count`` blocks, as equal as they can be."""
    bounds = [begin + (end - begin) * part // count for part in range(count + 1)]
    leads = [min(LEAD_IN_STEPS, last - first - 1) for first, last in pairwise(bounds)]
    return [
        Span(first, lead_in, last - first - lead_in)
        for (first, last), lead_in in zip(pairwise(bounds), leads, strict=True)
    ]


@dataclass(kw_only=True)
class LiveRound:
    """One case's rounds, block by block and over launches: after the last block of a round the next one begins.

    ``weights`` are those to begin the next block with, None for the initial ones; ``final`` are the losses (steps,) and
    the weights of the first round, once it is complete, and ``snapshots`` its weights at the marks, by updates.

    With ``iterations`` the blocks may go on beyond these updates, and do not end at them: ``final`` and ``snapshots``
    come from a training apart. ``timed_losses`` (iterations,) are those of the blocks, to be compared with it.
    """

    spans: Sequence[Span]
    marks: Sequence[int] = ()
    weights: Params | None = None
    final: tuple[Float32, Params] | None = None
    iterations: int = 0
    timed_losses: Float32 | None = None
    snapshots: dict[int, Params] = field(default_factory=dict)
    _block: int = 0
    _losses: list[Float32] = field(default_factory=list)

    @property
    def next(self) -> Span:
        """The next block."""
        return self.spans[self._block]

    @property
    def done(self) -> int:
        """The updates of the present round so far."""
        return self.next.first

    @property
    def losses(self) -> Float32:
        """The losses of the present round so far."""
        return np.concatenate(self._losses) if self._losses else np.empty(0, np.float32)

    @property
    def wants_weights(self) -> bool:
        """Whether the weights after the next block are needed, for the error along the way or at the end."""
        return self.final is None and not self.iterations and (self.next.end in self.marks or self.is_last)

    @property
    def is_last(self) -> bool:
        """Whether the next block is the last one of its round."""
        return self._block == len(self.spans) - 1

    def add(self, losses: Float32, weights: Params | None) -> None:
        """Note the ``losses`` of the next block, lead-in included, and the weights after it if they were wanted."""
        self._losses.append(losses)
        if self.timed_losses is None and 0 < self.iterations <= self.next.end:
            self.timed_losses = self.losses[: self.iterations]
        if weights is not None and self.is_last:
            self.final = self.losses, weights
        elif weights is not None:
            self.snapshots[self.next.end] = weights
        self._block += 1
        if self._block == len(self.spans):
            self._block, self._losses, self.weights = 0, [], None
