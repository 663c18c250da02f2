"""``python -m`` in a fork of a process that has imported what takes longest, which is half of a tiny campaign.

No module of this project is imported before the fork, but for this file. What a fork does not show: how Python starts
(``sitecustomize``, hash seeds) and how it ends (modules are not freed), and whether somebody keeps the output open.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "pandas", "pytest", "rich.live", "scipy.special")
# Variables that none of them reads: where another one differs, a command gets a process of its own. scikit-learn sets
# those of OpenMP (KMP) wherever it is imported, here for the digits.
READ_LATER = re.compile("CI|COLUMNS|PATH|PYTHONPATH|TMPDIR|(GITHUB|KMP|PIP|PYTEST|SAMENET|TOX|UV)_.*")
VARIABLES = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # before a test sets others


class Server(NamedTuple):
    """The process that is forked: where it takes requests, and where it answers."""

    requests: IO[str]
    answers: IO[str]


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float, fresh: bool = False
) -> CompletedProcess[str]:
    """Run ``command`` to its end, and return its output.

    ``python -m`` runs in a fork, unless it should be ``fresh`` or has other variables that are read at the start.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout``, in seconds.
    """
    is_module = tuple(command[:2]) == (sys.executable, "-m")
    if fresh or not is_module or at_the_start(env) != at_the_start(VARIABLES):
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        request = {"arguments": command[2:], "folder": str(cwd), "variables": dict(env), "timeout": timeout}
        server().requests.write(json.dumps(request | {"outputs": [output.name, errors.name]}) + "\n")
        server().requests.flush()
        if not (answer := server().answers.readline()):
            server.cache_clear()
            raise RuntimeError(f"the process that runs {command} in a fork has ended")
        if (code := json.loads(answer)) is None:
            raise subprocess.TimeoutExpired(list(command), timeout, output.read(), errors.read())
        return CompletedProcess(list(command), code, output.read(), errors.read())


def at_the_start(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those that Python or one of the packages may read when it starts."""
    return {name: value for name, value in variables.items() if not READ_LATER.fullmatch(name)}


@functools.cache
def server() -> Server:
    """Start the process that is forked; it ends with this one, which closes its input."""
    command, pipe = [sys.executable, "-m", __name__], subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=VARIABLES, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin
    assert process.stdout
    return Server(process.stdin, process.stdout)


def serve() -> None:
    """Answer each request with an exit code, or null at its timeout; return in the fork, as what it asks for."""
    for name in PACKAGES:
        __import__(name)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        timeout = request.pop("timeout")
        if not (child := os.fork()):
            return become(**request)
        sys.stdout.write(json.dumps(wait(child, timeout)) + "\n")
        sys.stdout.flush()
    return None


def become(arguments: list[str], folder: str, variables: dict[str, str], outputs: list[str]) -> None:
    """Run a module as a new process would, and end without freeing all modules, which takes a quarter of a second."""
    for number, path in enumerate([os.devnull, *outputs]):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None
    sys.path[:1] = [folder, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    module, *sys.argv[1:] = arguments
    code = 1
    atexit.register(lambda: leave(code))  # the first that is registered here runs last
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def leave(code: int) -> NoReturn:
    """End this process at once, with what it has printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(child: int, timeout: float) -> int | None:
    """Return a child's exit code, or None where it had to be killed."""
    descriptor = os.pidfd_open(child)
    ended, _, _ = select.select([descriptor], [], [], timeout)
    os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    serve()
