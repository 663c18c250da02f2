"""Lets a framework's own training loop, which cannot be left and entered again, do some steps at a time."""

from __future__ import annotations

import weakref
from concurrent.futures import Future
from threading import Condition, Thread, current_thread
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32

Result = TypeVar("Result")


class Stopped(BaseException):
    """Ends a training loop from its hook before a step; no error, so that no loop handles it as one."""


class Stepwise:
    """A training loop that runs in a thread of its own and waits before each step until it is asked for.

    Starting a loop takes milliseconds, as much as whole steps. So it starts once, and ``run`` lets it do some steps and
    returns when it waits again: each step in between has one fetch of a minibatch, as in a loop that is not paused.
    The loop's hooks call ``before_step`` before each step, and ``after_step`` after it, from any thread.

    Whatever else needs the framework is done in the same thread, by ``call``. OpenMP makes a pool for each thread that
    computes; where two pools together have more threads than there are CPUs, those that wait sleep instead of spinning,
    and torch's step took an eighth longer.
    """

    def __init__(self, owner: object, train: Callable[[int], None]) -> None:
        """Start the thread, which ends when ``owner`` is collected, or the process ends.

        ``train(first)`` is the loop from minibatch ``first`` on. It must not end by itself, nor refer to ``owner``.
        """
        self._train, self._changed = train, Condition()
        self._begun = self._asked = 0  # steps of the present loop
        self._first = -1  # the minibatch with which it began, or -1 where no loop has begun
        self._losses = np.empty(0, np.float32)
        self._missing = 0  # losses of the present run
        self._waits = self._must_begin = self._must_end = False
        self._call: tuple[Future[Any], Callable[[], Any]] | None = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._live, name="training loop", daemon=True)
        weakref.finalize(owner, self._end)
        self._thread.start()

    @property
    def begun(self) -> int:
        """How many steps the present loop has begun."""
        return self._begun

    def call(self, function: Callable[[], Result]) -> Result:
        """Return what ``function`` returns in the thread of the loop, which waits meanwhile."""
        future: Future[Result] = Future()
        with self._changed:
            self._call = future, function
            self._changed.notify_all()
        return future.result()

    def begin_at(self, first: int, batches: int) -> None:
        """Let the next step take minibatch ``first`` of ``batches``; a loop that is elsewhere ends, and another begins.

        Raises:
            Exception: what the loop has raised.
        """
        if self._first >= 0 and (self._first + self._begun) % batches == first % batches:
            return
        with self._changed:
            self._first, self._must_begin, self._waits = first % batches, True, False
            self._changed.notify_all()
            self._wait_for_loop()

    def run(self, steps: int) -> Float32:
        """Let the loop do ``steps`` steps; return their losses when it waits before the next one.

        Raises:
            Exception: what the loop has raised.
        """
        with self._changed:
            self._losses, self._missing = np.empty(steps, np.float32), steps
            self._asked += steps
            self._waits = not steps
            self._changed.notify_all()
            self._wait_for_loop()
        return self._losses

    def before_step(self) -> None:
        """Wait until one more step is asked for.

        Raises:
            Stopped: the loop has to end instead.
        """
        with self._changed:
            if self._begun == self._asked:
                self._waits = True
                self._changed.notify_all()
                self._answer_until(lambda: self._begun < self._asked or self._must_begin)
            if self._must_begin or self._must_end:
                raise Stopped
            self._begun += 1

    def after_step(self, step: int, loss: float) -> None:
        """Keep the loss of a step of the present loop, which counts its steps from 0."""
        with self._changed:
            self._losses[step - self._asked] = loss  # that of the run's last step has the index -1
            self._missing -= 1
            if not self._missing:
                self._changed.notify_all()

    def _wait_for_loop(self) -> None:
        """Wait until all losses are there, and the loop waits before a step that is not asked for."""
        self._changed.wait_for(lambda: self._error or (self._waits and not self._missing))
        if self._error:
            raise self._error

    def _answer_until(self, is_enough: Callable[[], bool]) -> None:
        """Do what is called for, in the thread of the loop, until it has something else to do."""
        while True:
            self._changed.wait_for(lambda: self._call or self._must_end or is_enough())
            if self._call is None:
                return
            (future, function), self._call = self._call, None
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  # it is the caller's
                future.set_exception(error)
            del future, function  # which may refer to the owner

    def _live(self) -> None:
        """Run one loop after the other."""
        while True:
            with self._changed:
                self._answer_until(lambda: self._must_begin)
                if self._must_end:
                    return
                self._begun = self._asked = 0
                self._must_begin = False
            problem: BaseException = RuntimeError("the training loop ended by itself")
            try:
                self._train(self._first)
            except Stopped:
                continue
            except BaseException as error:  # noqa: BLE001  # it is the caller's
                problem = error
            with self._changed:
                self._error = problem
                self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._must_end = True
            self._changed.notify_all()
        if self._thread is not current_thread():
            self._thread.join()
