"""A command in a fork is the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import warm

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = """
import atexit, json, os, sys, tempfile
atexit.register(print, "at the end")
print(json.dumps([__name__, sys.argv, sys.path, dict(os.environ)]))
print(os.getcwd(), tempfile.gettempdir(), repr(sys.stdin.read()))
print("an error", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("sys.exit(3)", 3), ("sys.exit('a reason')", 1), ("1 / 0", 1), ("os.kill(os.getpid(), 9)", -9)],
)
def test_a_fork_is_like_a_process_of_its_own(tmp_path: Path, end: str, code: int) -> None:
    """Arguments, paths, variables, folders, both outputs and the exit code are the same."""
    (tmp_path / "shown.py").write_text(SHOWN + end)
    environment = warm.VARIABLES | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path), "SAMENET_LOCK": "a\nb"}
    command = [sys.executable, "-m", "shown", "one", "--two=3"]
    forked, fresh = (warm.run(command, cwd=tmp_path, env=environment, timeout=60, fresh=each) for each in (False, True))
    assert forked.returncode == fresh.returncode == code
    assert forked.stdout == fresh.stdout
    assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


@pytest.mark.parametrize(("name", "has_pandas"), [("PYTHONHASHSEED", "False"), ("KMP_INIT_AT_FORK", "True")])
def test_what_is_read_at_the_start_is_not_passed_to_a_fork(tmp_path: Path, name: str, has_pandas: str) -> None:
    """Such a command gets a process of its own; scikit-learn's variables, which it sets for good, do not matter."""
    (tmp_path / "shown.py").write_text(f"import os, sys; print('pandas' in sys.modules, os.environ[{name!r}])")
    environment = warm.VARIABLES | {"PYTHONPATH": str(tmp_path), name: "7"}
    done = warm.run([sys.executable, "-m", "shown"], cwd=tmp_path, env=environment, timeout=60)
    assert done.stdout == f"{has_pandas} 7\n"


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """The next one gets its own answer."""
    (tmp_path / "shown.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    environment = warm.VARIABLES | {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        warm.run([sys.executable, "-m", "shown"], cwd=tmp_path, env=environment, timeout=3)
    assert raised.value.output == "here\n"
    (tmp_path / "shown.py").write_text("print('there')")
    assert warm.run([sys.executable, "-m", "shown"], cwd=tmp_path, env=environment, timeout=60).stdout == "there\n"
