"""The command line: samenet's options of pytest, what each accepts, and the settings that they are."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from impls.devices import KINDS, NEEDS_PORT
from impls.lanes import Device
from impls.registry import CUDA, cases
from impls.registry import frameworks as known_frameworks
from samenet.data import cache_folder
from samenet.errors import SettingsError
from samenet.gates import parse_gates
from samenet.protocols import Epochs, Settings
from samenet.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from impls.lanes import Case
    from samenet.protocols import Protocol


def count(text: str) -> int:
    """Read an option that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def accelerator(text: str) -> Device:
    """Read a device that is not the CPU: the number of an NVIDIA GPU, or a kind and perhaps a number."""
    try:
        device = Device.parse(f"cuda:{text}" if text.isdecimal() else text)
    except ValueError:
        device = Device("cpu")
    if device.kind in NEEDS_PORT:
        raise argparse.ArgumentTypeError(NEEDS_PORT[device.kind])
    if device.kind not in {kind for case in cases() for kind in case.implementation.devices} - {"cpu"}:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a GPU; write a whole number of 0 or more, or one of {', '.join(KINDS)}, such as rocm:1"
        )
    return device


def positive(text: str) -> float:
    """Read an option that is an amount of something."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def location(text: str) -> Path | None:
    """Read a file or a folder; an empty text is none, as if the option were not given."""
    return Path(text) if text else None


def interpreter(text: str) -> tuple[str, Path]:
    """Read ``name=path``: the interpreter for an implementation or an environment."""
    known = {name for case in cases() for name in (case.implementation.name, case.implementation.environment)}
    name, _, path = text.partition("=")
    if name not in known:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no implementation; write name=path with one of: {', '.join(sorted(known))}"
        )
    if not os.access(path, os.X_OK) or Path(path).is_dir():
        shown = path or "the empty path"
        raise argparse.ArgumentTypeError(f"{shown} is not executable; write {name}=/path/to/bin/python")
    return name, Path(path).absolute()


def frameworks(text: str) -> frozenset[str]:
    """Read names of frameworks."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    known = list(dict.fromkeys(known_frameworks().values()))
    if not names or names - set(known):
        wrong = ", ".join(sorted(names - set(known))) or text
        raise argparse.ArgumentTypeError(f"{wrong!r} is no framework here; choose from: {', '.join(known)}")
    return names


def versions(text: str) -> str:
    """Read versions of a package that an implementation here runs on."""
    try:
        Versions.parse(text).expand(cases())
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def offered(option: argparse.Namespace) -> Sequence[Case]:
    """Return the cases that the options offer: of each framework, on the CPU and each GPU, with each version."""
    every = cases(tuple(dict.fromkeys(option.gpu or (CUDA,))))
    if option.frameworks:
        every = tuple(case for case in every if known_frameworks()[case.implementation.name] in option.frameworks)
    return every if option.versions is None else Versions.parse(option.versions).expand(every)


def gates(text: str) -> str:
    """Read what a comparison fails for."""
    try:
        parse_gates(text, Settings.tolerance)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def fill_in(option: argparse.Namespace) -> None:
    """Take an empty --benchmark-storage, which would be the current folder, as if it were not given."""
    if not option.benchmark_storage.removeprefix("file://"):
        option.benchmark_storage = "file://./.benchmarks"  # pytest-benchmark's default


def storage_folder(option: argparse.Namespace) -> Path | None:
    """Return pytest-benchmark's storage, or None where it is not a folder."""
    storage = str(option.benchmark_storage).removeprefix("file://")
    return None if "://" in storage else Path(storage)


