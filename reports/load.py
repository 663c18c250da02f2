"""From pytest-benchmark's storage to typed runs, grouped by what may be compared; a bad file hides no other."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError

from bench.records import SCHEMA, CurvePoint, GpuLoad, Launch, State
from impls.workload import Workload  # noqa: TC001  # pydantic reads it
from reports.stats import Estimate

Text = dict[str, str]
# An interval's unknown ends are null in JSON.
Measured = Annotated[
    Estimate, BeforeValidator(lambda saved: Estimate.read(saved) if isinstance(saved, dict) else saved)
]


class StorageError(Exception):
    """There is nothing to report on, with what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Data:
    """The data set that was trained on."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Round:
    """Of one timed round, what a report needs; see ``bench.records.Round``."""

    launch: int
    turn: int
    order: int
    wall_seconds: float
    disturbance: str
    joules: float = 0.0
    gpu: GpuLoad | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """Of a training in epochs: how long it was, when it reached the target, and how often it was taken up again."""

    epochs: int
    target_error_percent: float
    target_seconds: float | None
    resumed: int


@dataclass(frozen=True, slots=True)
class Case:
    """What a run has saved of one case; a valid one has its seconds: the median round and its interval."""

    case: str
    implementation: str
    device: str
    state: State
    reason: str
    protocol: str
    iterations: Annotated[int, Field(ge=1)]
    workload: Workload
    fingerprint: str
    data: Data
    threads: int
    rounds: list[Round]
    launches: list[Launch]
    versions: Text
    thread_pools: list[dict[str, Any]]
    peak_bytes: int
    error_rates: dict[str, float]
    losses: list[float]
    curve: list[CurvePoint] = field(default_factory=list)
    step_flops: float = 0.0
    seconds: Measured | None = None
    efficiency: Measured | None = None
    manifest: Text = field(default_factory=dict)
    training: Training | None = None

    def __post_init__(self) -> None:
        """Refuse figures that are none, and a valid case without its own.

        Raises:
            ValueError: it has no duration, or an estimate is not a positive number.
        """
        for estimate in filter(None, (self.seconds, self.efficiency)):
            if not 0 < estimate.value < float("inf"):
                raise ValueError(f"{self.case} has an estimate of {estimate.value}")
        if self.state is State.VALID and self.seconds is None:
            raise ValueError(f"{self.case} is valid and has no seconds")

    @property
    def clean_seconds(self) -> dict[tuple[int, int], float]:
        """The wall seconds of the rounds that count, keyed by (launch, turn)."""
        return {(each.launch, each.turn): each.wall_seconds for each in self.rounds if not each.disturbance}

    @property
    def joules(self) -> float | None:
        """The median energy of a round: of the case's GPU, or else of the processor; None where nothing told it."""
        found = [each.gpu.joules if each.gpu else each.joules for each in self.rounds if not each.disturbance]
        return median(found) if found and min(found) > 0 else None

    @property
    def timed(self) -> Estimate:
        """The seconds of a valid case."""
        if self.seconds is None:
            raise ValueError(f"{self.case} is {self.state} and has no seconds")
        return self.seconds

    @property
    def complete(self) -> bool:
        """Whether the raw values are there that the tables of a valid case are made of."""
        clean = self.clean_seconds.values()
        return bool(self.launches and clean) and all(0 < seconds < float("inf") for seconds in clean)

    def slim(self) -> Case:
        """Return the case without its raw values: what a history needs of it."""
        return replace(self, rounds=[], launches=[], thread_pools=[], losses=[], curve=[])


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a benchmark that is none of ours has put there; it is left out."""

    case: None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark of pytest-benchmark; everything of ours is in ``extra_info``."""

    extra_info: Annotated[Case | Foreign, Field(union_mode="left_to_right")]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know of the machine; equal fingerprints are equal hardware."""

    hardware: dict[str, Any]
    fingerprint: str
    system: str
    governor: str
    virtualised: bool
    load_average: float
    environment: Text


@dataclass(frozen=True, slots=True)
class Plan:
    """How much the campaign has measured."""

    rounds: int
    launches: int
    seed: int
    interrupted: bool
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The ratio of a case to itself, if there were pairs of rounds to tell it."""

    case: str
    ratio: Measured | None


@dataclass(frozen=True, slots=True)
class Ours:
    """What samenet adds to a run of pytest-benchmark."""

    schema: int
    machine: Machine
    campaign: Plan
    noise_floor: NoiseFloor | None
    cases_without_number: list[Case]


@dataclass(frozen=True, slots=True)
class Commit:
    """The revision that was measured."""

    id: str | None = None
    branch: str | None = None
    dirty: bool | None = None

    @property
    def label(self) -> str:
        """Its first digits, and whether the files differed from it."""
        return f"{(self.id or 'no commit')[:9]}{'+' if self.dirty else ''}"


