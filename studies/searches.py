"""A small framework in releases that become slower, start more slowly and take more memory: are these found?"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from samenet import Settings, measure
from samenet.bisection import Question
from samenet.machine.lock import only_campaign
from samenet.package_environments import prune
from samenet.probing import bisect
from samenet.records import Quantity
from studies.wheels import Releases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from studies.options import Options

RELEASES = 16  # to search, as many changed ones as unchanged ones
LOOPS, EXPONENTIALS_PERCENT, BYTES_PERCENT = 300, 6, 2_170_000  # before the first step; for a percent, about
CHANGES = {Quantity.STEADY: 6, Quantity.FIRST_STEP: 15, Quantity.MEMORY: 10}  # percent, in the releases to search
ASKED = {Quantity.STEADY: 5, Quantity.FIRST_STEP: 12, Quantity.MEMORY: 8}  # percent, of the search
PLANTED = {Quantity.STEADY: 2, Quantity.FIRST_STEP: 10, Quantity.MEMORY: 3}  # percent, in those to compare


def publish(releases: Releases, version: str, percent: Mapping[Quantity, int]) -> None:
    """Add a release that takes so many percent more than one without any."""
    releases.publish(
        version,
        exponentials=EXPONENTIALS_PERCENT * percent.get(Quantity.STEADY, 0),
        loops=LOOPS * (100 + percent.get(Quantity.FIRST_STEP, 0)) // 100,
        ballast=BYTES_PERCENT * percent.get(Quantity.MEMORY, 0),
    )


@contextmanager
def wheel_folder() -> Iterator[Releases]:
    """Yield an empty folder of wheels as the only index, with an empty cache, and with the lane of the framework."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="samenet-study-")))
        releases, plugin = Releases(folder / "wheels"), folder / "plugin"
        releases.download_numpy()
        Releases.install_lane(plugin)
        paths = [str(plugin), os.environ.get("PYTHONPATH")]
        variables = {"SAMENET_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        stack.enter_context(patch.dict(os.environ, releases.variables | variables))
        stack.enter_context(patch.object(sys, "path", [str(plugin), *sys.path]))
        yield releases


def searches(options: Options) -> None:
    """Search sixteen releases for each change, and sixteen that are all the same: how often is the answer right?"""
    right: Counter[str] = Counter()
    with wheel_folder() as releases:
        seeds = range(options.seed, options.seed + options.repeats)
        places = {seed: np.random.default_rng(seed).choice(np.arange(1, RELEASES), 3, replace=False) for seed in seeds}
        for seed, changed in places.items():
            for place in range(RELEASES):
                since = zip(CHANGES.items(), changed, strict=True)
                publish(releases, f"{seed}.{place}", {each: more for (each, more), first in since if place >= first})
                publish(releases, f"{seed}.{RELEASES + place}", {})
        for percent, version in ((CHANGES, "999.1"), ({}, "999.0")):
            publish(releases, version, percent)
        print(f"planted: {'; '.join(compare(options, '999.0,999.1', CHANGES, options.seed))}", flush=True)
        for seed, changed in places.items():
            for quantity, place in zip(CHANGES, changed, strict=True):
                sought = f"pacer {seed}.{place} made the "
                for first, beginning in ((0, sought), (RELEASES, "no change of ")):
                    truth = "changed" if beginning is sought else "unchanged"
                    right[f"{quantity}, {truth}"] += _search(options, seed, first, quantity).startswith(beginning)
            print(f"right so far: {dict(right)}", flush=True)
            with only_campaign():
                prune(0)  # each release has an environment with a numpy of its own


def _search(options: Options, seed: int, first: int, quantity: Quantity) -> str:
    """Search, print the answer, and return it."""
    begun = time.perf_counter()
    question = Question(
        package="pacer",
        first=f"{seed}.{first}",
        last=f"{seed}.{first + RELEASES - 1}",
        case="pacer-cpu",
        quantity=quantity,
        change=ASKED[quantity] / 100,
    )
    answer = bisect(question, _settings(options))
    seconds = time.perf_counter() - begun
    print(f"{seconds:4.0f} s, {len(answer.probes)} probes: {'; '.join((answer.sentence, *answer.notes))}", flush=True)
    return answer.sentence


def gates(options: Options) -> None:
    """Compare a release with one in which all three are changed and one without changes: how often is that said?"""
    words: Counter[str] = Counter()
    with wheel_folder() as releases:
        for version, percent in {"1.0": {}, "1.1": PLANTED, "1.2": {}}.items():
            publish(releases, version, percent)
        for seed in range(options.seed, options.seed + options.repeats):
            begun = time.perf_counter()
            found = compare(options, "1.0,1.1,1.2", PLANTED, seed)
            words.update(sentence.partition(" times")[0].rpartition(",")[0] or sentence for sentence in found)
            seconds = time.perf_counter() - begun
            print(f"{seed:3} {seconds:4.0f} s: {'; '.join(found)}", flush=True)
        for sentence, count in sorted(words.items()):
            print(f"{count:3} {sentence}")


def compare(options: Options, versions: str, percent: Mapping[Quantity, int], seed: int) -> list[str]:
    """Return the verdicts on releases, in words, with half of ``percent`` as tolerances."""
    gate = ",".join(f"{quantity}={change / 2:g}" for quantity, change in percent.items())
    settings = replace(_settings(options), versions=f"pacer=={versions}", gate=gate, seed=seed)
    results = measure(["pacer-cpu"], settings)
    return [verdict.sentence for verdict in results.against.verdicts] if results.against else []


def _settings(options: Options) -> Settings:
    return Settings(
        data=options.data, threads=options.threads, iterations=options.iterations, budget_seconds=options.budget
    )
