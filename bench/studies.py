"""The evidence behind the method: campaigns repeated, to see how far their answers can be trusted.

``python -m bench.studies same``, ``spread`` and ``against``; docs/method.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench import data, machine
from bench.campaign import Campaign, Entry, Plan
from bench.environments import ROOT, find_interpreter
from bench.progress import Silent
from bench.records import State
from bench.reference import Reference
from bench.revision import check_out, git
from impls.registry import IMPLEMENTATIONS, Case
from impls.workload import Workload, initial_params
from reports import stats, tables
from reports.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BASELINE = "numpy-cpu"
PLAIN_LANES = ("numpy", "torch", "jax", "theano")
CALIBRATION_ROUNDS, INTERPOLATIONS = 25, 2


class Plant(NamedTuple):
    """Where an implementation's step can be made slower: ``extra`` repeats its forward pass on some rows."""

    file: str
    after: str
    extra: str


PLANTS = {
    "numpy": Plant(
        "impls/numpy_mlp.py",
        "    hidden, backward = hidden_layer(x, *first)\n",
        "    hidden_layer(x[:{rows}], *first)\n",
    ),
    "torch": Plant(
        "impls/torch_mlp.py",
        "        self._optimizer.zero_grad()\n",
        "        self._model(self._images[k][:{rows}])\n",
    ),
}


class Study:
    """One workload on one machine, whose campaigns differ in nothing but the order of their rounds."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load the data and compute the reference, once for all campaigns."""
        self._options = options
        self._dataset = data.load(options.data)
        self._workload = Workload(data=self._dataset.sha256)
        self._reference = Reference(self._workload, self._dataset.train, initial_params(self._workload))

    def campaign(self, entries: list[Entry], seed: int) -> Campaign:
        """Measure ``entries`` side by side."""
        options = self._options
        plan = Plan(
            self._workload,
            self._dataset,
            machine.choose_cpus(options.threads),
            iterations=options.iterations,
            rounds=options.rounds,
            launches=options.launches,
            seed=options.seed + seed,
        )
        campaign = Campaign(plan, entries, Silent(), reference=self._reference)
        with machine.only_campaign():
            campaign.run()
        return campaign


def entry(name: str, label: str = "") -> Entry:
    """Return the implementation called ``name`` on the CPU, entered under ``label``."""
    implementation = next(each for each in IMPLEMENTATIONS if each.name == name)
    case = Case(implementation, "cpu")
    return Entry(label or case.id, case, find_interpreter(implementation, {}, ROOT), ROOT)


def same(options: argparse.Namespace) -> None:
    """Enter one implementation twice, again and again: how often does the interval of the ratio hold 1.00?"""
    study, held, widths = Study(options), 0, []
    for repeat in range(options.repeats):
        campaign = study.campaign([entry(options.case, "a"), entry(options.case, "b")], repeat)
        a, b = (campaign.records[label] for label in "ab")
        ratio = stats.paired_ratio(a.clean_seconds, b.clean_seconds)
        if ratio is None or not a.state is b.state is State.VALID:
            print(f"{repeat + 1:3} {a.state} {a.reason or b.reason}", flush=True)
            continue
        held += ratio.low <= 1 <= ratio.high
        widths.append(ratio.half_width)
        print(f"{repeat + 1:3} {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})", flush=True)
    if widths:
        print(
            f"1.00 is held by {held} of {len(widths)} intervals; their half width is {100 * np.median(widths):.2f} %"
            f" in the median, {100 * max(widths):.2f} % at most"
        )


def select(names: Sequence[str]) -> str:
    """Return what pytest's ``-k`` takes to select the implementations called ``names``, and no other."""
    return " or ".join(f"[{name}-cpu]" for name in names)


def pytest(folder: Path, *arguments: str, options: argparse.Namespace) -> subprocess.CompletedProcess[str]:
    """Run pytest in the tree ``folder``, with this one's environments, data and number of threads."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    command += ["--iterations", str(options.iterations)]
    command += ["--data", str(options.data)] if options.data else []
    command += ["--threads", str(options.threads)] if options.threads else []
    environment = {"TOX_WORK_DIR": str(ROOT / ".tox")} | os.environ
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def plain_speedups(options: argparse.Namespace, names: Sequence[str]) -> dict[str, float]:
    """Return the speedups that plain pytest-benchmark gives: ratios of medians of cases timed one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "plain.json"
        rounds = str(options.rounds * options.launches)
        done = pytest(
            *(ROOT, "bench/plain.py", "-k", select(names), "--rounds", rounds, f"--benchmark-json={saved}"),
            options=options,
        )
        done.check_returncode()
        run = json.loads(saved.read_text())
    medians = {each["param"]: each["stats"]["median"] for each in run["benchmarks"]}
    return {case: medians[BASELINE] / seconds for case, seconds in medians.items()}