@dataclass(frozen=True, slots=True)
class Run:
    """One saved file."""

    datetime: AwareDatetime
    commit_info: Commit
    benchmarks: list[Benchmark]
    samenet: Ours | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """Of a run that cannot be read, what may explain it."""

    schema: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The least of a run that any version of samenet has saved."""

    samenet: Schema | None = None


RUN, PROBE = TypeAdapter(Run), TypeAdapter(Probe)
CASE, NOISE_FLOOR = TypeAdapter(Case), TypeAdapter(NoiseFloor)


@dataclass(frozen=True, order=True)
class Conditions:
    """What has to be equal before two numbers may stand in one table."""

    protocol: str
    iterations: int
    workload: str
    precision: str
    data: str
    hardware: str
    threads: int

    def differences(self, other: Conditions) -> str:
        """Name what differs from ``other``."""
        names = [each.name for each in fields(self)]
        return ", ".join(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True)
class Part:
    """The cases of one run that were measured under the same conditions: side by side, so their rounds pair."""

    path: Path
    when: AwareDatetime
    commit: Commit
    machine: Machine
    plan: Plan
    noise_floor: NoiseFloor | None
    cases: tuple[Case, ...]

    def slim(self) -> Part:
        """Return the part without raw values."""
        return replace(self, cases=tuple(case.slim() for case in self.cases))


@dataclass(frozen=True)
class Group:
    """Runs under the same conditions, oldest first; only the newest one has its raw values."""

    conditions: Conditions
    parts: tuple[Part, ...]

    @property
    def newest(self) -> Part:
        """The run that the tables show."""
        return self.parts[-1]


@dataclass(frozen=True)
class Rejected:
    """A file that could not be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Storage:
    """All that was found, the group with the newest run first."""

    groups: tuple[Group, ...]
    rejected: tuple[Rejected, ...]


def storage_folder(text: str) -> Path:
    """Read a folder as pytest-benchmark writes it: a path, or file://path."""
    return Path(text.removeprefix("file://"))


def as_case(record: dict[str, Any]) -> Case:
    """Return a case's record, as it is saved, as a case."""
    return CASE.validate_python(record)


def as_noise_floor(record: dict[str, Any]) -> NoiseFloor:
    """Return a saved noise floor as one."""
    return NOISE_FLOOR.validate_python(record)


def read_run(path: Path) -> dict[Conditions, Part]:
    """Read one saved run.

    Raises:
        StorageError: it is no run that this version can use.
    """
    try:
        text = path.read_bytes()
        run = RUN.validate_json(text)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise StorageError(explain(text, error)) from None
    ours = run.samenet
    if ours is None or ours.schema != SCHEMA:
        raise StorageError(explain(text))
    measured = [each.extra_info for each in run.benchmarks if isinstance(each.extra_info, Case)]
    cases: dict[Conditions, dict[str, Case]] = {}
    for case in [*measured, *ours.cases_without_number]:
        if case.state is State.VALID and not case.complete:
            raise StorageError(f"has {case.case} as valid without its rounds and launches; measure again")
        key = Conditions(
            protocol=case.protocol,
            iterations=case.iterations,
            workload=case.fingerprint,
            precision=case.workload.precision,
            data=case.data.sha256,
            hardware=ours.machine.fingerprint,
            threads=case.threads,
        )
        cases.setdefault(key, {})[case.case] = case
    if not cases:
        raise StorageError("holds no case of samenet; measure with: pytest bench/ --benchmark-autosave")
    about = (path, run.datetime, run.commit_info, ours.machine, ours.campaign, ours.noise_floor)
    return {key: Part(*about, tuple(each.values())) for key, each in cases.items()}


def explain(text: bytes, error: ValidationError | None = None) -> str:
    """Say why a file's ``text`` is no run of ours."""
    try:
        probe = PROBE.validate_json(text).samenet
    except ValidationError as broken:
        first = broken.errors()[0]
        return f"is no JSON of pytest-benchmark, or is cut short: {first['msg']}"
    if probe is None:
        return "was saved by plain pytest-benchmark, without samenet's fields; measure with: pytest bench/"
    if probe.schema != SCHEMA:
        remedy = "update samenet" if (probe.schema or 0) > SCHEMA else "measure again"
        return f"has schema {probe.schema}, and this version reads schema {SCHEMA}; {remedy}"
    if error is None:
        return "cannot be used; measure again"
    first = error.errors()[0]
    return f"does not fit schema {SCHEMA}: {'.'.join(map(str, first['loc']))}: {first['msg']}; measure again"


def insert(parts: list[Part], part: Part) -> None:
    """Put ``part`` where it belongs in time; a thousand runs' raw values are a gigabyte, so only the newest has its."""
    place = bisect_right(parts, part.when, key=lambda each: each.when)
    if place == len(parts):
        parts[-1:] = [each.slim() for each in parts[-1:]]
        parts.append(part)
    else:
        parts.insert(place, part.slim())


def read_storage(folder: Path) -> Storage:
    """Read every saved run below ``folder``.

    Raises:
        StorageError: there is no run that can be used.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise StorageError(f"the storage {folder} {problem}; give the one of pytest-benchmark with --storage")
    found: dict[Conditions, list[Part]] = {}
    rejected = []
    for path in sorted(folder.rglob("*.json")):
        try:
            parts = read_run(path)
        except StorageError as error:
            rejected.append(Rejected(path.relative_to(folder), str(error)))
            continue
        for key, part in parts.items():
            insert(found.setdefault(key, []), replace(part, path=path.relative_to(folder)))
    if not found:
        reasons = "".join(f"\n  {each.path} {each.reason}" for each in rejected)
        raise StorageError(
            f"no run can be used of {len(rejected)} files in {folder};"
            f" measure with: pytest bench/ --benchmark-autosave{reasons}"
        )
    groups = (Group(key, tuple(parts)) for key, parts in found.items())
    return Storage(tuple(sorted(groups, key=lambda group: group.newest.when, reverse=True)), tuple(rejected))
