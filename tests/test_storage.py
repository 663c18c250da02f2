"""Saved runs as ``samenet.storage`` reads them: files of any kind, copies, and unfinished campaigns."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from impls.workload import Workload
from samenet.environments import ROOT
from samenet.errors import JournalError, StorageError
from samenet.records import State
from samenet.saved import MOST_BYTES
from samenet.storage import as_builtins, read_run, read_storage
from tests.support.saved_runs import case_result, failed, record, run, save

if TYPE_CHECKING:
    from collections.abc import Callable

    from samenet.storage import Run

DEEP = "[" * 100_000 + "]" * 100_000
NAN = math.nan
ROUNDS: list[dict[str, Any]] = record()["rounds"]
# Of a file with 100 MiB in a process that has 32 MiB more than it needs.
LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from samenet.storage import StorageError, read_run, read_storage
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**25, resource.RLIM_INFINITY))
folder = Path(sys.argv[1])
(rejected,) = read_storage(folder).rejected
print(rejected.path, rejected.reason)
try:
    read_run(folder / rejected.path)
except StorageError as error:
    print(error)
"""


def reasons(folder: Path) -> dict[str, str]:
    """Return why files were left out, by their names."""
    return {rejected.path.name: rejected.reason for rejected in read_storage(folder).rejected}


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """A case comes back equal, nulls and unknown ends of an interval included."""
    result = replace(case_result(), efficiency=None, peak_bytes=None)
    back = read_run(save(tmp_path, "one", run(as_builtins(result), failed("torch")))).results
    assert back["numpy-cpu"] == result
    assert back["torch-cpu"].state is State.FAILED
    with pytest.raises(KeyError, match="choose one of: numpy-cpu, torch-cpu"):
        back["jax-cpu"]


