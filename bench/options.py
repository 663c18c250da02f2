"""The command line: samenet's options of pytest, and what each accepts."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from impls.registry import cases

if TYPE_CHECKING:
    import pytest


def count(text: str) -> int:
    """Read an option that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def number(text: str) -> int:
    """Read an option that is the number of something, from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def positive(text: str) -> float:
    """Read an option that is an amount of something."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def interpreter(text: str) -> tuple[str, Path]:
    """Read ``name=path``: the interpreter for an implementation or an environment."""
    known = {name for case in cases() for name in (case.implementation.name, case.implementation.environment)}
    name, _, path = text.partition("=")
    if name not in known:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no implementation; write name=path with one of: {', '.join(sorted(known))}"
        )
    if not os.access(path, os.X_OK) or Path(path).is_dir():
        raise argparse.ArgumentTypeError(
            f"{path or 'the empty path'} is no interpreter; write {name}=/path/to/bin/python"
        )
    return name, Path(path).absolute()


class Amount(NamedTuple):
    """How much is to be measured: what the options say, or what their absence means."""

    iterations: int
    rounds: int
    launches: int
    launch_seconds: float


def amount(option: argparse.Namespace) -> Amount:
    """Return how much ``option`` asks for: a comparison of revisions takes many short rounds, until its budget."""
    if option.against:
        launches = option.launches or 9
        return Amount(option.iterations or 5, option.rounds or sys.maxsize, launches, option.budget / launches)
    return Amount(option.iterations or 1000, option.rounds or 1, option.launches or 5, float("inf"))


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options to ``group``."""
    add = group.addoption
    add("--iterations", type=count, help="Updates in one timed round. Default: 1000; with --against 5.")
    add("--rounds", type=count, help="Rounds of each case in one launch. Default: 1; with --against until --budget.")
    add("--launches", type=count, help="Worker processes of each case, in turn. Default: 5; with --against up to 9.")
    add(
        "--until-width",
        type=positive,
        metavar="PERCENT",
        help="Stop after the launch in which every case's interval has become narrower than this, for example 2:"
        " then --launches is only the most there may be.",
    )
    add(
        "--against",
        metavar="REV",
        help="Measure the cases of this git revision beside the present ones, and fail where one became slower.",
    )
    add(
        "--tolerance",
        type=positive,
        default=2.0,
        metavar="PERCENT",
        help="Change that --against lets pass. Default: 2.",
    )
    add("--budget", type=positive, default=90.0, metavar="SECONDS", help="Of measuring with --against. Default: 90.")
    add("--comment", type=Path, metavar="FILE", help="Write the verdicts of --against as Markdown.")
    add("--epochs", type=count, help="Passes of test_epochs.py. Default: 1000; for the linear model 100.")
    add(
        "--target-error",
        type=positive,
        default=2.7,
        metavar="PERCENT",
        help="Validation error for which test_epochs.py tells when it was reached. Default: %(default)s.",
    )
    add("--threads", type=count, help="CPUs, and threads, for every case. Default: one for each core.")
    add(
        "--gpu",
        type=number,
        action="append",
        help="The GPU of the cuda cases, as nvidia-smi counts them; may be repeated. Default: 0.",
    )
    add("--timeout", type=positive, default=300.0, help="Seconds that a worker may take for one request.")
    add("--seed", type=int, default=0, help="Draws the initial weights and the order of rounds.")
    add("--workload", default="", metavar="FIELD=VALUE,...", help="Change the workload, such as hidden=100,init=book.")
    add(
        "--data",
        type=Path,
        default=os.environ.get("SAMENET_DATA"),
        metavar="DIR",
        help="Folder with MNIST's four idx .gz files. Default: $SAMENET_DATA.",
    )
    add(
        "--python",
        type=interpreter,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="The interpreter for one implementation, such as torch=/opt/torch/bin/python. May be repeated.",
    )