def spread(options: argparse.Namespace) -> None:
    """Measure speedups again and again, paired and plain: how far do the answers of each lie apart?"""
    study, names = Study(options), PLAIN_LANES
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for repeat in range(options.repeats):
        campaign = study.campaign([entry(name) for name in names], repeat)
        base = campaign.records[BASELINE].clean_seconds
        paired = {
            label: stats.paired_ratio(base, record.clean_seconds)
            for label, record in campaign.records.items()
            if record.state is State.VALID
        }
        for case, ratio in paired.items():
            if ratio and case != BASELINE:
                found[case, "paired"].append(ratio.value)
        for case, value in plain_speedups(options, names).items():
            if case != BASELINE:
                found[case, "plain"].append(value)
        print(repeat + 1, {" ".join(key): round(values[-1], 4) for key, values in found.items()}, flush=True)
    for case in sorted({case for case, _ in found}):
        deviations = [100 * float(np.std(np.log(found[case, kind]), ddof=1)) for kind in ("paired", "plain")]
        print("{}: the speedup's standard deviation is {:.2f} % paired, {:.2f} % plain".format(case, *deviations))


def plant(tree: Path, name: str, rows: int) -> None:
    """Let the step of the implementation ``name`` in ``tree`` repeat its forward pass on ``rows`` more rows."""
    file, after, extra = PLANTS[name]
    head, found, rest = (ROOT / file).read_text(encoding="utf-8").partition(after)
    if not found:
        raise SystemExit(f"{file} has no line {after.strip()!r} any more; bring PLANTS up to date")
    (tree / file).write_text(head + found + extra.format(rows=rows) + rest, encoding="utf-8")


def calibrate(options: argparse.Namespace, tree: Path, percent: float) -> str:
    """Plant a slowdown of ``percent`` in ``tree``; return how large the paired ratio shows it to be.

    Campaigns of their own measure it, which are no part of the repeats: with few rows and with many, since a call costs
    something whatever its rows, and with what lies between.
    """
    study, name = Study(argparse.Namespace(**(vars(options) | {"rounds": CALIBRATION_ROUNDS}))), options.case
    now = entry(name, "now")

    def slowdown(rows: int) -> Estimate:
        plant(tree, name, rows)
        planted = replace(now, label="planted", root=tree, group="pair")
        campaign = study.campaign([replace(now, group="pair"), planted], rows)
        slowed, sound = (campaign.records[label].clean_seconds for label in ("planted", "now"))
        return stats.paired_ratio(slowed, sound) or Estimate(math.nan, math.nan, math.nan)

    wanted = 1 + percent / 100
    few, many = round(4 * percent), round(20 * percent)  # of 600
    least, most = slowdown(few).value, slowdown(many).value
    for _ in range(INTERPOLATIONS):
        if not least < wanted < most:
            raise SystemExit(f"{few} to {many} more rows take {least:.3f} to {most:.3f} times the time; run again")
        rows = round(few + (many - few) * (wanted - least) / (most - least))
        ratio = slowdown(rows)
        if ratio.value < wanted:
            few, least = rows, ratio.value
        else:
            many, most = rows, ratio.value
    return f"{rows} more rows in {name}'s step: {tables.figure(ratio)} times the time"


