"""Worker processes: started, pinned, paused, asked with a time limit, and killed at the end."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import shlex
import signal
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import execnet
import numpy as np
import threadpoolctl

from impls.worker import pack, unpack
from samenet import bootstrap
from samenet.environments import remedy
from samenet.errors import WorkerError
from samenet.failures import first_line, last_words
from samenet.machine import files
from samenet.processes import exit_code
from samenet.worker_environment import environment_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from impls.lanes import Case
    from impls.workload import Float32, Params, Workload
    from samenet.data import Split

ENV = "/usr/bin/env"
MEMORY = {"peak_bytes": "VmHWM", "file_bytes": "RssFile"}
# Added to threadpoolctl's source, since a worker of an earlier revision has no request for it.
FLUSHING = """
import sys
_pools = threadpool_info
def threadpool_info():
    return [*_pools(), {"flushes_denormals": sys.float_info.min / 2 == 0}]
"""


class Run(NamedTuple):
    """What one run took, by the worker's clock and by the harness's, messages included; ``losses`` (steps,)."""

    wall_seconds: float
    cpu_seconds: float
    harness_seconds: float
    losses: Float32


def command_line(python: Path, environment: Mapping[str, str]) -> str:
    """Return the command that starts ``python`` in ``environment`` alone, as execnet splits it.

    From its very start, since some variables act before any line of Python (LD_PRELOAD).
    """
    program = [str(python)]
    if "=" in program[0]:  # env would take it for one more variable
        program = ["/bin/sh", "-c", 'exec "$0" "$@"', *program]
    return shlex.join([ENV, "-i", *(f"{name}={value}" for name, value in environment.items()), *program])


def packages(root: Path, folder: Path) -> Path:
    """Return a folder below ``folder`` that has the implementations of ``root`` and nothing else to import.

    Where samenet is installed, ``root`` has the harness's packages too, which are not those of the worker.
    """
    place = folder / f"packages-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"
    place.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another worker was faster
        (place / "impls").symlink_to(root.absolute() / "impls")
    return place


class Worker:
    """One process that trains one case, in the interpreter of its framework; a context manager that kills it."""

    is_alive = True  # until it is killed, or found dead

    def __init__(
        self,
        case: Case,
        python: Path,
        root: Path,
        *,
        cpus: Sequence[int],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 300.0,
    ) -> None:
        """Start ``python`` on ``cpus`` with the implementations below ``root``; ``folder`` takes its caches and log.

        ``start_seconds`` is what it takes until Python and numpy are there.

        Raises:
            WorkerError: the interpreter does not start.
        """
        self.case, self.cpus, self._python, self._root = case, tuple(cpus), python, root
        self._timeout_seconds, self.pid = timeout_seconds, 0  # until the process has sent its own
        self._log = folder / f"{case.id}-{time.monotonic_ns()}.log"
        settings = environment_of(case, len(cpus), folder) | dict(environment or {})
        spec = execnet.XSpec("popen")
        spec.python = command_line(python, settings)  # not in the text of a spec, which splits paths and URLs at //

        start = time.perf_counter()
        self._group = execnet.Group()
        try:
            gateway = self._group.makegateway(spec)
            self._channel = gateway.remote_exec(bootstrap)
            self._channel.send((str(packages(root, folder)), list(cpus), settings, str(self._log)))
            self.pid = int(self._receive("start"))
            self.leads_in = "lead_in" in self._receive("start")  # an earlier revision's does not know it
        except (OSError, AssertionError) as error:  # execnet asserts that the new interpreter answered
            self._group.terminate(timeout=1)
            raise WorkerError(
                f"{python} does not start: {error}; give another with --python {case.implementation.environment}=PATH"
            ) from error
        except execnet.DumpError:  # it sends UTF-8 only
            self._group.terminate(timeout=1)
            raise WorkerError(
                f"{case.id} does not start: {str(folder)!a} or {str(root)!a} is not UTF-8; rename it"
            ) from None
        except BaseException:  # Ctrl-C too: no process is left behind
            self.kill()
            raise
        self.start_seconds = time.perf_counter() - start

    def __enter__(self) -> Self:
        """Return the worker itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process."""
        self.kill()

    def kill(self) -> None:
        """Kill the process, if it is still there: it holds nothing that has to be saved."""
        self.is_alive = False
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._group.terminate(timeout=1)

    def _ended(self, when: str) -> str:
        """Say how the process ended, and what it wrote first."""
        code = exit_code(self.pid, timeout_seconds=5) if self.pid else None
        how = f"{self.case.id} " + ("disappeared" if code is None else f"ended with exit code {code}")
        if code is not None and code < 0:
            how = f"{self.case.id} was killed by {signal.Signals(-code).name}"
        written = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return f"{how} {when}" + (f"; it wrote: {last_words(written)}" if written else "")

    def _receive(self, request: str) -> Any:  # noqa: ANN401  # whatever the request answers
        try:
            return self._channel.receive(self._timeout_seconds)
        except self._channel.TimeoutError:
            self.kill()  # it must not run on next to the others
            raise WorkerError(
                f"{self.case.id} did not finish {request} in {self._timeout_seconds:g} s; raise --timeout"
            ) from None
        except self._channel.RemoteError as error:
            raise WorkerError(f"{self.case.id} failed in {request}: {first_line(str(error.formatted))}") from error
        except (EOFError, OSError):
            raise WorkerError(self._ended(f"during {request}")) from None

    def _ask(self, request: str, **arguments: object) -> Any:  # noqa: ANN401  # whatever the request answers
        try:
            self._channel.send((request, arguments))
        except OSError:
            raise WorkerError(self._ended(f"before {request}")) from None
        return self._receive(request)

    def load_framework(self) -> float:
        """Import the implementation and its framework; returns the seconds that it took."""
        return float(self._ask("load_framework", trainer=self.case.implementation.trainer)["import_seconds"])

    def missing_device(self) -> str:
        """Say why the framework cannot use the case's device, with a remedy, or return "".

        It is the only one of its kind that the worker sees.
        """
        kind = self.case.device.kind
        reply = self._ask("devices", kind=kind)
        if reply["count"] is None or reply["count"] > 0:
            return ""
        problem = f" ({reply['problem']})" if reply["problem"] else ""
        return f"its framework can use no {kind} device{problem}; {remedy(self.case, self._python, self._root)}"

    def build(self, workload: Workload, train: Split, initial: Params) -> float:
        """Make the trainer on the whole minibatches of ``train``; returns the seconds that its constructor took.

        Afterwards ``transfer_seconds`` is what it takes to put the data on a device, None on a CPU.
        """
        rows = len(train.labels) // workload.batch_size * workload.batch_size
        reply = self._ask(
            "build",
            # Defaults are not sent: a worker of an earlier revision may not know the field.
            workload={
                item.name: getattr(workload, item.name)
                for item in fields(workload)
                if getattr(workload, item.name) != item.default
            },
            images=pack(train.images[:rows]),
            labels=pack(train.labels[:rows]),
            initial=[pack(value) for value in initial],
            device=str(self.case.device.in_worker),
        )
        self.transfer_seconds: float | None = reply.get("transfer_seconds")  # missing in an earlier revision
        return float(reply["build_seconds"])

    def run(self, steps: int, first: int = 0, weights: Params | None = None) -> Run:
        """Train ``steps`` updates from minibatch ``first`` on, starting with ``weights`` or else the initial ones.

        Raises:
            WorkerError: the worker failed, or a loss is not finite or missing.
        """
        self.reset(weights)
        return self.advance(steps, first)

    def reset(self, weights: Params | None = None) -> None:
        """Load ``weights`` or else the initial ones, and collect garbage.

        Raises:
            WorkerError: the worker failed.
        """
        # Defaults are not sent: a worker of an earlier revision may not know the argument.
        self._ask("reset", **({} if weights is None else {"weights": [pack(value) for value in weights]}))

    def advance(self, steps: int, first: int, *, lead_in: int = 0) -> Run:
        """Train ``lead_in`` updates and then ``steps`` timed ones from minibatch ``first`` on, with the weights there.

        Raises:
            WorkerError: the worker failed, or a loss is not finite or missing.
        """
        begin = time.perf_counter()
        # Defaults are not sent: a worker of an earlier revision may not know the argument.
        known = {name: value for name, value in {"first": first, "lead_in": lead_in}.items() if value}
        reply = self._ask("run", steps=steps, **known)
        harness_seconds = time.perf_counter() - begin
        losses = unpack(reply["losses"])
        if losses.shape != (lead_in + steps,):
            raise WorkerError(f"{self.case.id} returned {losses.shape} losses for {lead_in + steps} steps")
        if not np.isfinite(losses).all():
            at = int(np.flatnonzero(~np.isfinite(losses))[0])
            raise WorkerError(f"{self.case.id}: the loss of step {first + at} is {losses[at]}; lower learning_rate")
        return Run(float(reply["wall_seconds"]), float(reply["cpu_seconds"]), harness_seconds, losses)

    def params(self) -> Params:
        """Return the weights after the last ``run``."""
        return tuple(map(unpack, self._ask("params")))

    def versions(self) -> dict[str, str]:
        """Return the versions of Python, numpy and the framework."""
        distributions = [distribution for _, distribution in self.case.implementation.packages]
        return dict(self._ask("versions", distributions=distributions))

    def thread_pools(self) -> list[dict[str, Any]]:
        """Return the BLAS and OpenMP libraries in the process and their threads, as threadpoolctl finds them.

        Of a library's path only the name stays: the run may be published. Afterwards ``flushes_denormals`` says whether
        the main thread's arithmetic has denormal numbers for zero.
        """
        *pools, flushing = self._ask("thread_pools", text=inspect.getsource(threadpoolctl) + FLUSHING)
        self.flushes_denormals = bool(flushing["flushes_denormals"])
        return [pool | {"filepath": Path(pool["filepath"]).name} for pool in pools]

    def memory(self) -> dict[str, int | None]:
        """Return the most memory that the process has held, and how much of it is pages of files now.

        None where the kernel does not say. From VmHWM and not getrusage: ru_maxrss survives exec, so it would start
        with the harness's own peak.
        """
        status = files.read_fields(files.PROC / str(self.pid) / "status")
        read = {name: status.get(key, "").split() for name, key in MEMORY.items()}
        return {name: int(words[0]) * 1024 if words else None for name, words in read.items()}  # of KiB

    def pause(self) -> None:
        """Stop every thread of the process, so that it can take no CPU from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; once it was killed its id may be another's."""
        with contextlib.suppress(ProcessLookupError):  # the next request shows that it is dead
            if self.is_alive:
                os.kill(self.pid, number)
