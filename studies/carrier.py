"""A campaign by hand and the same one as a task of a fleet, in turn: does it matter who carries it?"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from samenet import read_run, stats
from samenet.environments import ROOT, tox_folder
from studies.laboratory import StudyError
from studies.pytest_runs import select

if TYPE_CHECKING:
    from studies.options import Options


def carrier(options: Options) -> None:
    """Run a campaign of one case by hand and through Dask on this machine: what is the ratio of its times?

    Each repeat has one of each, in alternating order, and Dask is there for its own alone.
    """
    logs: list[float] = []
    for repeat in range(options.seed, options.seed + options.repeats):
        with TemporaryDirectory(prefix="samenet-study-") as folder:
            first, second = (True, False) if repeat % 2 else (False, True)
            seconds = {by_fleet: measure(options, Path(folder), repeat, by_fleet) for by_fleet in (first, second)}
        logs.append(math.log(seconds[True] / seconds[False]))
        print(f"{repeat:3} {math.exp(logs[-1]):.4f}", flush=True)
    print(f"as a task, over by hand: {stats.geometric_mean(logs).text()}")


def measure(options: Options, folder: Path, seed: int, by_fleet: bool) -> float:  # noqa: FBT001  # one of the two
    """Return the time (s) of the case in a campaign of its own.

    Raises:
        StudyError: it has no number.
    """
    arguments = [*select([options.case]), "--seed", str(seed), "--launches", str(options.launches)]
    arguments += ["--rounds", str(options.rounds), "--iterations", str(options.iterations)]
    arguments += ["--data", str(options.data)] if options.data else []
    arguments += ["--threads", str(options.threads)] if options.threads else []
    storage, fleet = folder / ("fleet" if by_fleet else "hand"), folder / "fleet.yml"
    fleet.write_text(f"python: {sys.executable}\n")
    command = [sys.executable, "-m", "samenet", "fleet", "run", str(fleet), "--storage", str(storage), "--", *arguments]
    if not by_fleet:
        saved = [f"--benchmark-storage={storage}", "--benchmark-save=hand"]
        command = [sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider", *arguments, *saved]
    environment = os.environ | {"TOX_WORK_DIR": str(tox_folder(ROOT)), "SAMENET_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    for path in storage.rglob("*.json"):
        if timed := read_run(path).results[f"{options.case}-cpu"].seconds:
            return timed.value
    raise StudyError(f"{options.case} has no number; its campaign printed:\n{done.stdout}{done.stderr}")
