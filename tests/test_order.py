"""The order of launches and rounds: random, and a function of the seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from samenet.order import shuffled
from tests.support.campaigns import entries

MEMBERS = entries("a", "b", "c", "d", "e", "f")


def order(seed: int, launch: int = 0, turn: int = 0) -> list[str]:
    """Return the labels in their order."""
    return [entry.label for entry in shuffled(MEMBERS, seed, launch, turn)]


@given(st.integers(0, 1000), st.integers(0, 9), st.integers(-1, 99))
def test_every_entry_has_one_place_in_each_turn(seed: int, launch: int, turn: int) -> None:
    """Nothing is left out, and nothing is measured twice."""
    assert sorted(order(seed, launch, turn)) == ["a", "b", "c", "d", "e", "f"]


def test_the_order_follows_from_seed_launch_and_turn() -> None:
    """The same three give the same order; another of each gives another one."""
    assert order(1, 2, 3) == order(1, 2, 3)
    assert (
        len({tuple(order(seed, launch, turn)) for seed, launch, turn in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4))})
        == 4
    )


def test_every_entry_is_as_likely_to_come_first() -> None:
    """Of 600 turns each entry leads about 100; six standard deviations are 55."""
    leaders = [order(0, turn=turn)[0] for turn in range(600)]
    assert all(abs(leaders.count(label) - 100) < 55 for label in "abcdef")


@given(st.integers(0, 1000))
def test_the_members_of_a_group_follow_each_other(seed: int) -> None:
    """Nothing is measured between two entries that are to be compared."""
    grouped = [replace(entry, group=group) for entry, group in zip(MEMBERS, "xyzxyz", strict=True)]
    groups = [entry.group for entry in shuffled(grouped, seed, 0, 0)]
    assert sum(one != other for one, other in pairwise(groups)) == 2
