"""Runs first in a worker's interpreter, before numpy or a framework can start a thread; execnet sends it there.

It needs nothing but the standard library, since nothing of samenet is importable there yet.
"""

import ctypes
import faulthandler
import os
import random
import signal
import sys

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def prepare(root: str, cpus: list[int], environment: dict[str, str], log: str) -> bytearray:
    """Confine this process to ``cpus`` and make what is in ``root`` importable; return padding to keep allocated."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # ends a worker whose harness was killed, even a paused one
    # glibc fits its thresholds for giving memory back to the sizes that a process happens to have freed before; a
    # script that reads its data itself ends at their upper limits, and without them numpy's step had 700 page faults
    # and took a fifth longer. So every worker has the upper limits.
    libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(M_TRIM_THRESHOLD, 64 << 20)
    # Where in a page its arrays begin depends on all that was allocated before, down to the length of the folder's
    # name: equal code in two folders differed by 1 %, to the same side in 12 of 13 launches. Padding of random length
    # makes it chance, which the launches show (Mytkowicz et al., *Producing wrong data without doing anything
    # obviously wrong!*, ASPLOS 2009).
    padding = bytearray(random.randrange(1024, 5120, 16))  # noqa: S311  # not a secret
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to handle
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    faulthandler.enable(2)
    # A sitecustomize or a .pth file has run before this, and may have changed it.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(os.path.dirname(log))  # noqa: PTH120  # where no file such as .numba_config.yaml is read
    # Those that execnet has started; later ones inherit it.
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208  # pathlib would be one more import
        try:
            os.sched_setaffinity(int(thread), cpus)
        except OSError:  # a CPU went offline, or out of the cpuset: the harness finds the affinity wrong in each round
            continue
    sys.path.insert(0, root)
    return padding


if __name__ == "__channelexec__":
    padding = prepare(*channel.receive())  # type: ignore[name-defined]  # noqa: F821  # execnet's
    channel.send(os.getpid())  # type: ignore[name-defined]  # noqa: F821
    from impls import worker

    run = worker.Service.run.__code__
    channel.send(run.co_varnames[: run.co_argcount])  # type: ignore[name-defined]  # noqa: F821
    worker.serve(channel)  # type: ignore[name-defined]  # noqa: F821
