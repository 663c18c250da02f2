"""The journal: what was measured survives the death of the harness, and a campaign continues from it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from impls.workload import initial_params
from samenet.assembly import read_unfinished
from samenet.campaign import Campaign
from samenet.environments import ROOT
from samenet.errors import JournalError
from samenet.events import LaunchEnded, Lost
from samenet.journal import Journal, find, read
from samenet.plan import Block
from samenet.progress import NullProgress
from samenet.records import State
from samenet.storage import read_storage
from tests.support.campaigns import WORKLOAD, campaign, entries, header, plan, timed
from tests.support.command_line import Bench, records

if TYPE_CHECKING:
    from samenet.events import Timed
    from samenet.results import CaseResult

MANY = ("-k", "numpy-cpu", "--launches", "2", "--rounds", "30", "--benchmark-save=one")


def rounds(path: Path) -> list[Timed]:
    """Return every round in a journal, in the order in which they were measured."""
    _, log, _ = read(path)
    return sorted((each for seen in log.entries.values() for each in seen.timed), key=lambda each: each.round.order)


def kill(bench: Bench, *options: str, after: int) -> Path:
    """Start a campaign, kill its harness once so many lines are in its journal, and return the journal."""
    with subprocess.Popen(
        bench.command(*MANY, *options),
        cwd=ROOT,
        env=bench.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while True:
            lines = [path.read_bytes().count(b"\n") for path in (bench.storage / "journal").glob("*.jsonl")]
            if lines and lines[0] >= after:
                break
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (path,) = (bench.storage / "journal").glob("*.jsonl")
    return path


def test_kills_at_random_moments_lose_no_round_and_the_rest_is_measured(bench: Bench, tmp_path: Path) -> None:
    """Each time every round stays and the report shows the unfinished campaign; in the end it is saved whole."""
    draw = random.Random(os.urandom(8))  # noqa: S311  # not a secret
    before: list[Timed] = []
    for number in range(3):
        path = kill(bench, *(["--resume"] if number else []), after=len(before) + draw.randint(12, 60))
        after = rounds(path)
        assert after[: len(before)] == before
        before = after
        (group,) = read_storage(tmp_path, read_unfinished).groups
        assert group.newest.campaign.unfinished
    result = bench(*MANY, "--resume")
    assert "continuing the unfinished campaign in" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    saved = records(tmp_path)["numpy-cpu"]
    orders = [each.round.order for each in before if each.label == "numpy-cpu"]
    assert [each["order"] for each in saved["rounds"]][: len(orders)] == orders
    launches = {each["launch"] for each in saved["rounds"]}
    most = max(len(turns(saved, launch)) for launch in launches)
    assert most >= 30
    assert sum(turns(saved, launch) == set(range(most)) for launch in launches) == 2
    assert not list((tmp_path / "journal").iterdir())


def turns(saved: dict[str, list[dict[str, int]]], launch: int) -> set[int]:
    """Return the turns of a launch."""
    return {each["turn"] for each in saved["rounds"] if each["launch"] == launch}


def test_without_resume_an_unfinished_campaign_is_left_alone(bench: Bench) -> None:
    """A new one begins, says how to continue the other one, and removes its own journal alone."""
    path = kill(bench, after=15)
    before = path.read_bytes()
    result = bench(*MANY)
    assert f"--resume continues the unfinished campaign in {path}" in result.stdout
    assert path.read_bytes() == before


def test_there_is_nothing_to_resume_for_another_workload(bench: Bench) -> None:
    """The message says what has to be the same."""
    kill(bench, after=15)
    result = bench(*MANY, "--resume", "--workload", "hidden=30,batch_size=100")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "has no unfinished campaign with these settings, machine and code; leave --resume out" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_ends_the_journal_and_not_the_campaign(tmp_path: Path) -> None:
    """What is measured from then on is in memory, and the reason is kept."""
    measured = campaign(plan(rounds=3), entries("a"), tmp_path)
    assert measured.journal.path
    measured.journal.path.unlink()
    measured.journal.path.symlink_to("/dev/full")
    result = measured.run()["a"]
    assert len({each.turn for each in result.rounds}) == 3
    assert "No space left on device" in measured.journal.broken


def test_a_line_that_a_full_disk_has_cut_is_taken_back(tmp_path: Path) -> None:
    """A short write raises nothing; what is written later must not be appended to it."""
    journal = Journal.create(tmp_path, header(plan()))
    path = journal.path
    assert path
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, hard))
    try:
        journal.write(timed(1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.broken
    assert path.read_bytes() == whole


def test_a_journal_that_cannot_be_written_costs_no_measurement(tmp_path: Path) -> None:
    """Its reason is kept, and the events are in memory."""
    (tmp_path / "file").touch()
    journal = Journal.create(tmp_path / "file", header(plan()))
    assert "cannot write" in journal.broken
    journal.write(LaunchEnded(launch=0))
    assert journal.log.ended == [0]


def test_what_another_selection_has_measured_stays(tmp_path: Path) -> None:
    """A session that saves one case removes it from the journal, and leaves the other one to be continued."""
    measured = campaign(plan(), entries("a", "b"), tmp_path)
    measured.run()
    measured.journal.release({"a"})
    assert measured.journal.path
    _, log, _ = read(measured.journal.path)
    assert set(log.entries) == {"b"}
    measured.journal.release({"b"})
    assert not list(tmp_path.iterdir())


def test_a_training_without_its_weights_starts_again(tmp_path: Path) -> None:
    """It never continues from other weights: a missing or damaged file costs the blocks, not the result."""
    blocks = tuple(Block(name="block", steps=20, first=first) for first in (0, 20, 40))
    training = plan(iterations=60, blocks=blocks, rounds=3)
    about = replace(header(training), epochs=6, target_error_percent=1.0)

    def train(journal: Journal, rounds: int) -> CaseResult:
        cut = replace(training, rounds=rounds)
        return Campaign(plan=cut, entries=entries("a"), journal=journal, progress=NullProgress()).run()["a"]

    whole = train(Journal(None, about), 3)
    for damage in (Path.unlink, lambda path: path.write_bytes(b"PK")):
        journal = Journal.create(tmp_path, about)
        train(journal, 2)
        (weights,) = tmp_path.glob("*.npz")
        damage(weights)
        assert journal.path
        lines = journal.path.read_bytes().splitlines(keepends=True)
        journal.path.write_bytes(b"".join(each for each in lines if not each.startswith(b'["launchended"')))
        again = train(Journal.reopen(journal.path, about), 3)
        assert [point.error_percent for point in again.curve] == [point.error_percent for point in whole.curve]
        journal.release({"a"})


def test_a_run_that_cannot_be_saved_is_kept_in_its_journal(bench: Bench, tmp_path: Path) -> None:
    """The table is printed, the exit code says so, and a rerun saves without measuring again.

    A limit for the size of a file stands for a full disk: the saved run is several times as large as the journal.
    """
    options = ("-k", "numpy-cpu", "--launches", "1", "--rounds", "1", "--benchmark-save=one")
    limited = ["bash", "-c", 'ulimit -f 16 && exec "$@"', "bash", *bench.command(*options)]
    environment = bench.environment(PYTHONDONTWRITEBYTECODE="1")
    environment.pop("TMPDIR", None)  # a folder that is named has to have room for a file
    result = subprocess.run(
        limited, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    (path,) = (tmp_path / "journal").iterdir()
    assert result.returncode == pytest.ExitCode.USAGE_ERROR, result.stdout
    assert "the run could not be saved: File too large; its rounds are in " in result.stdout
    assert "book, Theano, CPU" in result.stdout
    before = [each.round.wall_seconds for each in rounds(path) if each.label == "numpy-cpu"]
    for broken in tmp_path.rglob("*.json"):
        broken.unlink()
    again = bench(*options, "--resume")
    assert again.returncode == 0, again.stdout
    assert [each["wall_seconds"] for each in records(tmp_path)["numpy-cpu"]["rounds"]] == before


def test_a_line_that_was_cut_off_is_dropped_and_a_damaged_one_is_reported(tmp_path: Path) -> None:
    """The end of a file may be missing after a power cut; its middle may not."""
    journal = Journal.create(tmp_path, header(plan()))
    path = journal.path
    assert path
    for turn in range(2):
        journal.write(replace(timed(1.0, turn=turn), label="numpy-cpu"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    reopened = Journal.reopen(path, header(plan()))
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:-1])
    reopened.write(LaunchEnded(launch=0))
    assert read(path)[1].ended == [0]
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[0] + b'["timed", {}]\n' + lines[2])
    with pytest.raises(JournalError, match="is damaged in line 2"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[]\n", b'["header", {}]\n', b'["timed", {}]\n', b"\xff\n", b"[" * 5000]
)
def test_a_file_that_is_not_a_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """One sentence that names it, and a report shows the other runs."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="does not begin as a journal"):
        read_unfinished(path)
    assert find(tmp_path, "a key") is None


