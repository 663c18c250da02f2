"""The evidence behind the method: campaigns repeated, to see how far their answers can be trusted.

``python -m bench.studies same`` and ``python -m bench.studies spread``; docs/method.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from bench import data, machine
from bench.campaign import Campaign, Entry, Plan
from bench.environments import find_interpreter
from bench.records import State
from bench.reference import Reference
from impls.registry import IMPLEMENTATIONS, Case
from impls.workload import Workload, initial_params
from reports import stats

ROOT = Path(__file__).parent.parent
BASELINE = "numpy-cpu"


class Quiet:
    """A progress display that shows nothing."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self, total: int | None) -> None:
        """Say nothing of the ``total``."""

    def advance(self, text: str) -> None:
        """Say nothing of the ``text``."""

    def skip(self) -> None:
        """Show nothing."""


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
        campaign = Campaign(plan, entries, Quiet(), reference=self._reference)
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


def plain_speedups(options: argparse.Namespace, names: list[str]) -> dict[str, float]:
    """Return the speedups that plain pytest-benchmark gives: ratios of medians of cases timed one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "plain.json"
        command = [sys.executable, "-m", "pytest", "bench/plain.py", "-q", f"--benchmark-json={saved}"]
        command += ["-k", " or ".join(f"[{name}-cpu]" for name in names), "--iterations", str(options.iterations)]
        command += ["--rounds", str(options.rounds * options.launches)]
        command += ["--data", str(options.data)] if options.data else []
        command += ["--threads", str(options.threads)] if options.threads else []
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command
        run = json.loads(saved.read_text())
    medians = {each["param"]: each["stats"]["median"] for each in run["benchmarks"]}
    return {case: medians[BASELINE] / seconds for case, seconds in medians.items()}


def spread(options: argparse.Namespace) -> None:
    """Measure speedups again and again, paired and plain: how far do the answers of each lie apart?"""
    study, names = Study(options), ["numpy", "torch", "jax", "theano"]
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


def main() -> None:
    """Read the command line and run the study that it names."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies", description=__doc__)
    parser.add_argument("study", choices=["same", "spread"])
    parser.add_argument("--case", default="numpy", help="the implementation that is entered twice")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--launches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the first campaign; the next ones count on")
    parser.add_argument("--data", type=Path, default=os.environ.get("SAMENET_DATA"))
    options = parser.parse_args()
    {"same": same, "spread": spread}[options.study](options)


if __name__ == "__main__":
    main()
