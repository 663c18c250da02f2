"""One saved run: a file of pytest-benchmark with samenet's fields, as typed results."""

from __future__ import annotations

import json
import math
import stat
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from samenet.conditions import conditions
from samenet.copies import digest
from samenet.errors import StorageError
from samenet.records import State
from samenet.results import SCHEMA, Results
from samenet.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_BYTES = 2**27  # of one file: a campaign of a day has some megabytes
NO_MEMORY = "needs more memory than there is"
MOST_DIGITS = 19  # of an integer: no table or picture has room for 10**400, nor has numpy
LARGEST = 1e40  # of a number: float32 ends before it, and tables and pictures can multiply a few of them
YEARS = range(1970, 2262)  # of a date, as pandas and matplotlib can hold them
BROKEN = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Commit:
    """The revision that was measured; without an ``id`` it is not known."""

    id: str | None = None
    branch: str | None = None
    dirty: bool | None = None

    @property
    def label(self) -> str:
        """Its first digits, and a plus where the files differed from it."""
        return f"{self.id[:9]}{'+' if self.dirty else ''}" if self.id else "no commit"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One campaign as it was saved, or as the journal of an unfinished one has it; ``when`` is in UTC.

    ``digest`` is that of the date, the commit and the results, however they are written.
    """

    path: Path
    when: datetime
    commit: Commit
    results: Results
    digest: str = ""

    @property
    def identity(self) -> str:
        """What copies of the file have in common, whatever they are called."""
        return f"{self.results.campaign.id} {self.digest}"

    @property
    def origin(self) -> str:
        """What all files of one campaign have in common, such as an interrupted one and the completed one."""
        return self.results.campaign.id or self.digest


def as_builtins(record: Any) -> Any:  # noqa: ANN401  # whatever is saved, and what JSON has for it
    """Return ``record`` as it is saved: in builtin types, with null for NaN and for infinity."""
    # By asdict, since msgspec leaves out what it has not read: a default that no file had.
    return msgspec.json.decode(
        msgspec.json.encode(asdict(record) if is_dataclass(record) and not isinstance(record, type) else record)
    )


def campaign_section(results: Results) -> dict[str, Any]:
    """Return what a saved run has besides its benchmarks: all of the results but the valid cases."""
    made: dict[str, Any] = as_builtins(replace(results, cases=()))
    del made["cases"]
    without = [as_builtins(case) for case in results.cases if case.state is not State.VALID]
    return made | {"cases_without_number": without}


def write_run(path: Path, results: Results, commit: Commit) -> None:
    """Save ``results``, which were measured now at ``commit``, as a run that ``read_run`` and reports can read.

    Raises:
        OSError: the file cannot be written.
    """
    valid = [case for case in results.cases if case.state is State.VALID]
    content = {
        "datetime": datetime.now(UTC).isoformat(),
        "commit_info": asdict(commit),
        "samenet": campaign_section(results),
        "benchmarks": [{"name": case.case, "extra_info": as_builtins(case)} for case in valid],
    }
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content, indent=4), encoding="utf-8")
    unfinished.replace(path)


def read_run(path: Path) -> Run:
    """Read one saved run.

    Raises:
        StorageError: it is not a run that this version can use; the message names the file.
    """
    try:
        return read_saved(path)
    except StorageError as error:
        raise StorageError(f"{path} {error}") from None
    except MemoryError:
        raise StorageError(f"{path} {NO_MEMORY}") from None


def read_saved(path: Path) -> Run:
    """Read one saved run, as ``read_run`` does; the error's message is about the file and does not name it."""
    content = _parse(path)
    section = content.get("samenet")
    if not isinstance(section, dict):
        raise StorageError("was saved by plain pytest-benchmark, without samenet's fields; measure with: pytest bench/")
    schema = section.get("schema")
    try:
        if schema == 1:
            content = upgrade(content)
        elif schema != SCHEMA:
            raise _other_schema(schema)
        when = msgspec.convert(content.get("datetime"), Annotated[datetime, msgspec.Meta(tz=True)]).astimezone(UTC)
        if when.year not in YEARS:
            raise ValueError(f"it was saved in the year {when.year}")
        results = msgspec.convert(_results(content), Results)
        commit = _commit(content)
        run = Run(path=path, when=when, commit=commit, results=results, digest=digest([when, commit.id, results]))
    except BROKEN as error:
        raise StorageError(f"does not fit schema {_number(schema)}: {_brief(error)}; measure again") from None
    _check(results)
    return run


