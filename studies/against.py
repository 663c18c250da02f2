"""A tree compared with its last commit, with a planted slowdown or none: how often is the verdict right?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from samenet.environments import ROOT
from samenet.git import git
from samenet.revision import check_out
from studies.planting import calibrate
from studies.pytest_runs import PytestRuns

if TYPE_CHECKING:
    from samenet.results import Outcome, Verdict
    from studies.options import Options


def against(options: Options) -> None:
    """Compare a tree with its last commit; in each repeat pytest-benchmark compares two plain runs of the same trees.

    Both trees are of the last commit here. ``--seed`` continues a study that was interrupted, at the number of repeats
    that it has.
    """
    words: Counter[tuple[str, Outcome]] = Counter()
    flagged: Counter[str] = Counter()
    with TemporaryDirectory(prefix="samenet-study-") as folder:
        before, after, runs = check_out("HEAD", ROOT), Path(folder) / "after", PytestRuns(options, folder)
        git(ROOT, "clone", "--quiet", str(ROOT), str(after))
        if options.percent:
            print(calibrate(options, after), flush=True)
        for repeat in range(options.seed, options.seed + options.repeats):
            by_plain = runs.flagged_by_plain_runs(before.folder, after, repeat)
            verdicts = runs.verdicts(after, repeat)
            flagged.update(by_plain)
            words.update((verdict.case, verdict.word) for verdict in verdicts)
            print(
                f"{repeat:3} {', '.join(map(describe, verdicts))};"
                f" pytest-benchmark flagged: {', '.join(by_plain) or 'none'}",
                flush=True,
            )
    for case in sorted({case for case, _ in words}):
        counts = ", ".join(f"{count} {word}" for (name, word), count in sorted(words.items()) if name == case)
        truth = f"planted {options.percent:g} %" if options.percent and case == f"{options.case}-cpu" else "unchanged"
        print(f"{case}, {truth}: {counts}; flagged by pytest-benchmark: {flagged[case]}")


def describe(verdict: Verdict) -> str:
    """Return a verdict in a few words."""
    return f"{verdict.case} {verdict.word} {verdict.ratio.text() if verdict.ratio else ''}".rstrip()
