"""``python -m`` in a fork of a process that has imported what takes longest, which is half of a tiny campaign.

Nothing of this project is imported before the fork.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "pandas", "pytest", "rich.live", "scipy.special")
AT_THE_START = re.compile("PYTHON(?!PATH$)|LC_|LANG|LD_|OMP_|OPENBLAS_")  # variables that are not read again
POLL_SECONDS = 0.01


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> CompletedProcess[str]:
    """Run ``command`` to its end, as ``subprocess.run`` does, which takes all but ``python -m`` with usual variables.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout``, in seconds.
    """
    if tuple(command[:2]) != (sys.executable, "-m") or at_the_start(env) != at_the_start(os.environ):
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        requests, answers = server()
        request = {"arguments": command[2:], "folder": str(cwd), "variables": dict(env), "timeout": timeout}
        requests.write(json.dumps(request | {"outputs": [output.name, errors.name]}) + "\n")
        requests.flush()
        code = json.loads(answers.readline())
        if code is None:
            raise subprocess.TimeoutExpired(list(command), timeout)
        return CompletedProcess(list(command), code, output.read(), errors.read())


def at_the_start(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those that are read when Python or one of the packages starts."""
    return {name: value for name, value in variables.items() if AT_THE_START.match(name)}


@functools.cache
def server() -> tuple[IO[str], IO[str]]:
    """Start the process that is forked; it ends with this one, which closes its input."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command, pipe = [sys.executable, "-m", __name__], subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout


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
    """Run a module as a new process with these variables would, but for its end: to free all modules takes as long."""
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
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    serve()