def settings(option: argparse.Namespace, protocol: Protocol) -> Settings:
    """Return what the options ask for."""
    return Settings(
        protocol=protocol,
        workload=option.workload,
        iterations=option.iterations,
        rounds=option.rounds,
        launches=option.launches,
        threads=option.threads,
        seed=option.seed,
        against=option.against,
        versions=option.versions,
        reference_version=option.reference_version,
        tolerance=option.tolerance / 100,
        gate=option.gate,
        budget_seconds=option.budget,
        data=option.data,
        python=dict(option.python),
        install=option.install,
        timeout_seconds=option.timeout,
        journal=(storage_folder(option) or cache_folder()) / "journal",
        resume=option.resume,
    )


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options to ``group``."""
    add = group.addoption
    add(
        "--frameworks",
        type=frameworks,
        metavar="NAME,...",
        help="Measure the cases of these frameworks alone, such as tensorflow,keras. Default: all.",
    )
    add(
        "--install",
        action="store_true",
        help="Create the environments that selected cases lack, in the user's cache; the size is printed first.",
    )
    add("--iterations", type=count, help="Updates in one round. Default: 1000; with --against or --versions 100.")
    add(
        "--budget",
        type=positive,
        metavar="SECONDS",
        help="Measuring time after which a campaign ends, if its speedups or its verdicts are not clear before that."
        " Default: 120; with --against or --versions 90.",
    )
    add(
        "--rounds",
        type=count,
        help="Rounds of each case per launch. Default: one with --launches; otherwise some seconds.",
    )
    add(
        "--launches",
        type=count,
        help="Launches, each with a process per case. Default: five with --rounds; otherwise as many as it takes.",
    )
    add(
        "--against",
        metavar="REV",
        help="Measure the cases of this git revision interleaved with the present ones; fail where one is slower now.",
    )
    add(
        "--versions",
        type=versions,
        metavar="VERSIONS",
        help="Measure each case with several versions of a package interleaved, such as jax==0.8.3,0.9.2, or the newest"
        " of each minor version in a range, such as jax>=0.6; fail where one is slower than the first.",
    )
    add("--reference-version", metavar="VERSION", help="Which of --versions the others are compared with.")
    add(
        "--tolerance",
        type=positive,
        default=100 * Settings.tolerance,
        metavar="PERCENT",
        help="Change that --against and --versions ignore. Default: %(default)g.",
    )
    add(
        "--gate",
        type=gates,
        default=Settings.gate,
        metavar="QUANTITY[=PERCENT],...",
        help="What --against and --versions fail for: steady, first-step, import, memory, each with a tolerance of its"
        " own, such as steady=1,memory=3. Default: %(default)s.",
    )
    add("--comment", type=location, metavar="FILE", help="Write the verdicts of --against or --versions as Markdown.")
    add(
        "--allow-empty",
        action="store_true",
        help="Let --against and --versions pass where they could not judge a single case.",
    )
    add(
        "--resume",
        action="store_true",
        help="Continue the unfinished campaign with the same settings that has measured the most.",
    )
    add("--epochs", type=count, help="Epochs of test_epochs.py. Default: 1000; for the linear model 100.")
    add(
        "--target-error",
        type=positive,
        default=Epochs.target_error_percent,
        metavar="PERCENT",
        help="Validation error for which test_epochs.py reports when it was reached. Default: %(default)g.",
    )
    add("--threads", type=count, help="CPUs, and threads, for every case. Default: one for each core.")
    add(
        "--gpu",
        type=accelerator,
        action="append",
        metavar="DEVICE",
        help="A GPU to measure on, as nvidia-smi counts them, or by its place in CUDA_VISIBLE_DEVICES where that is"
        " set; or a device of another vendor: rocm, xpu, tpu, rocm:1."
        " May be repeated. Default: 0.",
    )
    add(
        "--timeout",
        type=positive,
        default=Settings.timeout_seconds,
        metavar="SECONDS",
        help="Time that a worker may take for one request. Default: %(default)g.",
    )
    add(
        "--seed",
        type=int,
        default=Settings.seed,
        help="Seed of the initial weights and of the order of rounds. Default: %(default)s.",
    )
    add(
        "--workload",
        default=Settings.workload,
        metavar="FIELD=VALUE,...",
        help="Change the workload, such as hidden=100,init=book.",
    )
    add("--data", type=location, metavar="DIR", help="Folder with MNIST's four idx .gz files. Default: $SAMENET_DATA.")
    add(
        "--python",
        type=interpreter,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="The interpreter for one implementation, such as torch=/opt/torch/bin/python. May be repeated.",
    )
