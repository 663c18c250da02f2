"""What a host of a fleet does. Dask sends it there by value: it needs Python and Dask, and nothing of samenet's."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import get_worker

PR_SET_PDEATHSIG = 1
LAST_LINES = 40  # of a campaign's output, which come back
DESCRIBE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A campaign on a host: ``arguments`` are those of ``pytest bench/``; the other fields are the fleet's."""

    plan: str
    folder: str
    python: str
    variables: dict[str, str]
    arguments: tuple[str, ...] = ()
    limit_seconds: float = 0.0

    @property
    def tree(self) -> str:
        """The checkout on this host."""
        return os.path.expandvars(os.path.expanduser(self.folder))  # noqa: PTH111  # Path has no expandvars

    @property
    def interpreter(self) -> str:
        """The path of the interpreter."""
        return str(Path(self.tree, self.python))

    @property
    def topic(self) -> str:
        """The name of Dask's events of this plan."""
        return f"samenet-{self.plan}"

    @property
    def outbox(self) -> Path:
        """The folder on the host that keeps what was measured, until the client has it."""
        cache = self.variables.get("SAMENET_CACHE") or os.environ.get("SAMENET_CACHE") or "~/.cache/samenet"
        return Path(cache).expanduser() / "outbox" / self.plan / host_name()


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a host sends back: the exit ``code`` of its campaign, None where it was stopped, and its files."""

    host: str
    code: int | None = None
    output: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


def host_name() -> str:
    """Return what the fleet calls this host: SAMENET_HOST, or Slurm's name of the node, or its own."""
    return os.environ.get("SAMENET_HOST") or os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def environment(job: Job) -> dict[str, str]:
    """Return the variables of this process without those that Dask has set for its workers, such as OMP_NUM_THREADS."""
    of_dask: set[str] = set()
    for name in ("distributed.nanny.environ", "distributed.nanny.pre-spawn-environ"):
        of_dask |= dask.config.get(name, {}).keys()
    kept = {name: text for name, text in os.environ.items() if name not in of_dask and not name.startswith("DASK_")}
    return kept | job.variables | {"SAMENET_HOST": host_name()}


def end_with_parent() -> None:
    """Let the kernel kill this process with the thread that has started it, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def describe(job: Job) -> dict[str, Any]:
    """Return what the checkout on this host says of itself, or ``problem``, a sentence."""
    found: dict[str, Any] = {"host": host_name(), "seconds": time.time()}
    command = [job.interpreter, "-m", "samenet.fleet.about"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=job.tree,
            env=environment(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DESCRIBE_SECONDS,
            check=False,
        )
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found | said
    except OSError as error:
        return found | {"problem": f"cannot start {job.interpreter} in {job.tree}: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return found | {"problem": f"{job.interpreter} did not answer in {DESCRIBE_SECONDS:g} s"}
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        return found | {"problem": f"{job.tree} has no samenet that can be used: {last}"}


def measure(job: Job) -> Returned:
    """Run the campaign to its end, or continue it, and return its files; they stay here until ``forget``."""
    job.outbox.mkdir(parents=True, exist_ok=True)
    options = [*job.arguments, f"--benchmark-storage={job.outbox}", f"--benchmark-save={job.plan}"]
    if list(job.outbox.glob("journal/*.jsonl")):
        options.append("--resume")
    with subprocess.Popen(  # noqa: S603
        [job.interpreter, "-m", "pytest", "bench/", *options],
        cwd=job.tree,
        env=environment(job),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509
    ) as process:
        late = threading.Timer(job.limit_seconds, stop, [process])
        late.start()
        lines: deque[str] = deque(maxlen=LAST_LINES)
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            if line.startswith("launch "):
                report(job, line.strip())
    is_late = not late.is_alive()
    late.cancel()
    code = None if is_late else process.returncode
    return Returned(host=host_name(), code=code, output="\n".join(lines), files=files(job))


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a campaign and all that it has started: its session."""
    os.killpg(process.pid, signal.SIGKILL)


def report(job: Job, line: str) -> None:
    """Send the client what is measured so far, with the line that the campaign has printed."""
    get_worker().log_event(job.topic, {"host": host_name(), "line": line, "files": files(job)})


def files(job: Job) -> dict[str, bytes]:
    """Return the saved runs and the journals of a job, compressed, by their paths."""
    found = [*job.outbox.rglob("*.json"), *job.outbox.rglob("*.jsonl")]
    return {str(path.relative_to(job.outbox)): zlib.compress(path.read_bytes()) for path in sorted(found)}


def collect(job: Job) -> Returned:
    """Return the files of a job that this host still has."""
    return Returned(host=host_name(), files=files(job))


def forget(job: Job) -> None:
    """Remove what the client has."""
    shutil.rmtree(job.outbox, ignore_errors=True)
