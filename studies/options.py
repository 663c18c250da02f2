"""What a study is run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samenet import Settings
from samenet.environments import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BASELINE = "numpy"
PUBLISHED = ROOT / "reports" / "published"
PLAIN_LANES = (BASELINE, "torch", "jax", "theano")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line; ``python -m studies --help`` explains each field."""

    case: str = BASELINE
    repeats: int = 20
    launches: int
    rounds: int
    iterations: int
    threads: int | None = None
    seed: int = 0
    data: Path | None = None
    percent: float = 0.0
    names: tuple[str, ...] = PLAIN_LANES
    budget: float = 90.0
    tolerance: float = 2.0
    minutes: float = 20.0
    storage: Path = PUBLISHED

    @property
    def settings(self) -> Settings:
        """How the campaigns of a study are measured."""
        return Settings(
            iterations=self.iterations,
            rounds=self.rounds,
            launches=self.launches,
            threads=self.threads,
            data=self.data,
        )
