"""What is to be measured on a fleet, by which host, and how far each host is."""

from __future__ import annotations

import math
import shlex
import zlib
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from distributed import Future

MOST_FAILURES = 2  # in a row, after which the other hosts of a sweep go first
MOST_RESTARTS = 3  # of one campaign on a host: it may be what ends its worker


class End(StrEnum):
    """How a campaign ended, or why a host has none."""

    DONE = "done"
    FLAWED = "done, with a case that failed or became slower"
    FAILED = "failed"
    BUSY = "busy"
    LATE = "stopped at the limit"
    LOST = "lost"
    REFUSED = "refused"

    @property
    def has_result(self) -> bool:
        """Whether there is a saved run with a number."""
        return self in {End.DONE, End.FLAWED}


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of itself.

    Attributes:
        host: its name; "" if it did not answer.
        problem: why it cannot measure, as a sentence without its subject.
        seconds: the time on its clock when it answered.
        ahead_seconds: by how much that is later than when the answer came.
        unfinished: the names of the campaigns that it has begun.
        kind: the fingerprint of its hardware.
        busy: whether another campaign is measuring there.
    """

    host: str = ""
    problem: str = ""
    seconds: float = 0.0
    ahead_seconds: float = 0.0
    unfinished: tuple[str, ...] = ()
    commit: str | None = None
    dirty: bool = False
    data: str | None = None
    kind: str = ""
    cpu: str | None = None
    governor: str | None = None
    environments: tuple[str, ...] = ()
    busy: bool = False


class Phase(StrEnum):
    """What a host is doing; ``until`` says when that ends."""

    READY = "ready"
    MEASURING = "measuring"
    BUSY = "busy"
    AWAY = "away"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One whole campaign.

    Attributes:
        name: that of its files.
        arguments: those of ``pytest bench/``.
        own: what tells it from the others of a sweep.
        failed_on: the host on which it failed before; another one is to try it.
    """

    name: str
    arguments: tuple[str, ...]
    own: str = ""
    failed_on: str = ""


@dataclass(kw_only=True, eq=False)
class Host:
    """A host of the fleet.

    Attributes:
        waiting: its campaigns that have not begun; those of a sweep are shared by the hosts of a kind.
        deadline: when a busy host is not tried again.
        retries: how often it was busy in a row.
        restarts: how often it came back, and continued its campaign.
        failures: how many of its campaigns have failed in a row.
    """

    name: str
    address: str
    about: About
    waiting: deque[Task] = field(default_factory=deque)
    task: Task | None = None
    future: Future[Any] | None = None
    phase: Phase = Phase.READY
    until: float = math.inf
    deadline: float = math.inf
    retries: int = 0
    restarts: int = 0
    failures: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it gets no other campaign."""
        return self.phase is Phase.OVER

    @property
    def is_active(self) -> bool:
        """Whether it has a campaign that has not ended."""
        return self.task is not None

    @property
    def is_unfinished(self) -> bool:
        """Whether it has a campaign, or may begin one."""
        return self.is_active or (not self.is_over and self.next_task() is not None)

    def turn(self, phase: Phase, until: float = math.inf) -> None:
        """Begin another phase."""
        self.phase, self.until = phase, until

    def next_task(self) -> Task | None:
        """Return the campaign that it should run next, one that it has begun before others."""
        possible = [task for task in self.waiting if task.failed_on != self.name]
        return min(possible, key=lambda task: task.name not in self.about.unfinished, default=None)


def tasks_of(plan: str, arguments: tuple[str, ...], sweep: Sequence[tuple[str, ...]]) -> list[Task]:
    """Return the campaigns of a plan: one, or one for each line of a sweep.

    A name has a checksum of the arguments, so that it stays the same when lines are added, and not when they change.
    """
    found = []
    for own in sweep or [()]:
        every = (*arguments, *own)
        name = f"{plan}-{zlib.crc32(shlex.join(every).encode()):08x}"
        found.append(Task(name=name, arguments=every, own=shlex.join(own)))
    return found


def read_sweep(path: Path) -> list[tuple[str, ...]]:
    """Read a sweep: a line for each campaign, with its own arguments of ``pytest bench/``; # begins a comment.

    Raises:
        SettingsError: it cannot be read, or has no campaign.
    """
    try:
        lines = [tuple(shlex.split(line, comments=True)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}; write the arguments of one campaign on each line") from None
    found = list(dict.fromkeys(line for line in lines if line))
    if not found:
        raise SettingsError(f"{path} has no campaign; write the arguments of one on each line")
    return found


def unfit(about: About, commit: str | None, data: str | None) -> str:
    """Return why a host must not measure, or nothing."""
    if about.problem:
        return about.problem
    if about.commit is None:
        return "its checkout has no commit that git knows, so it may be another one"
    if about.commit != commit or about.dirty:
        changed = " with changes" if about.dirty else ""
        return f"its checkout is at {str(about.commit)[:9]}{changed}, and this one at {str(commit)[:9]}"
    if about.data != data:
        return f"its data have the checksum {str(about.data)[:12]}, and those of most hosts {str(data)[:12]}"
    return ""
