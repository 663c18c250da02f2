"""A training loop that runs in a thread of its own does the steps that it is asked for, and no other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from impls.stepwise import Stepwise

BATCHES = 10


@dataclass(eq=False)
class Training:
    """A loop over minibatches whose losses are their numbers; ``passes`` has the minibatch that each began with."""

    broken_at: int = -1
    passes: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)

    def start(self, owner: object) -> Stepwise:
        """Return the steps of this loop."""

        def train(first: int) -> None:
            self.passes.append(first)
            k = first
            while k != self.broken_at:
                steps.before_step()
                self.trained.append(k)
                steps.after_step(steps.begun - 1, k)
                k = (k + 1) % BATCHES
            raise ValueError("this minibatch is broken")

        steps = Stepwise(owner, train)
        return steps  # the loop refers to it


class Owner:
    """What the loop belongs to."""


def test_runs_continue_one_loop_which_waits_in_between() -> None:
    """Each returns its losses in order; past the last minibatch comes the first one."""
    training, owner = Training(), Owner()
    steps = training.start(owner)
    for first, count in ((0, 3), (3, 1), (4, 8), (12, 2)):
        steps.begin_at(first, BATCHES)
        assert steps.run(count).tolist() == [step % BATCHES for step in range(first, first + count)]
        assert len(training.trained) == first + count
    assert steps.run(0).tolist() == []
    assert training.passes == [0]


def test_another_minibatch_than_the_next_one_needs_another_loop() -> None:
    """The loop before it ends without a further step."""
    training, owner = Training(), Owner()
    steps = training.start(owner)
    for first in (0, 7, 7):
        steps.begin_at(first, BATCHES)
        assert steps.run(4).tolist() == [step % BATCHES for step in range(first, first + 4)]
    assert training.passes == [0, 7, 7]
    assert len(training.trained) == 12


def test_an_error_of_the_loop_is_raised_where_steps_are_asked_for() -> None:
    """It reaches ``run``, which does not wait for steps that never come."""
    training, owner = Training(broken_at=5), Owner()
    steps = training.start(owner)
    steps.begin_at(0, BATCHES)
    assert steps.run(3).tolist() == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match="this minibatch is broken"):
            steps.run(3)


def test_calls_are_made_in_the_thread_of_the_loop() -> None:
    """Before it trains and while it waits; their errors are the caller's, and it continues."""
    training, owner = Training(), Owner()
    steps = training.start(owner)
    before = steps.call(threading.get_ident)
    steps.begin_at(0, BATCHES)
    assert before == steps.call(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        steps.call(lambda: 1 // 0)
    assert steps.run(2).tolist() == [0, 1]


def test_the_thread_ends_with_what_it_belongs_to() -> None:
    """Whether it trains already or not: a worker that builds a second trainer has no second loop."""
    before = set(threading.enumerate())
    for begins in (False, True):
        owner = Owner()
        steps = Training().start(owner)
        if begins:
            steps.begin_at(0, BATCHES)
            steps.run(1)
        (thread,) = (each for each in set(threading.enumerate()) - before if each.name == "training loop")
        del owner
        thread.join(timeout=60)
        assert not thread.is_alive()