def compare_revisions(options: argparse.Namespace, tree: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Return the verdict on each case of ``tree``'s files against its last commit."""
    saved = tree.parent / "against.json"
    saved.unlink(missing_ok=True)
    done = pytest(
        *(tree, "bench/", "-k", select(options.names), "--against", "HEAD", f"--benchmark-json={saved}"),
        *("--budget", str(options.budget), "--tolerance", str(options.tolerance), "--seed", str(seed)),
        options=options,
    )
    if not saved.exists() or not saved.read_text():
        raise SystemExit(f"pytest bench/ --against HEAD saved nothing:\n{done.stdout}{done.stderr}")
    verdicts = json.loads(saved.read_text())["samenet"]["against"]["verdicts"]
    return {each["case"]: each for each in verdicts if each["word"] != "removed"}


def compare_plain_runs(options: argparse.Namespace, before: Path, after: Path, seed: int) -> list[str]:
    """Return the cases that pytest-benchmark's own comparison of two runs, one after the other, complains of."""
    with tempfile.TemporaryDirectory() as storage:
        common = ["bench/plain.py", "-k", select(options.names), "--rounds", str(options.rounds), "--seed", str(seed)]
        common += [f"--benchmark-storage=file://{storage}"]
        pytest(before, *common, "--benchmark-save=before", options=options).check_returncode()
        compare = ["--benchmark-compare=0001", "--benchmark-compare-fail=median:5%"]
        done = pytest(after, *common, *compare, options=options)
    if done.returncode and "has failed PercentageRegressionCheck" not in done.stdout + done.stderr:
        raise SystemExit(f"pytest bench/plain.py failed:\n{done.stdout}{done.stderr}")
    pattern = r"test_plain\[(\S+)\].* has failed PercentageRegressionCheck"
    return re.findall(pattern, done.stdout + done.stderr)


def against(options: argparse.Namespace) -> None:
    """Compare a tree with its last commit, with a planted slowdown or none: how often is the verdict right?

    Beside it stands what pytest-benchmark says of two runs in sequence, in the same repeat. The trees are of the last
    commit here; a study that was cut off goes on with ``--seed`` at the number of repeats that it has.
    """
    with tempfile.TemporaryDirectory(prefix="samenet-study-") as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.mkdir()
        check_out("HEAD", ROOT, before)
        git(ROOT, "clone", "--quiet", str(ROOT), str(after))
        # No part of the question, and every run would take ten seconds longer for it.
        os.environ.setdefault("THEANO_FLAGS", f"base_compiledir={folder}/theano")
        planted = f"{options.case}-cpu" if options.percent else ""
        if planted:
            print(calibrate(options, after, options.percent), flush=True)
        words: Counter[tuple[str, str]] = Counter()
        accused: Counter[str] = Counter()
        for repeat in range(options.seed, options.seed + options.repeats):
            plain = compare_plain_runs(options, before, after, repeat)
            verdicts = compare_revisions(options, after, repeat)
            accused.update(plain)
            words.update((case, each["word"]) for case, each in verdicts.items())
            said = [
                f"{case} {each['word']} {tables.figure(each['ratio'] and Estimate.read(each['ratio']))}".rstrip()
                for case, each in verdicts.items()
            ]
            print(f"{repeat:3} {', '.join(said)}; pytest-benchmark accuses: {', '.join(plain) or 'none'}", flush=True)
    for case in sorted({case for case, _ in words}):
        counts = ", ".join(f"{count} {word}" for (name, word), count in sorted(words.items()) if name == case)
        true = f"planted {options.percent:g} %" if case == planted else "unchanged"
        print(f"{case}, {true}: {counts}; pytest-benchmark accuses it {accused[case]} times")


class Kind(NamedTuple):
    """A study, and how much it measures unless it is told."""

    run: Callable[[argparse.Namespace], None]
    iterations: int
    rounds: int
    launches: int


STUDIES = {
    "same": Kind(same, 50, 5, 4),
    "spread": Kind(spread, 50, 5, 4),
    # Rounds of the plain side: more than the second's worth that pytest-benchmark takes unless it is told. Launches of
    # the calibration: the ratios of two differ by 1 %.
    "against": Kind(against, 5, 100, 16),
}


def main() -> None:
    """Read the command line and run the study that it names."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies", description=__doc__)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--case", default="numpy", help="the implementation that is entered twice, or made slower")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--launches", type=int, help="with against: of the calibration")
    parser.add_argument("--rounds", type=int, help="with against: of pytest-benchmark")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the first campaign; the next ones count on")
    parser.add_argument("--data", type=Path, default=os.environ.get("SAMENET_DATA"))
    only = parser.add_argument_group("against")
    only.add_argument("--percent", type=float, default=0.0, help="what --case is slowed down by; 0: by nothing")
    only.add_argument("--names", nargs="+", default=PLAIN_LANES, metavar="NAME", help="the implementations")
    only.add_argument("--budget", type=float, default=90.0, metavar="SECONDS", help="of pytest bench/")
    only.add_argument("--tolerance", type=float, default=2.0, metavar="PERCENT", help="of pytest bench/")
    options = parser.parse_args()
    if options.percent and options.case not in PLANTS:
        parser.error(f"no slowdown is known for {options.case}; choose one of: {', '.join(PLANTS)}")
    kind = STUDIES[options.study]
    for name in ("iterations", "rounds", "launches"):
        setattr(options, name, getattr(options, name) or getattr(kind, name))
    kind.run(options)


if __name__ == "__main__":
    main()
