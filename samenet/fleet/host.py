"""What a host of a fleet does. Dask sends it there by value: it needs Python and Dask, and nothing of samenet's."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import get_worker, secede
from tornado.ioloop import PeriodicCallback

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lets the kernel kill a process with the thread that has started it, and becomes the program that is to run. Code of
# ours between fork and exec could wait for ever for a lock of another thread.
LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""
TOPIC = "samenet"  # of Dask's events: one for all plans, since the scheduler keeps each
LAST_LINES = 40  # of a campaign's output, which come back
DESCRIBE_SECONDS = 120.0
USAGE_ERROR, BUSY = 4, os.EX_TEMPFAIL  # exit codes of pytest and of samenet
CANNOT_CONTINUE = "leave --resume out"  # as where its header was cut short, or the host has other CPUs now
HEARTBEAT_SECONDS = 20.0  # of a host that measures; usually Dask's have half a second


@dataclass(frozen=True, kw_only=True)
class Job:
    """A campaign on a host: ``name`` and ``arguments`` are the campaign's own; the other fields are the fleet's."""

    plan: str
    name: str
    folder: str
    python: str
    variables: dict[str, str]
    environments: tuple[str, ...]
    arguments: tuple[str, ...]
    limit_seconds: float

    @property
    def tree(self) -> str:
        """The checkout on this host."""
        return os.path.expandvars(os.path.expanduser(self.folder))  # noqa: PTH111  # Path has no expandvars

    @property
    def interpreter(self) -> str:
        """The path of the interpreter."""
        return str(Path(self.tree, self.python))

    @property
    def outboxes(self) -> Path:
        """The folder on this host that keeps what the plan's campaigns measured, until the client has it."""
        cache = self.variables.get("SAMENET_CACHE") or os.environ.get("SAMENET_CACHE") or "~/.cache/samenet"
        return Path(cache).expanduser() / "outbox" / self.plan / host_name()

    @property
    def outbox(self) -> Path:
        """The part of it for this campaign."""
        return self.outboxes / self.name


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


def bound_to_us(program: str, *arguments: str) -> list[str]:
    """Return the command line of a program that does not outlive the thread that starts it.

    Raises:
        OSError: there is no such program, which the launcher could not say.
    """
    with Path(program).open("rb"):
        return [sys.executable, "-S", "-E", "-c", LAUNCHER, program, *arguments]


