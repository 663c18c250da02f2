"""The search for the release that changed a case: with made-up measurements, and once with real ones."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from samenet.__main__ import default_case
from samenet.bisection import Probe, Question, Search
from samenet.environments import ROOT
from samenet.errors import SettingsError
from samenet.records import Quantity
from samenet.stats import Estimate
from samenet.versions import releases_between
from tests.support.command_line import kill_at, skip_if_disturbed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from samenet.bisection import Answer
    from studies.wheels import Releases

RELEASES = [f"1.{minor}" for minor in range(16)]
QUESTION = Question(package="pacer", first="1.0", last="1.15", case="pacer-cpu")
ERROR = 0.003  # of the logarithm of a ratio


def estimate(ratio: float, error: float) -> Estimate:
    """Return a ratio with an interval of 2.5 standard errors to each side."""
    return Estimate(ratio, ratio * math.exp(-2.5 * error), ratio * math.exp(2.5 * error))


def search(times: Mapping[str, float], seed: int = 0, error: float = ERROR, question: Question = QUESTION) -> Answer:
    """Search releases that take so many times as long from that one on; others do not install."""
    noise = np.random.default_rng(seed)
    asked: list[str] = []

    def measure(version: str, shift: float) -> Probe:
        assert shift > 0
        asked.append(version)
        if times.get(version) == 0:
            return Probe(version=version, reason="there is no wheel")
        one, other = map(float, np.exp(noise.normal(0, error, 2)))
        present = math.prod(times[each] for each in RELEASES[: RELEASES.index(version) + 1] if times.get(each))
        whole = math.prod(each for each in times.values() if each)
        return Probe(
            version=version,
            over_first=estimate(present * one, error),
            under_last=estimate(whole / present * other, error),
        )

    answer = Search(question, RELEASES, measure).run()
    assert len(set(asked)) == len(asked)
    return answer


@pytest.mark.parametrize("factor", [1.06, 0.94, 1.5])
@pytest.mark.parametrize("place", [1, 7, 15])
def test_a_change_is_found_wherever_it_is(place: int, factor: float) -> None:
    """In five probes of sixteen releases, for each of twenty seeds, whether it became slower or faster."""
    for seed in range(20):
        answer = search({RELEASES[place]: factor}, seed)
        how = "slower" if factor > 1 else "faster"
        assert answer.is_decided
        assert answer.sentence.startswith(f"pacer {RELEASES[place]} made the step of pacer-cpu {how}, "), answer
        assert len(answer.probes) <= 5
        assert not answer.notes


def test_no_change_is_an_answer() -> None:
    """After one probe."""
    for seed in range(20):
        answer = search({}, seed)
        assert answer.is_decided
        assert answer.sentence.startswith("no change of 5 % from 1.0 to 1.15: 1.15 takes ")
        assert len(answer.probes) == 1


def test_a_release_that_cannot_be_installed_is_stepped_over() -> None:
    """And named; if it may be the one, the answer says so."""
    answer = search({"1.7": 0, "1.8": 0, "1.10": 1.2})
    assert answer.sentence.startswith("pacer 1.10 made the step of pacer-cpu slower, ")
    assert answer.notes[0] == "pacer 1.7 was stepped over: there is no wheel"
    answer = search({"1.9": 0, "1.10": 1.2})
    assert answer.sentence.startswith("pacer after 1.8 and by 1.10 made the step of pacer-cpu slower, ")
    assert answer.is_decided


def test_a_second_change_is_reported() -> None:
    """The larger one is followed."""
    answer = search({"1.3": 1.3, "1.12": 1.1})
    assert answer.sentence.startswith("pacer 1.3 made the step of pacer-cpu slower, ")
    assert answer.notes
    assert all(note.startswith("there is more than one change: 1.") for note in answer.notes)


def test_an_interval_with_the_threshold_in_it_decides_nothing() -> None:
    """However long was measured."""
    assert "it cannot be told whether there is a change of 5 %" in search({"1.5": 1.03}, error=0.02).sentence
    half = replace(QUESTION, change=0.2)
    answer = search({"1.4": math.sqrt(1.5), "1.12": math.sqrt(1.5)}, question=half)
    assert "too close to call" in answer.sentence
    assert not answer.is_decided


def test_a_change_that_may_be_as_large_as_asked_is_one() -> None:
    """Its interval, of two intervals, reaches down to less than half of it, but not to none."""
    answers = [search({"1.9": 1.055}, seed, error=0.006) for seed in range(20)]
    named = [answer.sentence.startswith("pacer 1.9 made the step of pacer-cpu slower, ") for answer in answers]
    assert sum(named) >= 14
    assert all(named[place] or not answer.is_decided for place, answer in enumerate(answers))


def test_growth_over_many_releases_is_no_release() -> None:
    """Each adds 1 %, and none what was asked for."""
    for seed in range(20):
        answer = search(dict.fromkeys(RELEASES[1:], 1.01), seed)
        assert not answer.is_decided
        assert "no single release changed it by 5 %" in answer.sentence or "too close to call" in answer.sentence


def test_a_busy_machine_ends_the_search() -> None:
    """It is no property of the release."""

    def measure(version: str, shift: float) -> Probe:
        del shift
        if version == RELEASES[-1]:
            return Probe(version=version, over_first=estimate(1.5, ERROR), under_last=None)
        return Probe(version=version, reason="contended: others had its CPUs", may_change=True)

    answer = Search(QUESTION, RELEASES, measure).run()
    assert not answer.is_decided
    assert answer.sentence == "pacer 1.7 is contended: others had its CPUs; run this again"


def test_memory_becomes_larger() -> None:
    """And not slower."""
    answer = search({"1.5": 1.1}, question=replace(QUESTION, quantity=Quantity.MEMORY))
    assert answer.sentence.startswith("pacer 1.5 made the memory of pacer-cpu larger, 1.")
    assert " times the memory of 1.0" in answer.sentence


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("1.0", "9.9", "the package index has no pacer 9.9 for this Python"),
        ("1.4", "1.0", "1.4 is not older than 1.0; give the older one first"),
        ("1.0", "1.0", "1.0 is not older than 1.0"),
        ("old", "1.0", "Invalid version: 'old'; write a version"),
    ],
)
def test_a_range_that_is_none_is_refused(offline: Releases, first: str, last: str, reason: str) -> None:
    """With what is wrong."""
    assert releases_between("pacer", "1.1", "1.4") == ["1.1", "1.2", "1.3", "1.4"]
    with pytest.raises(SettingsError, match=reason):
        releases_between("pacer", first, last)


def test_a_package_has_a_case() -> None:
    """The plain one on the CPU; every case runs on numpy, so that numpy's own is first."""
    assert default_case("jax") == "jax-cpu"
    assert default_case("Theano_PyMC") == "theano-cpu"
    assert default_case("numpy") == default_case("python") == "numpy-cpu"
    with pytest.raises(SettingsError, match="no case runs on caffe; name one with --case"):
        default_case("caffe")


@pytest.mark.slow
def test_a_real_search_goes_on_after_it_was_killed(offline: Releases, small_mnist: Path, tmp_path: Path) -> None:
    """Memory, which takes a machine that is hardly disturbed; what was measured before is not measured again."""
    asked = ["bisect", "pacer", "1.4", "2.0", "--case", "pacer-cpu", "--of", "memory", "--change", "10%"]
    command = [sys.executable, "-m", "samenet", *asked, "--budget", "2", "--data", str(small_mnist)]
    environment = os.environ | {"PYTHONPATH": str(offline.install_lane(tmp_path / "plugin"))}
    kill_at("measuring pacer 1.5", command, environment)
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    skip_if_disturbed(again.stdout)
    assert again.returncode == 0, again.stderr
    assert "pacer 2.0 was measured before; to measure it again, remove " in again.stdout
    assert "measuring pacer 2.0" not in again.stdout
    assert "measuring pacer 1.5" in again.stdout
    assert again.stdout.splitlines()[-1].startswith("pacer 2.0 made the memory of pacer-cpu larger, 1.")
