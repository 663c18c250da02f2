"""How much one campaign measures, on what, and which entries it has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from impls.lanes import Case
    from impls.workload import Workload
    from samenet.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Block:
    """``steps`` updates from minibatch ``first`` on, which are timed as one round."""

    name: str
    steps: int
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one campaign measures: ``launches`` worker processes of each entry with ``rounds`` turns each.

    ``iterations`` are the updates of a round, or of a whole training if ``continues``: then each turn continues where
    the last one ended. A launch ends with the turn in which its rounds exceed ``launch_seconds``. ``curve_steps`` are
    the updates from each point of the untimed error curve to the next.
    """

    workload: Workload
    dataset: Dataset
    cpus: tuple[int, ...]
    blocks: tuple[Block, ...]
    iterations: int
    rounds: int
    launches: int
    launch_seconds: float = float("inf")
    seed: int = 0
    timeout_seconds: float = 300.0
    continues: bool = False
    curve_steps: tuple[int, ...] = ()

    def block(self, turn: int) -> Block:
        """Return what an entry does in ``turn``."""
        return self.blocks[turn] if self.continues else self.blocks[0]


class Role(StrEnum):
    """Why an entry is in a campaign."""

    CASE = "case"
    TWIN = "twin"  # the second half of the A/A pair
    BOUND = "bound"  # the step's matrix products alone: it trains nothing, so that there is no parity to check
    FORMER = "former"  # the case as it was at another revision


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case in a campaign, under a label of its own: the same case can be entered twice, or at two revisions.

    In each turn the entries of one ``group`` follow each other, so that nothing else is between what is to be
    compared; without groups every order is as likely. ``root`` is the tree that has the implementation; ``of`` is the
    label of the case that a twin or a former case is compared with.
    """

    label: str
    case: Case
    python: Path
    root: Path
    role: Role = Role.CASE
    of: str = ""
    group: str = ""

    @property
    def cluster(self) -> str:
        """The name of its group, or its own where it has none."""
        return self.group or self.label