def test_another_version_of_a_framework_starts_the_case_again(tmp_path: Path) -> None:
    """Its former rounds do not count; those of the other cases do."""
    first = campaign(plan(launches=1), entries("a", "b"), tmp_path)
    first.run()
    path = first.journal.path
    assert path
    text = path.read_text()
    versions = json.dumps(first.journal.log.entries["a"].versions, separators=(",", ":"))
    lines = [
        line.replace(versions, '{"numpy":"0.1"}') if line.startswith('["joined",{"label":"a"') else line
        for line in text.splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    second = campaign(plan(launches=2), entries("a", "b"), None)
    second.journal = Journal.reopen(path, header(plan(launches=2)))
    results = second.run()
    assert {each.launch for each in results["a"].launches} == {1, 2}
    assert {each.launch for each in results["b"].launches} == {0, 1}


def test_error_rates_that_a_kill_prevented_are_computed_when_it_is_resumed(tmp_path: Path) -> None:
    """All rounds are there, and one more launch computes what the network has learned."""
    first = campaign(plan(launches=1), entries("a", "b"), tmp_path)
    before = first.run()
    path = first.journal.path
    assert path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith('["learned",{"label":"a"')))
    assert not read_unfinished(path).results["a"].error_rates
    second = campaign(plan(launches=1), entries("a", "b"), None)
    second.journal = Journal.reopen(path, header(plan(launches=1)))
    results = second.run()
    assert results["a"].error_rates == before["a"].error_rates
    assert [len(results[label].launches) for label in "ab"] == [2, 1]


