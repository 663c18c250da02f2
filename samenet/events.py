"""What happens in a campaign, as events: each is written to the journal, and together they are what was observed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from typing import TYPE_CHECKING, Any

from impls.lanes import PackageVersion  # noqa: TC001  # likewise
from samenet.context import Context, Machine  # noqa: TC001  # likewise
from samenet.plan import Role
from samenet.records import CurvePoint, Launch, Round, State  # noqa: TC001  # likewise
from samenet.results import SCHEMA
from samenet.saved import Commit  # noqa: TC001  # likewise
from samenet.stats import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.plan import Entry, Plan


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a campaign sets out to do: all that is needed to judge its events.

    ``key`` is equal for campaigns that may continue each other. ``least_seconds`` is, for each GPU, the least time of a
    round, ``confidence`` that of every interval; ``epochs`` and ``target_error_percent`` are set for trainings.
    """

    schema: int = SCHEMA
    id: str
    key: str
    when: datetime
    context: Context
    machine: Machine
    commit: Commit
    seed: int
    rounds: int | None = None
    launches: int | None = None
    confidence: float = CONFIDENCE
    least_seconds: dict[str, float] = field(default_factory=dict)
    epochs: int | None = None
    target_error_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class Entered:
    """An entry takes part; ``of`` is the label of the case that a twin or a former case is compared with."""

    label: str
    implementation: str
    device: str
    role: Role = Role.CASE
    of: str = ""
    version: PackageVersion | None = None
    manifest: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_entry(cls, entry: Entry, plan: Plan) -> Entered:
        """Return the event of ``entry`` in a campaign with this plan."""
        return cls(
            label=entry.label,
            implementation=entry.case.implementation.name,
            device=str(entry.case.device),
            role=entry.role,
            of=entry.of,
            version=entry.case.version,
            manifest={"precision": plan.workload.precision} | entry.case.manifest,
        )


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A worker has started and its work was checked."""

    label: str
    launch: Launch
    versions: dict[str, str]
    thread_pools: tuple[dict[str, Any], ...] = ()
    environment_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A block was timed; a training in epochs has its validation error (%) after it."""

    label: str
    round: Round
    peak_bytes: int | None = None
    file_bytes: int | None = None
    error_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What the network has learned by one round, or by the whole training: the same in every round."""

    label: str
    error_rates: dict[str, float]
    losses: tuple[float, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    weights_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Lost:
    """An entry has lost its number."""

    label: str
    state: State
    reason: str


@dataclass(frozen=True, kw_only=True)
class Retried:
    """A resumed campaign tries again what had failed or was skipped."""

    label: str


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """What was measured of an entry does not count: other versions, or a bound that another one beats."""

    label: str


@dataclass(frozen=True, kw_only=True)
class LaunchEnded:
    """All turns of a launch are measured."""

    launch: int


Event = Entered | Joined | Timed | Learned | Lost | Retried | Withdrawn | LaunchEnded


@dataclass(frozen=True, kw_only=True)
class Observations:
    """All that was observed of one entry so far; an event gives new ones."""

    entry: Entered
    launches: tuple[Launch, ...] = ()
    timed: tuple[Timed, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    thread_pools: tuple[dict[str, Any], ...] = ()
    environment_bytes: int | None = None
    learned: Learned | None = None
    lost: Lost | None = None
    cut: frozenset[int] = frozenset()  # the launches in which it lost its number

    def after(self, event: Joined | Timed | Learned | Lost | Retried) -> Observations:
        """Return the observations with ``event`` added; the first reason to lose a number stays."""
        match event:
            case Joined():
                return replace(
                    self,
                    launches=(*self.launches, event.launch),
                    versions=event.versions,
                    thread_pools=event.thread_pools,
                    environment_bytes=event.environment_bytes or self.environment_bytes,
                )
            case Timed():
                return replace(self, timed=(*self.timed, event))
            case Learned():
                return replace(self, learned=event)
            case Lost():
                last = {self.launches[-1].launch} if self.launches else set()
                return self if self.lost else replace(self, lost=event, cut=self.cut | last)
            case Retried():
                return replace(self, lost=None)

    @property
    def done_steps(self) -> int:
        """The updates of the blocks of a training that are validated, and that it can continue from."""
        return sum(each.round.steps or 0 for each in self.timed if each.error_percent is not None)


class Log:
    """The observations of every entry, by label, and which launches have ended."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.entries: dict[str, Observations] = {}
        self.ended: list[int] = []
        self.next_order = 0  # the place of the next round among all rounds

    def copy(self) -> Log:
        """Return a log that can take other events than this one from now on."""
        made = Log()
        made.entries, made.ended, made.next_order = dict(self.entries), list(self.ended), self.next_order
        return made

    def add(self, event: Event) -> None:
        """Take ``event`` in."""
        match event:
            case Entered():
                self.entries.setdefault(event.label, Observations(entry=event))
            case Withdrawn():
                self.entries.pop(event.label, None)
            case LaunchEnded():
                self.ended.append(event.launch)
            case _ if event.label in self.entries:
                if isinstance(event, Timed):
                    self.next_order = max(self.next_order, event.round.order + 1)
                self.entries[event.label] = self.entries[event.label].after(event)

    def is_live(self, label: str) -> bool:
        """Return whether an entry takes part and has not lost its number."""
        return label in self.entries and not self.entries[label].lost

    @property
    def next_launch(self) -> int:
        """The number of the next launch: one that was cut off is not continued, since its processes are gone."""
        return 1 + max((each.launch for seen in self.entries.values() for each in seen.launches), default=-1)

    def complete_launches(self, label: str, ending: Sequence[int] = ()) -> int:
        """Return how many whole launches an entry has behind it, those that are ``ending`` included."""
        seen = self.entries[label]
        return len(({each.launch for each in seen.launches} & {*self.ended, *ending}) - seen.cut)
