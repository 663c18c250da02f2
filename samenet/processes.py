"""How a process that was started here has ended."""

from __future__ import annotations

import os
import time

POLL_SECONDS = 0.01


def exit_code(pid: int, timeout_seconds: float) -> int | None:
    """Wait for a child to end; returns its exit code, minus the signal that killed it, or None if that is unknown.

    It may be no child of this process, may have been waited for already, or may not end in time.
    """
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    return None
