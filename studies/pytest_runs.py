"""pytest run in a tree, as a user would run it: samenet's own comparison, and the plain suite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impls.theano_lanes import flag
from samenet import read_run
from samenet.environments import ROOT, tox_folder
from samenet.results import Outcome
from studies.laboratory import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.results import Verdict
    from studies.options import Options

PLAIN = "studies/plain_suite.py"
FLAGGED = re.compile(r"test_plain\[(\S+)\].* has failed PercentageRegressionCheck")


def select(names: Sequence[str]) -> list[str]:
    """Return the options of pytest that select exactly the implementations called ``names``, on the CPU."""
    return ["-k", " or ".join(f"[{name}-cpu]" for name in names)]


@dataclass(frozen=True)
class PytestRuns:
    """Runs with this tree's environments and data; ``folder`` takes what they save, and Theano's compiled code.

    The runs of the plain suite share the code: compiling is not timed, and each would take ten seconds longer for it.
    """

    options: Options
    folder: str

    def run(self, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in ``tree``."""
        options = self.options
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        command += ["--iterations", str(options.iterations)]
        command += ["--data", str(options.data)] if options.data else []
        command += ["--threads", str(options.threads)] if options.threads else []
        compiled = flag("base_compiledir", f"{self.folder}/theano")
        environment = {"THEANO_FLAGS": compiled} | os.environ | {"TOX_WORK_DIR": str(tox_folder(ROOT))}
        return subprocess.run(  # noqa: S603
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False
        )

    def plain_medians(self, names: Sequence[str]) -> dict[str, float]:
        """Return the median time (s) of each case in the plain suite, with as many rounds as in a campaign.

        Raises:
            StudyError: the suite failed.
        """
        saved = Path(self.folder, "plain.json")
        rounds = str(self.options.rounds * self.options.launches)
        done = self.run(ROOT, PLAIN, *select(names), "--rounds", rounds, f"--benchmark-json={saved}")
        if done.returncode:
            raise failed(PLAIN, done)
        return {each["param"]: each["stats"]["median"] for each in json.loads(saved.read_text())["benchmarks"]}

    def flagged_by_plain_runs(self, before: Path, after: Path, seed: int) -> list[str]:
        """Return the cases that pytest-benchmark's own comparison flags in two runs, measured sequentially.

        Raises:
            StudyError: a run failed for another reason.
        """
        options = self.options
        storage = f"--benchmark-storage=file://{self.folder}/plain-{seed}"
        common = [PLAIN, *select(options.names), "--rounds", str(options.rounds), "--seed", str(seed), storage]
        done = self.run(before, *common, "--benchmark-save=before")
        if done.returncode:
            raise failed(PLAIN, done)
        done = self.run(after, *common, "--benchmark-compare=0001", "--benchmark-compare-fail=median:5%")
        flagged = FLAGGED.findall(done.stdout + done.stderr)
        if done.returncode and not flagged:
            raise failed(PLAIN, done)
        return flagged

    def verdicts(self, tree: Path, seed: int) -> list[Verdict]:
        """Return the verdict on each case of ``tree``'s files against its last commit.

        Raises:
            StudyError: the run saved nothing.
            StorageError: what it saved cannot be read.
        """
        options, saved = self.options, Path(self.folder, "against.json")
        saved.unlink(missing_ok=True)
        limits = ["--budget", str(options.budget), "--tolerance", str(options.tolerance), "--seed", str(seed)]
        arguments = ["bench/", *select(options.names), "--against", "HEAD", *limits, f"--benchmark-json={saved}"]
        done = self.run(tree, *arguments)
        record = read_run(saved).results.against if saved.exists() and saved.stat().st_size else None
        if record is None:
            raise failed("bench/ --against HEAD", done)
        return [verdict for verdict in record.verdicts if verdict.word is not Outcome.REMOVED]


def failed(what: str, done: subprocess.CompletedProcess[str]) -> StudyError:
    """Return the error of a run without a result."""
    return StudyError(f"pytest {what} failed; run it by itself. It printed:\n{done.stdout}{done.stderr}")
