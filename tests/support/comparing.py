"""``python -m reports compare`` in this process, and the saved runs that its tests compare."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from reports.__main__ import main
from tests.support.saved_runs import record, run, save

if TYPE_CHECKING:
    from pathlib import Path

SPREAD = 0.005  # of medians from run to run, in the histories made up here


class Result(NamedTuple):
    """What the command returned and wrote."""

    code: int
    out: str
    err: str


def compare(storage: Path, base: str, head: str, *options: str, **environment: str) -> Result:
    """Compare two runs in ``storage``, outside of GitHub unless ``environment`` has its variables."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, outside | environment, clear=True), redirect_stdout(out), redirect_stderr(err):
        code = main(["compare", base, head, "--storage", str(storage), *options])
    return Result(code, out.getvalue(), err.getvalue())


def verdicts(storage: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Return the verdicts on run ``head`` against run ``base``, by case."""
    result = compare(storage, "base", "head", *options, "--format", "json")
    assert result.out, result.err
    return {verdict["case"]: verdict for verdict in json.loads(result.out)["verdicts"]}


def save_history(storage: Path, runs: int = 12, **more: Any) -> None:
    """Save so many runs of numpy that differ by noise alone; ``more`` is what their case and run have instead."""
    rng = np.random.default_rng(1)
    for number in range(runs):
        typical = 2 * float(np.exp(SPREAD * rng.standard_normal()))
        save(storage, f"{number + 100:04}_main", run(record("numpy", typical, **more), hours=number))


def save_pair(storage: Path, base: dict[str, Any], head: dict[str, Any], **about: Any) -> None:
    """Save two runs of a case each, the second one on hardware of its own if ``about`` says so."""
    save(storage, "0001_base", run(base, hours=100))
    save(storage, "0002_head", run(head, hours=101, **about))