def run(job: Job, command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, which may take so many ``seconds``."""
    return subprocess.run(  # noqa: S603
        bound_to_us(*command),
        cwd=job.tree,
        env=environment(job),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def describe(job: Job) -> dict[str, Any]:
    """Return what the checkout on this host says of itself, or ``problem``, a sentence."""
    unfinished = sorted({path.parents[1].name for path in job.outboxes.glob("*/journal/*.jsonl")})
    found: dict[str, Any] = {"host": host_name(), "unfinished": unfinished}
    try:
        done = run(job, [job.interpreter, "-m", "samenet.fleet.about", *job.arguments], DESCRIBE_SECONDS)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found | said | {"seconds": time.time()}
    except OSError as error:
        return found | {"problem": f"cannot start {job.interpreter} in {job.tree}: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return found | {"problem": f"{job.interpreter} did not answer in {DESCRIBE_SECONDS:g} s"}
    except (IndexError, ValueError):
        return found | {"problem": f"{job.tree} has no samenet that can be used: {last_line(done.stderr)}"}


def prepare(job: Job) -> dict[str, Any]:
    """Make the environments that the hosts of the fleet need, with tox, and return what ``describe`` does.

    None is made next to a campaign: that would disturb it, and may be using them.
    """
    found = describe(job)
    if not job.environments or found.get("busy"):
        return found
    problem = make_environments(job)
    return {"host": host_name(), "problem": problem} if problem else describe(job)


def make_environments(job: Job) -> str:
    """Make the job's environments, and return why they could not be made, or nothing."""
    variables = environment(job)
    tox = shutil.which("tox", path=variables.get("PATH"))
    if not tox:
        return "tox, which makes its environments, is not on its PATH"
    folder = Path(variables.get("TOX_WORK_DIR") or Path(job.tree, ".tox"))
    try:
        folder.mkdir(exist_ok=True)
        with (folder / "fleet.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # hosts may share the folder
            made = run(job, [tox, "run", "--notest", "-e", ",".join(job.environments)], job.limit_seconds)
    except OSError as error:
        return f"cannot make environments in {folder}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"its environments were not made in {job.limit_seconds:g} s"
    if not made.returncode:
        return ""
    return f"tox cannot make {', '.join(job.environments)}: {last_line(made.stdout + made.stderr)}"


def last_line(output: str) -> str:
    """Return the last line of a program's output that is not empty."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it says nothing")


def measure(job: Job) -> Returned:
    """Run the campaign to its end, or continue it, and return its files; they stay here until ``forget``."""
    ours = vars(get_worker())
    if ours.get("samenet_measures"):  # for a client that was killed, maybe
        return Returned(host=host_name(), code=BUSY)
    ours["samenet_measures"] = True
    secede()  # or nobody would be answered meanwhile
    try:
        return run_or_continue(job)
    finally:
        ours["samenet_measures"] = False


def run_or_continue(job: Job) -> Returned:
    """Run the campaign, unless it has ended here already."""
    try:
        job.outbox.mkdir(parents=True, exist_ok=True)
        if has_run(job.outbox):  # to its end without its client
            return Returned(host=host_name(), code=0, files=files(job.outbox))
    except OSError as error:
        return Returned(host=host_name(), code=USAGE_ERROR, output=f"cannot save into {job.outbox}: {error.strerror}")
    returned = run_campaign(job)
    if returned.code == USAGE_ERROR and CANNOT_CONTINUE in returned.output:
        for journal in job.outbox.glob("journal/*.jsonl"):
            journal.rename(journal.with_suffix(".refused"))
        returned = run_campaign(job)
    return returned


def has_run(outbox: Path) -> bool:
    """Return whether a campaign has ended here; a run that was cut short is removed."""
    for path in outbox.glob("*/*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
        else:
            return True
    return False


def run_campaign(job: Job) -> Returned:
    """Run the campaign, or continue it."""
    options = [*job.arguments, f"--benchmark-storage={job.outbox}", f"--benchmark-save={job.name}"]
    if list(job.outbox.glob("journal/*.jsonl")):
        options.append("--resume")
    with (
        rare_heartbeats(),
        subprocess.Popen(  # noqa: S603
            bound_to_us(job.interpreter, "-m", "pytest", "bench/", *options),
            cwd=job.tree,
            env=environment(job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        late = threading.Timer(job.limit_seconds, os.killpg, [process.pid, signal.SIGKILL])  # and what it has started
        late.start()
        lines: deque[str] = deque(maxlen=LAST_LINES)
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if line.startswith("launch "):
                    report(job, line.strip())
            is_late = not late.is_alive()
        finally:
            late.cancel()  # or it could kill another process with this number
    code = None if is_late else process.returncode
    return Returned(host=host_name(), code=code, output="\n".join(lines), files=files(job.outbox))


@contextmanager
def rare_heartbeats() -> Iterator[None]:
    """Let Dask's worker tell its scheduler now, and seldom then, that it is there: it takes time of the CPUs."""
    worker = get_worker()
    usual, rare = worker.periodic_callbacks["heartbeat"], PeriodicCallback(worker.heartbeat, 1000 * HEARTBEAT_SECONDS)
    worker.periodic_callbacks["rare-heartbeat"] = rare  # so that it ends with the worker
    try:
        worker.loop.add_callback(usual.stop)
        worker.loop.add_callback(worker.heartbeat)
        worker.loop.add_callback(rare.start)
        yield
    finally:
        worker.loop.add_callback(rare.stop)
        worker.loop.add_callback(usual.start)


def report(job: Job, line: str) -> None:
    """Send the client what is measured so far, with the line that the campaign has printed."""
    message = {"plan": job.plan, "host": host_name(), "name": job.name, "line": line, "files": files(job.outbox)}
    get_worker().log_event(TOPIC, message)


def files(outbox: Path) -> dict[str, bytes]:
    """Return the saved runs and the journals of a campaign, compressed, by their paths."""
    found = {}
    for path in sorted([*outbox.rglob("*.json"), *outbox.rglob("*.jsonl")]):
        with suppress(FileNotFoundError):  # a journal is removed when its run is saved
            found[str(path.relative_to(outbox))] = zlib.compress(path.read_bytes())
    return found


def collect(job: Job) -> Returned:
    """Return the files of the plan that this host still has."""
    found: dict[str, bytes] = {}
    for outbox in job.outboxes.glob("*"):
        found |= files(outbox)
    return Returned(host=host_name(), files=found)


def forget(job: Job) -> None:
    """Remove what the client has."""
    shutil.rmtree(job.outbox, ignore_errors=True)
