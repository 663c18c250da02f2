"""How much one campaign measures, on what, and which entries it has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from impls.lanes import Case
    from impls.workload import Workload
    from samenet.data import Dataset


ENTRY_SECONDS = 1.5  # of measuring, for each entry in a launch: about twenty of its blocks and what is between them
FEWEST_LAUNCHES = 6  # before a campaign may end because its intervals are narrow enough
USUAL_LAUNCHES = 9  # a budget is enough for this many, or for more where there are few entries


@dataclass(frozen=True, kw_only=True)
class Block:
    """``steps`` updates of a training in epochs, from minibatch ``first`` on, which are timed together."""

    name: str
    steps: int
    first: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one campaign measures: ``launches`` worker processes of each entry with ``rounds`` rounds each.

    ``iterations`` are the updates of a round. Where ``rounds`` is None, a launch ends when it has measured for some
    seconds, and the next one continues the rounds; where ``launches`` is None too, there are as many as it takes. All
    launches together measure for ``budget_seconds``. ``marks`` are the updates after which the error is computed,
    besides the last one. With ``blocks`` each entry has one round, a training in epochs, and is validated after each.
    ``always_cold``: in every launch, and not only in the first, workers start one by one, and find nothing compiled.
    ``entry_seconds`` is how long each entry is measured in a launch whose ``rounds`` are open.
    """

    workload: Workload
    dataset: Dataset
    cpus: tuple[int, ...]
    iterations: int
    rounds: int | None
    launches: int | None
    budget_seconds: float = float("inf")
    seed: int = 0
    timeout_seconds: float = 300.0
    blocks: tuple[Block, ...] = ()
    marks: tuple[int, ...] = ()
    always_cold: bool = False
    entry_seconds: float = ENTRY_SECONDS

    def launch_seconds(self, entries: int) -> float:
        """Return how long a launch of so many entries measures."""
        share = self.budget_seconds / (self.launches or USUAL_LAUNCHES)
        return share if self.rounds is not None else min(self.entry_seconds * entries, share)

    @property
    def continues(self) -> bool:
        """Whether it is a training in epochs."""
        return bool(self.blocks)


class Role(StrEnum):
    """Why an entry is in a campaign."""

    CASE = "case"
    TWIN = "twin"  # the second half of the A/A pair
    BOUND = "bound"  # the step's matrix products alone: it trains nothing, so that there is no parity to check
    PEAK = "peak"  # the step's arithmetic at the CPUs' highest rate, without the products
    FORMER = "former"  # the case as it was at another revision

    @property
    def trains(self) -> bool:
        """Whether its weights and losses are those of a training, which have to be right."""
        return self not in {Role.BOUND, Role.PEAK}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case in a campaign, under a label of its own: the same case can be entered twice, or at two revisions.

    In each turn the entries of one ``group`` follow each other, so that nothing else is between what is to be
    compared; without groups every order is as likely. ``root`` is the tree that has the implementation; ``of`` is the
    label of the case that a twin, a former case or another version is compared with. ``installed`` are the versions of
    all packages, by name, where versions are compared.
    """

    label: str
    case: Case
    python: Path
    root: Path
    role: Role = Role.CASE
    of: str = ""
    group: str = ""
    installed: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def cluster(self) -> str:
        """The name of its group, or its own where it has none."""
        return self.group or self.label

    def cache_name(self, *, is_own: bool) -> str:
        """Return the name of the folder for what its workers compile.

        If it is not its own, two revisions of a case share one, and a twin shares that of its case.
        """
        owner = self.label if is_own else f"{self.group or self.of or self.label} {self.case.version or ''}"
        return hashlib.sha256(owner.encode()).hexdigest()[:12]