def test_a_diverged_case_is_read_with_its_losses(tmp_path: Path) -> None:
    """JSON has no NaN: it is saved as null, and the other cases of the file are still there."""
    diverged = replace(case_result("torch"), state=State.UNVERIFIED, losses=(2.3, math.nan), error_rates={"test": 90.0})
    back = read_run(save(tmp_path, "one", run(record(), as_builtins(diverged)))).results["torch-cpu"]
    assert back.losses[0] == 2.3
    assert math.isnan(back.losses[1])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a JSON file, or is cut short"),
        (b"\xff\xfe\x00", "is not a JSON file, or is cut short"),
        (b'"\xff"', "is not a JSON file, or is cut short"),
        (b'{"a": 1, "a": 2}', "one of these keys is there twice: a"),
        (DEEP.encode(), "is not a JSON file, or is cut short"),
        (b"[]", "is not a JSON file of pytest-benchmark"),
        (b"{}", "was saved by plain pytest-benchmark"),
        (b'{"samenet": {"schema": 3}}', "has schema 3, and this version reads schemas 1 to 2; update samenet"),
        (b'{"samenet": {"schema": 0}}', "has schema 0, and this version reads schemas 1 to 2; measure again"),
        (b'{"samenet": {"schema": 1}}', "does not fit schema 1: "),
        (b'{"samenet": {"schema": 2}}', "does not fit schema 2: "),
    ],
)
def test_a_file_that_is_not_a_run_is_listed_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    """The others are read."""
    save(tmp_path, "good", run(record()))
    (tmp_path / "bad.json").write_bytes(content)
    assert reason in reasons(tmp_path)["bad.json"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"seconds": {"value": 1.0, "low": -0.1, "high": 2.0}}, "the interval -0.1 to 2 does not hold its estimate 1"),
        ({"seconds": {"value": 1.0, "low": 0, "high": 2.0}}, "does not hold its estimate"),
        ({"seconds": {"value": 1.0, "low": 2.0, "high": 3.0}}, "does not hold its estimate"),
        ({"seconds": None}, "numpy-cpu is valid and has no seconds"),
        ({"rounds": []}, "has numpy-cpu as valid without its rounds and launches"),
        ({"workload": {"hidden": 0}}, "hidden is 0"),
        ({"peak_bytes": 10**400}, "an integer has 401 digits"),
        *(({"confidence": odd}, "has intervals at a confidence of") for odd in (0, 1, 2, -1, -0.5, 1 - 2**-53, NAN)),
        *(({"rounds": [*ROUNDS[1:], ROUNDS[0] | {"steps": odd}]}, f"a block of {odd} steps") for odd in (-5, 0)),
        *(
            ({"error_rates": {"validation": odd}}, f"numpy-cpu has for validation an error rate of {odd} %")
            for odd in (-1, 250)
        ),
        *(
            (
                {"curve": [{"updates": 83, "error_percent": odd}]},
                f"the curve has after 83 updates an error rate of {odd} %",
            )
            for odd in (-1, 101)
        ),
        ({"device": 3}, "Expected `str`, got `int` - at `$.cases[0].device`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_figures_that_cannot_be_are_no_figures(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    """The reason names what is wrong and where."""
    save(tmp_path, "good", run(record()))
    save(tmp_path, "bad", run(record() | more))
    assert reason in reasons(tmp_path)["bad.json"]


def test_a_file_that_takes_too_much_memory_is_listed(tmp_path: Path) -> None:
    """Under a limit, as in a container; and one that no campaign can have saved is not read at all."""
    save(tmp_path, "good", run(record()))
    big = tmp_path / "big.json"
    big.write_bytes(b"")
    os.truncate(big, 100 * 2**20)
    command = [sys.executable, "-c", LITTLE_MEMORY, str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    reason = "needs more memory than there is"
    assert said.stdout.splitlines() == [f"big.json {reason}", f"{big} {reason}"], said.stderr
    os.truncate(big, MOST_BYTES + 1)
    assert reasons(tmp_path)["big.json"] == f"has {MOST_BYTES + 1} bytes, and a saved run at most {MOST_BYTES}"


def test_a_case_that_is_there_twice_makes_a_file_unusable(tmp_path: Path) -> None:
    """Nothing says which one counts; under other conditions it is another case, as in a scaling run."""
    save(tmp_path, "bad", run(record(), record("torch"), record("torch", 9.0)))
    save(tmp_path, "good", run(record(), record(workload=Workload(hidden=9))))
    assert reasons(tmp_path) == {"bad.json": "has torch-cpu twice; measure again"}


def test_files_of_any_kind_are_listed(tmp_path: Path) -> None:
    """A pipe is not waited for, and a folder, a socket and a dangling link are no runs."""
    save(tmp_path, "good", run(record()))
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "null.json").symlink_to("/dev/zero")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(os.path.relpath(tmp_path / "socket.json"))  # a socket's path has to be short
    bound.close()
    found = reasons(tmp_path)
    assert found.pop("link.json") == "cannot be read: No such file or directory"
    assert found == dict.fromkeys(["pipe.json", "folder.json", "null.json", "socket.json"], "is not a regular file")


def test_a_link_to_a_folder_is_listed(tmp_path: Path) -> None:
    """Its runs are not read, since it may lead in circles."""
    save(tmp_path, "good", run(record()))
    save(tmp_path.with_name("elsewhere"), "other", run(record(), hours=1))
    (tmp_path / "more").symlink_to(tmp_path.with_name("elsewhere"))
    (tmp_path / os.fsdecode(b"caf\xe9")).symlink_to(".")
    listed = reasons(tmp_path)
    assert sorted(listed) == ["caf\N{REPLACEMENT CHARACTER}", "more"]
    assert set(listed.values()) == {"is a link to a folder; give that one with --storage, or move it here"}


def test_a_name_that_is_not_utf8_is_listed_readably(tmp_path: Path) -> None:
    """No page and no table could be written with it."""
    good = save(tmp_path, "good", run(record()))
    shutil.copy(good, os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))
    assert reasons(tmp_path) == {"caf\N{REPLACEMENT CHARACTER}.json": "has a name that is not UTF-8; rename it"}


def test_foreign_benchmarks_are_left_out(tmp_path: Path) -> None:
    """Another suite may be saved into the same file."""
    content = run(record())
    content["benchmarks"] += [{"name": "theirs", "extra_info": {"size": 3}}, {"name": "bare"}]
    (case,) = read_run(save(tmp_path, "one", content)).results.cases
    assert case.case == "numpy-cpu"


def test_dates_are_in_utc_and_a_missing_commit_has_no_name(tmp_path: Path) -> None:
    """Two time zones share a history; pytest-benchmark writes ``unversioned`` where there is no repository."""
    content = run(record(), commit="unversioned") | {"datetime": "2026-01-01T02:00:00+09:00"}
    found = read_run(save(tmp_path, "one", content))
    assert found.when.isoformat() == "2025-12-31T17:00:00+00:00"
    assert found.commit.id is None
    assert found.commit.label == "no commit"


@pytest.mark.parametrize(
    "change",
    [
        lambda copy: dict(reversed(copy.items())),
        lambda copy: copy | {"datetime": "2026-01-01T09:00:00+09:00"},
        lambda copy: copy | {"datetime": "2026-01-01T00:00:00Z"},
        lambda copy: copy | {"commit_info": copy["commit_info"] | {"branch": "other"}},
        lambda copy: copy | {"benchmarks": [each | {"stats": {"min": 1.5}} for each in copy["benchmarks"]]},
        lambda copy: json.loads(json.dumps(copy).replace("2400.0", "2400")),
        lambda copy: json.loads(json.dumps(copy).replace('"cpus_used": 2', '"cpus_used": 2.0')),
        lambda copy: json.loads(json.dumps(copy).replace('"attempt": 0, ', "").replace('"confidence": 0.95, ', "")),
    ],
    ids=["order", "zone", "Z", "branch", "stats", "integers", "hardware", "defaults"],
)
@pytest.mark.parametrize("campaign", [{}, {"id": "x"}])
def test_a_copy_of_a_run_counts_once(
    tmp_path: Path, campaign: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Also where another program has written it, or pytest-benchmark in other words."""
    content = run(record(), campaign=campaign)
    save(tmp_path, "0001_one", content)
    copied = change(content)
    assert json.dumps(copied) != json.dumps(content)
    save(tmp_path / "z", "0007_copy", copied)
    storage = read_storage(tmp_path)
    assert [len(group.slices) for group in storage.groups] == [1]
    (copy,) = storage.rejected
    assert copy.path == Path("z/Linux-CPython-3.11-64bit/0007_copy.json")
    assert copy.reason == "is a copy of Linux-CPython-3.11-64bit/0001_one.json"


@pytest.mark.parametrize(("early", "late"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("hours", [1, -1])
def test_of_one_campaign_the_state_with_most_rounds_counts(tmp_path: Path, early: str, late: str, hours: int) -> None:
    """An interrupted run that was completed later; in any order of names and dates its raw values are kept."""
    half, whole = record(), record()
    half["rounds"] = half["rounds"][:3]
    save(tmp_path, early, run(half, campaign={"id": "x", "interrupted": True}))
    save(tmp_path, late, run(whole, campaign={"id": "x"}, hours=hours))
    (group,) = (storage := read_storage(tmp_path)).groups
    assert [part.path.stem for part in group.slices] == [late]
    assert len(group.newest.cases[0].rounds) == 5
    (rejected,) = storage.rejected
    assert rejected.path.stem == early
    assert rejected.reason == f"is an earlier state of Linux-CPython-3.11-64bit/{late}.json"


@pytest.mark.parametrize(
    "damaged",
    [
        {"seconds": {"value": 200.0, "low": 199.0, "high": 201.0}},
        {"rounds": [each | {"wall_seconds": 200.0} for each in ROUNDS]},
        {"error_rates": {"validation": 90.0}},
        {"efficiency": {"value": 0.9}},
    ],
    ids=lambda damaged: next(iter(damaged)),
)
@pytest.mark.parametrize("name", ["a", "z"])
def test_a_damaged_copy_hides_no_run(tmp_path: Path, name: str, damaged: dict[str, Any]) -> None:
    """It has the campaign's id, and says something else: nothing shows which one is right."""
    save(tmp_path, "good", run(record(), campaign={"id": "x"}))
    save(tmp_path, name, run(record(**damaged), campaign={"id": "x"}))
    storage = read_storage(tmp_path)
    assert sorted(part.path.stem for part in storage.groups[0].slices) == sorted(["good", name])
    assert not storage.rejected


def test_a_campaign_that_is_saved_in_parts_has_all_of_its_cases(tmp_path: Path) -> None:
    """``--resume -k numpy`` and then ``--resume -k torch``: two files with one id, and a journal of what is left."""
    parts = [record("numpy"), record("torch")]
    for number, case in enumerate(parts):
        save(tmp_path, f"{number}", run(case, hours=number, campaign={"id": "done"}))
    whole = save(tmp_path / "elsewhere", "whole", run(*parts, record("jax"), hours=2))
    (tmp_path / "journal.jsonl").write_text("done")
    storage = read_storage(tmp_path / "Linux-CPython-3.11-64bit")
    assert [[case.case for case in part.cases] for part in storage.groups[0].slices] == [["numpy-cpu"], ["torch-cpu"]]
    whole.rename(tmp_path / "whole")
    storage = read_storage(tmp_path, unfinished=journal(tmp_path / "whole"))
    shown = [[case.case for case in part.cases] for part in storage.groups[0].slices]
    assert shown == [["numpy-cpu"], ["torch-cpu"], ["jax-cpu"]]
    assert not storage.rejected


def test_only_the_newest_run_of_a_group_has_raw_values(tmp_path: Path) -> None:
    """A thousand runs would take gigabytes."""
    for number, hours in enumerate([1, 3, 2]):
        save(tmp_path, str(number), run(record(), hours=hours))
    (group,) = read_storage(tmp_path).groups
    assert [part.path.stem for part in group.slices] == ["0", "2", "1"]
    assert [len(part.cases[0].rounds) for part in group.slices] == [0, 0, 5]
    assert group.newest.cases[0].losses


def journal(saved: Path) -> Callable[[Path], Run]:
    """Return a reader of journals that have the content of run ``saved``; an empty one cannot be read."""

    def read(path: Path) -> Run:
        if not (name := path.read_text()):
            raise JournalError("has no campaign; delete it")
        base = read_run(saved)
        campaign = replace(base.results.campaign, id=name, unfinished=True)
        return replace(base, path=path, results=replace(base.results, campaign=campaign), digest="")

    return read


def test_an_unfinished_campaign_is_shown_until_it_is_saved(tmp_path: Path) -> None:
    """Its journal is read like a run, and passed over once a saved run has its id."""
    saved = save(tmp_path, "one", run(record(), campaign={"id": "done"}))
    folder = tmp_path / "journal"
    folder.mkdir()
    for name, content in (("a", "done"), ("b", "running"), ("c", "")):
        (folder / f"{name}.jsonl").write_text(content)
    assert len(read_storage(tmp_path).groups[0].slices) == 1
    storage = read_storage(tmp_path, unfinished=journal(saved))
    assert [(str(part.path), part.campaign.unfinished) for part in storage.groups[0].slices] == [
        ("Linux-CPython-3.11-64bit/one.json", False),
        ("journal/b.jsonl", True),
    ]
    assert [(str(each.path), each.reason) for each in storage.rejected] == [
        ("journal/c.jsonl", "has no campaign; delete it")
    ]


def test_a_run_that_is_asked_for_by_path_is_named_in_the_error(tmp_path: Path) -> None:
    """``read_run`` is for users, who need to know which file it was."""
    with pytest.raises(StorageError, match=r"nowhere\.json cannot be read: No such file"):
        read_run(tmp_path / "nowhere.json")


def test_records_are_builtins_when_they_are_saved() -> None:
    """NaN and infinity are null, and what was null is absent again after reading."""
    assert as_builtins({"a": math.nan, "b": math.inf, "c": (State.VALID,)}) == {"a": None, "b": None, "c": ["valid"]}
    assert msgspec.json.encode(case_result())
