"""What is to be measured on a fleet, by which host, and how far each host is."""

from __future__ import annotations

import math
import shlex
import zlib
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from distributed import Future

MOST_FAILURES = 2  # in a row, after which a host gets no other campaign of a sweep


class End(StrEnum):
    """How a campaign ended, or why a host has none."""

    DONE = "done"
    FAILED = "failed"
    BUSY = "busy"
    LATE = "stopped at the limit"
    LOST = "lost"
    REFUSED = "refused"

    @property
    def has_result(self) -> bool:
        """Whether there is a saved run, or a reason in the campaign itself that there is none."""
        return self in {End.DONE, End.FAILED}


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


@dataclass(kw_only=True)
class Host:
    """A host of the fleet.

    Attributes:
        about: what it says of itself.
        waiting: its campaigns that have not begun; those of a sweep are shared by the hosts of a kind.
        deadline: when a busy host is not tried again.
        failures: how many of its campaigns have failed in a row.
    """

    name: str
    address: str
    about: dict[str, Any]
    waiting: deque[Task] = field(default_factory=deque)
    task: Task | None = None
    future: Future[Any] | None = None
    phase: Phase = Phase.READY
    until: float = math.inf
    deadline: float = math.inf
    retries: int = 0
    failures: int = 0

    @property
    def kind(self) -> str:
        """The fingerprint of its hardware."""
        return str(self.about.get("kind", ""))

    @property
    def is_active(self) -> bool:
        """Whether it has a campaign that has begun and has not ended."""
        return self.phase in {Phase.MEASURING, Phase.BUSY, Phase.AWAY}

    def turn(self, phase: Phase, until: float = math.inf) -> None:
        """Begin another phase."""
        self.phase, self.until = phase, until

    def next_task(self) -> Task | None:
        """Return the campaign that it should run next, one that it has begun before others."""
        begun = self.about.get("unfinished", ())
        possible = [task for task in self.waiting if task.failed_on != self.name]
        return min(possible, key=lambda task: task.name not in begun, default=None)


def tasks_of(plan: str, arguments: tuple[str, ...], sweep: Sequence[tuple[str, ...]]) -> list[Task]:
    """Return the campaigns of a plan: one, or one for each line of a sweep."""
    if not sweep:
        return [Task(name=plan, arguments=arguments)]
    found = []
    for own in sweep:
        text = shlex.join(own)
        name = f"{plan}-{zlib.crc32(text.encode()):08x}"  # which stays the same if lines are added
        found.append(Task(name=name, arguments=(*arguments, *own), own=text))
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


def unfit(about: dict[str, Any], commit: str | None, data: str | None) -> str:
    """Return why a host must not measure, or nothing."""
    if "problem" in about:
        return str(about["problem"])
    if about["commit"] != commit or about["dirty"]:
        changed = " with changes" if about["dirty"] else ""
        return f"its checkout is at {str(about['commit'])[:9]}{changed}, and this one at {str(commit)[:9]}"
    if about.get("data", data) != data:
        return f"its data have the checksum {about['data'][:12]}, and those of most hosts {str(data)[:12]}"
    return ""
