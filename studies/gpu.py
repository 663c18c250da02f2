"""Everything that a day with a GPU must give, in order of worth; each part is saved as it ends.

How long a part takes is not known before it is measured on a GPU: its limit is a guess, at which it saves what it has.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from impls.lanes import Device
from samenet import SamenetError, read_run
from samenet.environments import ROOT
from samenet.machine.devices import is_absent
from studies.clocks import CLOCKS, environment, interpreter
from studies.laboratory import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import IO

    from studies.options import Options

GPU = Device("cuda")
ON_GPU = ("-k", GPU.kind)
WITH_CPU = ("-k", "cuda or [numpy-cpu] or [torch-cpu] or [jax-cpu] or [jax-scan-cpu]")
BEST = "{best}"  # in a command: the id of the fastest case on the GPU that was measured until then
CAMPAIGN, TRAINING, SCALING = "bench/", "bench/test_epochs.py", "bench/test_scaling.py"
ONCE = ("--launches", "3", "--rounds", "1")
LOGS = "gpu"  # the folder below that of the saved runs which takes what each part prints
SECONDS_TO_SAVE = 30.0  # after Ctrl-C, with which a campaign that takes too long is ended


class NoGpuError(StudyError):
    """This machine has no GPU that the study could use."""


@dataclass(frozen=True)
class Part:
    """One part of the day: ``arguments`` of pytest, or of torch's interpreter, and the longest that it may take."""

    name: str
    seconds: float
    arguments: tuple[str, ...]

    @property
    def in_torch(self) -> bool:
        """Whether torch's own interpreter runs it."""
        return self.arguments[0] == "-c"


# A budget would count measuring alone, without the starts of the workers, which compile. So each campaign counts its
# launches: three where it is to give an interval.
PLAN = (
    # One short round of every lane: each is checked against the reference first, and what fails is known at once.
    Part("parity", 240, (CAMPAIGN, *ON_GPU, "--launches", "1", "--rounds", "1", "--iterations", "100")),
    Part("default", 360, (CAMPAIGN, *WITH_CPU, "--launches", "3", "--rounds", "2")),
    Part("clocks", 60, ("-c", CLOCKS, str(GPU), "5000")),
    Part("tf32", 150, (CAMPAIGN, *ON_GPU, *ONCE, "--workload", "precision=tf32")),
    Part("bfloat16", 150, (CAMPAIGN, *ON_GPU, *ONCE, "--workload", "precision=bfloat16")),
    Part("epochs", 180, (TRAINING, "-k", f"[{BEST}]")),
    Part("scaling", 240, (SCALING, "-k", f"[{BEST}-", "--launches", "1", "--rounds", "2")),
)


def start(command: Sequence[str], printed: IO[str], variables: dict[str, str] | None) -> subprocess.Popen[str]:
    """Start ``command`` in a process group of its own, so that it is interrupted once, here, and not by Ctrl-C too.

    A child inherits that SIGINT is ignored, as in the background of a script, but no handler.
    """
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
    finally:
        signal.signal(signal.SIGINT, former)


def interrupt(process: subprocess.Popen[str]) -> None:
    """End ``process`` as Ctrl-C does, with which a campaign saves what it has, or at last by force."""
    process.send_signal(signal.SIGINT)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_SAVE)
    finally:
        process.kill()  # does nothing where it has ended
        process.wait()


def saved(storage: Path, part: str = "*") -> frozenset[Path]:
    """Return the runs in ``storage`` that parts of this name have saved, on any day."""
    return frozenset(storage.glob(f"*/*_gpu-{part}.json"))


@dataclass(frozen=True)
class Day:
    """Runs the parts; ``storage`` takes the saved runs as ``reports/published`` has them.

    Those of an ``earlier`` day, maybe of another GPU, do not decide which case is the fastest one.
    """

    options: Options
    earlier: frozenset[Path] = frozenset()

    @property
    def storage(self) -> Path:
        """The folder of the saved runs."""
        return self.options.storage

    def command(self, part: Part) -> list[str]:
        """Return the command line of ``part``.

        Raises:
            StudyError: it needs the best case, and none has a number.
        """
        if part.in_torch:
            return [interpreter(GPU), *part.arguments]
        best = self.best() if any(BEST in argument for argument in part.arguments) else ""
        arguments = [argument.replace(BEST, best) for argument in part.arguments]
        saving = [f"--benchmark-storage={self.storage}", f"--benchmark-save=gpu-{part.name}"]
        data = ["--data", str(self.options.data)] if self.options.data else []
        threads = ["--threads", str(self.options.threads)] if self.options.threads else []
        return [sys.executable, "-m", "pytest", *arguments, *saving, *data, *threads]

    def best(self) -> str:
        """Return the id of the fastest case on the GPU in today's default campaign, or in the one for parity.

        Raises:
            StudyError: no case has a number.
        """
        for name in ("default", "parity"):
            timed = {
                case.case: case.seconds.value
                for path in saved(self.storage, name) - self.earlier
                for case in read_run(path).results.cases
                if case.seconds and case.device == str(GPU)
            }
            if timed:
                return min(timed, key=lambda case: timed[case])
        raise StudyError("no case on the GPU has a number")

    def run(self, part: Part, seconds: float) -> str:
        """Run ``part`` for at most ``seconds``, keep what it prints, and return how it ended."""
        log = self.storage / LOGS / f"{part.name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as printed:
            variables = environment(GPU, log.parent) if part.in_torch else None
            process = start(self.command(part), printed, variables)
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                interrupt(process)
                return f"ended after {seconds:.0f} s; see {log}"
            except BaseException:
                interrupt(process)
                raise
        return "done" if code == 0 else f"ended with exit code {code}; see {log}"


def follow(plan: Sequence[Part], run: Callable[[Part, float], str], seconds: float) -> list[tuple[str, str]]:
    """Run the parts of ``plan`` in order, until ``seconds`` have passed, and return how each of them ended."""
    end, ended = time.monotonic() + seconds, []
    for part in plan:
        left = end - time.monotonic()
        try:
            how = run(part, min(part.seconds, left)) if left > 0 else f"left out: {seconds / 60:.0f} min have passed"
        except SamenetError as error:
            how = f"left out: {error}"
        ended.append((part.name, how))
        print(f"{part.name}: {how}", flush=True)
    return ended


def gpu(options: Options) -> None:
    """Measure on the first NVIDIA GPU all that this repository wants to know of one.

    Raises:
        NoGpuError: there is none.
    """
    if reason := is_absent(GPU):
        raise NoGpuError(f"there is nothing to measure: {reason}")
    storage = options.storage.absolute()
    day = Day(replace(options, storage=storage), saved(storage))
    follow(PLAN, day.run, 60 * options.minutes)
