"""Start, pin, pause, talk to, time out and bury the worker processes."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import execnet
import numpy as np
import psutil
import threadpoolctl

from impls.worker import pack, unpack
from impls.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.data import Split
    from impls.interface import Float32, Params
    from impls.registry import Case

# Every library that has a thread setting gets the same one, and affinity holds those that have none (XLA).
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# Runs first in the worker, before numpy or a framework can start a thread. Affinity is set on each thread that execnet
# has started; later ones inherit it. The death signal buries a worker whose harness was killed, even a paused one.
# glibc fits its thresholds for giving memory back to the sizes that a process happens to have freed before; a script
# that reads its data itself ends at their upper limits, and without them numpy's step had 700 page faults and took a
# fifth longer. So every worker has the upper limits: M_MMAP_THRESHOLD (-3) 32 MiB, M_TRIM_THRESHOLD (-1) twice that.
# Where in a page its arrays begin depends on all that was allocated before, down to the length of the folder's name:
# equal code in two folders differed by 1 %, to the same side in 12 of 13 launches. Padding of random length makes it
# chance, which the launches show (Mytkowicz et al., *Producing wrong data without doing anything obviously wrong!*,
# ASPLOS 2009).
BOOTSTRAP = """
import ctypes, faulthandler, os, random, signal, sys
root, cpus, environment, log = channel.receive()
libc = ctypes.CDLL(None)
libc.prctl(1, signal.SIGKILL)
libc.mallopt(-3, 32 << 20)
libc.mallopt(-1, 64 << 20)
padding = bytearray(random.randrange(1024, 5120, 16))
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
faulthandler.enable(2)
os.environ.update(environment)
for thread in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(thread), cpus)
sys.path.insert(0, root)
channel.send(os.getpid())
from impls import worker
channel.send("ready")
worker.serve(channel)
"""


class WorkerError(Exception):
    """A worker could not do its work; the message says which, why and, where that is known, what to do."""


class Run(NamedTuple):
    """What one run took, by the worker's clock and by the harness's, messages included; ``losses`` (steps,)."""

    wall_seconds: float
    cpu_seconds: float
    harness_seconds: float
    losses: Float32


class Worker:
    """One process that trains one case, in the interpreter of its framework; a context manager that buries it."""

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
        self.case, self.cpus = case, tuple(cpus)
        self._timeout_seconds = timeout_seconds
        self._log = folder / f"{case.id}-{time.monotonic_ns()}.log"
        settings = dict.fromkeys(THREAD_VARIABLES, str(len(cpus)))
        # The first worker in a folder pays for compiling, and no earlier campaign can pay for it.
        settings |= {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TRITON_CACHE_DIR": str(folder / "triton")}
        theano = os.environ.get("THEANO_FLAGS")
        settings["THEANO_FLAGS"] = ",".join(filter(None, (f"base_compiledir={folder / 'theano'}", theano)))
        settings |= {"JAX_PLATFORMS": case.device.partition(":")[0], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        settings |= {"JAX_ENABLE_COMPILATION_CACHE": "false", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        settings |= environment or {}

        start = time.perf_counter()
        self._group = execnet.Group()
        try:
            gateway = self._group.makegateway(f"popen//python={shlex.quote(str(python))}")
            self._channel = gateway.remote_exec(BOOTSTRAP)
            self._channel.send((str(root), list(cpus), settings, str(self._log)))
            self.pid = int(self._receive("start"))
            self._receive("start")
        except (OSError, AssertionError) as error:  # execnet asserts that the new interpreter answered
            self._group.terminate(timeout=1)
            raise WorkerError(
                f"{python} does not start: {error}; give another with --python {case.implementation.environment}=PATH"
            ) from error
        self.start_seconds = time.perf_counter() - start

    def __enter__(self) -> Self:
        """Return the worker itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Bury the process."""
        self.kill()

    def kill(self) -> None:
        """Kill the process, dead or alive: it holds nothing that is worth a farewell."""
        with contextlib.suppress(AttributeError, ProcessLookupError):  # it may never have told its number
            os.kill(self.pid, signal.SIGKILL)
        self._group.terminate(timeout=1)

    def _ended(self, when: str) -> str:
        """Say how the process ended, and what it wrote first."""
        try:
            code = psutil.Process(self.pid).wait(timeout=5) if hasattr(self, "pid") else None
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            code = None
        how = f"{self.case.id} " + ("went away" if code is None else f"ended with exit code {code}")
        if code is not None and code < 0:
            how = f"{self.case.id} was killed by {signal.Signals(-code).name}"
        written = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return f"{how} {when}" + (f"; it wrote: {written[0]}" if written else "")

    def _receive(self, request: str) -> Any:  # noqa: ANN401  # whatever the request answers
        try:
            return self._channel.receive(self._timeout_seconds)
        except self._channel.TimeoutError:
            self.kill()  # it must not run on beside the others
            raise WorkerError(
                f"{self.case.id} did not finish {request} in {self._timeout_seconds:g} s; raise --timeout"
            ) from None
        except self._channel.RemoteError as error:
            lines = str(error.formatted).strip().splitlines()
            raise WorkerError(f"{self.case.id} failed in {request}: {lines[-1]}") from error
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

    def build(self, workload: Workload, train: Split, initial: Params) -> float:
        """Make the trainer on the whole minibatches of ``train``; returns the seconds that its constructor took.

        Afterwards ``transfer_seconds`` is what it takes to put the data on a device, None on a CPU.
        """
        rows = len(train.labels) // workload.batch_size * workload.batch_size
        reply = self._ask(
            "build",
            # What is as ever is not sent: a worker of an earlier revision knows the fields of its day only.
            workload={name: value for name, value in asdict(workload).items() if value != getattr(Workload, name)},
            images=pack(train.images[:rows]),
            labels=pack(train.labels[:rows]),
            initial=[pack(value) for value in initial],
            device=self.case.device,
        )
        self.transfer_seconds: float | None = reply.get("transfer_seconds")  # an earlier revision does not tell
        return float(reply["build_seconds"])

    def run(self, steps: int, first: int = 0, weights: Params | None = None) -> Run:
        """Train ``steps`` updates from minibatch ``first`` on, starting with ``weights`` or else the initial ones.

        Raises:
            WorkerError: the worker failed, or a loss is not finite or missing.
        """
        # What is not asked for is not sent: a worker of an earlier revision knows the plain requests only.
        self._ask("reset", **({} if weights is None else {"weights": [pack(value) for value in weights]}))
        begin = time.perf_counter()
        reply = self._ask("run", steps=steps, **({"first": first} if first else {}))
        harness_seconds = time.perf_counter() - begin
        losses = unpack(reply["losses"])
        if losses.shape != (steps,):
            raise WorkerError(f"{self.case.id} returned {losses.shape} losses for {steps} steps")
        if not np.isfinite(losses).all():
            first = int(np.flatnonzero(~np.isfinite(losses))[0])
            raise WorkerError(f"{self.case.id}: the loss of step {first} is {losses[first]}; lower learning_rate")
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

        Of a library's path the name stays: where somebody keeps an environment is nobody's business.
        """
        found = self._ask("thread_pools", text=inspect.getsource(threadpoolctl))
        return [pool | {"filepath": Path(pool["filepath"]).name} for pool in found]

    def peak_bytes(self) -> int:
        """Return the most memory that the process has held.

        From VmHWM and not getrusage: ru_maxrss survives exec, so it would start with the harness's own peak.
        """
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def pause(self) -> None:
        """Stop every thread of the process, so that it can take no CPU from the one that is measured."""
        with contextlib.suppress(ProcessLookupError):  # a dead worker is found out by the next request
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
