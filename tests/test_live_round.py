"""A round in blocks: which updates each of them does, and what is left when it is complete."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samenet.live_round import LEAD_IN_STEPS, LiveRound, spans


@given(
    iterations=st.integers(1, 2000),
    block_steps=st.integers(1, 3000),
    marks=st.sets(st.integers(1, 1999), max_size=6),
)
def test_each_update_is_in_one_block(iterations: int, block_steps: int, marks: set[int]) -> None:
    """In order and without a gap; every block is timed, and one ends at each mark."""
    inside = sorted(mark for mark in marks if mark < iterations)
    made = spans(iterations, block_steps, inside)
    ends = [span.first + span.lead_in + span.steps for span in made]
    assert [span.first for span in made] == [0, *ends[:-1]]
    assert ends[-1] == iterations
    assert set(inside) <= set(ends)
    assert all(span.steps >= 1 and 0 <= span.lead_in <= LEAD_IN_STEPS for span in made)


def test_blocks_are_about_as_long_as_asked_for() -> None:
    """The rest of a division is spread over all of them."""
    made = spans(1000, 5)
    assert {span.steps for span in made} <= {4, 5}
    assert all(span.lead_in == LEAD_IN_STEPS for span in made)


def test_a_round_ends_with_its_losses_and_weights_and_the_next_one_begins() -> None:
    """The weights at a mark are kept too; of later rounds nothing is."""
    live = LiveRound(spans=spans(12, 3, (6,)), marks=(6,))
    weights = (np.zeros(1, np.float32),)
    for _ in range(2):
        seen = 0
        while seen < 12:
            span = live.next
            assert live.done == span.first == seen
            losses = np.arange(span.first, span.first + span.lead_in + span.steps, dtype=np.float32)
            seen += len(losses)
            live.add(losses, weights if live.wants_weights else None)
    assert live.final
    np.testing.assert_array_equal(live.final[0], np.arange(12))
    assert list(live.snapshots) == [6]
    assert live.done == 0


@pytest.mark.parametrize("updates", [0, 4, 8])
def test_weights_are_wanted_at_marks_and_at_the_end(updates: int) -> None:
    """Before any other block they would only cost time."""
    live = LiveRound(spans=spans(12, 3, (8,)), marks=(8,))
    while live.done < updates:
        live.add(np.zeros(live.next.lead_in + live.next.steps, np.float32), None)
    assert live.wants_weights == (updates in {4, 8})