def _parse(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, without what is null."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for
            raise StorageError("is not a regular file")
        if about.st_size > MOST_BYTES:
            raise StorageError(f"has {about.st_size} bytes, and a saved run at most {MOST_BYTES}")
        content: object = loads(path.read_bytes())
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise StorageError(f"is not a JSON file, or is cut short: {_brief(error)}") from None
    if not isinstance(content, dict):
        raise StorageError("is not a JSON file of pytest-benchmark")
    return content


def loads(text: bytes) -> Any:  # noqa: ANN401  # any JSON
    """Return what ``text`` holds, without what is null.

    Raises:
        ValueError, RecursionError: it is not JSON, or has integers that no field holds.
    """
    return json.loads(text, object_pairs_hook=_known, parse_int=_integer, parse_float=_real, parse_constant=_constant)


def _known(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's entries without those that are null: they are unknown, and have defaults."""
    if len(names := {name for name, _ in pairs}) < len(pairs):
        raise ValueError(f"one of these keys is there twice: {', '.join(sorted(names))}")
    return {name: _numbers(value) for name, value in pairs if value is not None}


def _numbers(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return a list's nulls as the NaN that they were; anything else as it is."""
    if isinstance(value, list) and None in value:
        return [math.nan if number is None else number for number in value]
    return value


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits, and the most are {MOST_DIGITS}")
    return int(digits)


def _real(text: str) -> float:
    number = float(text)
    if math.fabs(number) > LARGEST:
        raise ValueError(f"{number:g} is there, and no number of a saved run is larger than {LARGEST:g}")
    return number if math.fabs(number) > 1 / LARGEST else 0.0


def _constant(_: str) -> float:
    """Return what is saved of NaN and Infinity, which other programs write: neither is a measurement."""
    return math.nan


def _brief(error: BaseException) -> str:
    """Return an error's message on one line: what it quotes may be of any length."""
    return shorten(str(error) or type(error).__name__, 200, placeholder=" ...")


def _number(schema: object) -> str:
    return f"{schema:d}" if isinstance(schema, int) else "unknown"


def _other_schema(schema: object) -> StorageError:
    remedy = "update samenet" if isinstance(schema, int) and schema > SCHEMA else "measure again"
    return StorageError(f"has schema {_number(schema)}, and this version reads schemas 1 to {SCHEMA}; {remedy}")


def _results(content: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the results; the benchmarks of other suites are left out."""
    section = content["samenet"]
    benchmarks = content.get("benchmarks", [])
    measured = [benchmark["extra_info"] for benchmark in benchmarks if "case" in benchmark.get("extra_info", {})]
    cases = [*measured, *section.get("cases_without_number", [])]
    return {**section, "cases": cases}


def _commit(content: dict[str, Any]) -> Commit:
    commit = msgspec.convert(content.get("commit_info", {}), Commit)
    # What pytest-benchmark writes where there is no repository.
    (commit.branch or "").encode()  # fails for a lone surrogate, which no page can have, as the digest of the rest does
    return replace(commit, id=None) if commit.id in {"", "unversioned", "unknown"} else commit


def _check(results: Results) -> None:
    """Refuse results that no table can be made of."""
    if not results.cases:
        raise StorageError("holds no case of samenet; measure with: pytest bench/ --benchmark-autosave")
    seen = set()
    for case in results.cases:
        if (key := (case.case, conditions(case, results.machine))) in seen:
            raise StorageError(f"has {case.case} twice; measure again")
        seen.add(key)
        if case.state is State.VALID and not (case.launches and case.clean_seconds):
            raise StorageError(f"has {case.case} as valid without its rounds and launches; measure again")