def test_what_had_failed_is_tried_again(tmp_path: Path) -> None:
    """A worker that was killed costs the case its number in that campaign, and not in the one that continues it."""
    first = campaign(plan(launches=1), entries("a", "b"), tmp_path)
    first.run()
    first.journal.write(Lost(label="a", state=State.FAILED, reason="killed"))
    assert first.journal.path
    assert read_unfinished(first.journal.path).results["a"].state is State.FAILED
    second = campaign(plan(launches=2), entries("a", "b"), None)
    second.journal = Journal.reopen(first.journal.path, header(plan(launches=2)))
    assert second.run()["a"].state is not State.FAILED


def test_weights_are_kept_until_the_next_ones_are(tmp_path: Path) -> None:
    """Those of the last block are read back bit for bit, older ones are removed."""
    journal = Journal.create(tmp_path, header(plan()))
    weights = initial_params(WORKLOAD)
    for updates in (1000, 2000):
        journal.save_weights("a", updates, weights)
        journal.forget_weights("a", but=updates)
    assert journal.load_weights("a", 1000) is None
    loaded = journal.load_weights("a", 2000)
    assert loaded
    for own, given in zip(loaded, weights, strict=True):
        np.testing.assert_array_equal(own, given, strict=True)
    journal.release(())
    assert not list(tmp_path.iterdir())
