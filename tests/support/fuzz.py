"""Puts mutated saved runs next to good ones and builds every report of them: ``python -m tests.support.fuzz 20000``.

The good runs have to come out of each folder as they do without the mutated ones.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import math
import os
import re
import resource
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from reports.__main__ import BUG, main
from samenet.storage import read_storage
from tests.support.mutations import mutate, originals
from tests.support.saved_runs import record, run, save

GOOD = 12  # runs in each folder, which have a history and are compared
SPECIAL = 50  # one file in so many is no regular file, or has an odd name
KINDS = {
    "is not JSON, or is cut short": r"is not a JSON file, or is cut short: (?!an integer|one of these|\S+ is there)",
    "has a number that no field holds": r"is not a JSON file, or is cut short: (an integer|\S+ is there)",
    "has a key twice": r"is not a JSON file, or is cut short: one of these",
    "is JSON of another kind": r"is not a JSON file of pytest-benchmark|was saved by plain",
    "has another schema": r"has schema",
    "does not fit its schema": r"does not fit schema",
    "has no case, or a case without its rounds": r"holds no case|as valid without",
    "has a case twice": r"has \S+ twice",
    "is a copy, or an earlier state of a run": r"is a copy of|is an earlier state of",
    "is a link to a folder": r"is a link to a folder",
    "is no regular file, or has a name that is not UTF-8": r"is not a regular file|cannot be read|not UTF-8",
}


class FuzzError(Exception):
    """A mutated run did what it must not do."""


@dataclass
class Tally:
    """How many mutated runs were shown and left out, and why."""

    shown: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """The counts as lines."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines = [f"{count:7,} {kind}" for kind, count in self.reasons.most_common()]
        lines += [f"warning, {count} times: {text}" for text, count in self.warnings.most_common()]
        left = sum(self.reasons.values())
        return "\n".join([f"{self.shown:,} shown, {left:,} left out:", *lines, f"peak memory: {peak:.0f} MiB"])


def save_good(folder: Path) -> list[Path]:
    """Save the good runs: of a case that no mutated run has, and with noise of half a percent."""
    rng = np.random.default_rng(0)
    saved = []
    for number in range(GOOD):
        seconds = 2 * math.exp(0.005 * rng.standard_normal())
        saved.append(save(folder, f"good{number:02}", run(record("good", seconds, losses=[], curve=[]), hours=number)))
    return saved


def save_mutated(folder: Path, count: int, random: Random, sources: list[bytes]) -> None:
    """Write so many mutated runs into ``folder``, some of them where or what no file should be."""
    for number in range(count):
        path = folder / f"odd{number:05}.json"
        if random.randrange(SPECIAL):
            path.write_bytes(mutate(random, sources))
            continue
        match random.randrange(4):
            case 0:
                os.mkfifo(path)
            case 1:
                path.mkdir()
            case 2:
                path.symlink_to(random.choice(("nowhere", "/dev/zero", ".", path.name)))
            case _:
                Path(os.fsdecode(os.fsencode(folder) + b"/odd\xff%05d.json" % number)).write_bytes(
                    random.choice(sources)
                )


def reports_on(folder: Path, out: Path, good: list[Path]) -> list[object]:
    """Return what the three commands say of the good runs of ``folder``.

    Raises:
        FuzzError: a command failed.
    """
    commands: dict[str, list[str]] = {name: ["--out", str(out / name)] for name in ("build", "history")}
    for name, options in commands.items():
        run_command([name, "--storage", str(folder), *options], {0})
    texts = run_command(["compare", str(good[-2]), str(good[-1]), "--storage", str(folder), "--format", "json"], {0, 1})
    with (out / "history/csv/levels.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["case"] == "good-cpu"]
    # A date has as many digits as the longest in its column, and a group a number among all groups.
    levels = [{name: text for name, text in row.items() if not name.endswith(("since", "group"))} for row in rows]
    return [json.loads(texts)["verdicts"], levels]


def run_command(arguments: list[str], allowed: set[int]) -> str:
    """Run a command in this process and return what it printed.

    Raises:
        FuzzError: it returned a code that is not ``allowed``.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    if code not in allowed:
        what = "a traceback" if code == BUG else f"exit code {code}"
        raise FuzzError(f"{what} from {' '.join(arguments)}:\n{err.getvalue()}")
    return out.getvalue()


def check_folder(folder: Path, out: Path, expected: list[object], good: list[Path], tally: Tally) -> None:
    """Build every report of ``folder`` and count what became of its mutated runs.

    Raises:
        FuzzError: a command failed, a good run is missing, or is not as ``expected``.
    """
    storage = read_storage(folder)
    shown = {folder / part.path for group in storage.groups for part in group.slices}
    if missing := set(good) - shown:
        raise FuzzError(f"good runs are hidden: {sorted(missing)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said = reports_on(folder, out, good)
    if said != expected:
        raise FuzzError(f"the good runs of {folder} changed from {expected} to {said}")
    tally.shown += len(shown) - len(good)
    tally.reasons.update(kind_of(file.reason) for file in storage.rejected)
    tally.warnings.update(f"{warning.category.__name__}: {warning.message}"[:120] for warning in caught)


def kind_of(reason: str) -> str:
    """Return what kind of reason it is."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, reason)), reason)


def fuzz(count: int, size: int, seed: int, root: Path) -> Tally:
    """Check so many mutated runs, in folders of ``size`` below ``root``; a folder that fails is kept.

    Raises:
        FuzzError: one of them did what it must not do.
    """
    sources, tally = originals(), Tally()
    expected = None
    for number in range(0, count, size):
        folder, out = root / f"{number:06}", root / "out"
        good = save_good(folder)
        expected = expected or reports_on(folder, out, good)
        save_mutated(folder, min(size, count - number), Random(f"{seed} {number}"), sources)  # noqa: S311
        check_folder(folder, out, expected, good, tally)
        remove(folder)
    return tally


def remove(folder: Path) -> None:
    """Delete the files of a folder and the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzz", description=__doc__)
    parser.add_argument("count", type=int, help="mutated runs")
    parser.add_argument("--folder", type=int, default=100, metavar="RUNS", help="mutated runs in one folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix="samenet-fuzz-"))
    sys.stdout.write(fuzz(options.count, options.folder, options.seed, where).text + "\n")
