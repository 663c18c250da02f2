"""Each cell of the table of exit codes in docs/ci.md, made for real."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from reports import commands
from reports.__main__ import main
from samenet.environments import ROOT
from samenet.machine.lock import only_campaign
from tests.support import warm
from tests.support.command_line import HIDDEN, PYTEST, TRIES
from tests.support.comparing import save_history, save_pair
from tests.support.exit_codes import SITUATIONS, Command, Situation
from tests.support.repository import NUMPY, STEP, Repository
from tests.support.saved_runs import failed, record, run, save

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

FULL = "/dev/full"
BROKEN = (
    "import os, signal\nimport samenet.measurement\n\ndef broken(*_):\n    {}\n\nsamenet.measurement.prepare = broken\n"
)
PLANTED = {
    "bug": ("planted.py", BROKEN.format("raise ValueError('planted')")),
    "interrupted": ("planted.py", BROKEN.format("os.kill(os.getpid(), signal.SIGINT)")),
    "library": ("rich.py", "raise ImportError(\"No module named 'rich'\")\n"),
}
WRONG = 2 * STEP + '    raise RuntimeError("it broke")\n'
# Each case of tests/plugin is quick: "absent" has no interpreter, "unimportable" fails before anything is timed.
OPTIONS: dict[str, tuple[str, ...]] = {
    "fine": ("-k", "numpy-cpu"),
    "slower": ("-k", "numpy-cpu"),
    "failed": ("-k", "unimportable"),
    "failed twice": ("-k", "unimportable", f"--benchmark-json={FULL}"),
    "allowed": ("-k", "absent", "--allow-empty"),
    "nothing": ("-k", "no_such_case"),
    "option": ("--iterations", "0"),
    "output": ("-k", "absent", "--junitxml=/proc/nowhere/junit.xml"),
    "full": ("-k", "absent", f"--benchmark-json={FULL}"),
    "plugin": ("-k", "numpy-cpu", "--benchmark-disable"),
    "bug": ("-k", "absent", "-p", "planted"),
    "interrupted": ("-k", "absent", "-p", "planted"),
}
AGAINST: dict[str, tuple[str, ...]] = {
    "failed": ("-k", "numpy-cpu"),
    "failed twice": ("-k", "numpy-cpu", "--comment", FULL),
    "output": ("-k", "absent", "--comment", "/nowhere/comment.md"),
    "full": ("-k", "absent", "--allow-empty", "--comment", FULL),
}
EDITS = {"slower": 40 * STEP, "failed": WRONG, "failed twice": WRONG}
REPORTS = (Command.COMPARE, Command.BUILD, Command.HISTORY)


def cells(*wanted: Command) -> list[pytest.ParameterSet]:
    """Return every cell that the tables have for these commands, as a situation, a command and a code."""
    return [
        pytest.param(
            *(each, command, code),
            id=f"{each.name}-{command.name}".replace(" ", "-").lower(),
        )
        for each in SITUATIONS
        for command, code in zip(Command, each.codes, strict=True)
        if command in wanted and code is not None
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, small_mnist: Path) -> Repository:
    """Return a repository with one commit."""
    return Repository(tmp_path_factory.mktemp("exit") / "repository", small_mnist)


def run_pytest(name: str, folder: Path, options: Sequence[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run ``pytest bench/`` in ``folder``."""
    paths = [tmp_path, ROOT / "tests" / "plugin"]
    if name in PLANTED:
        file, text = PLANTED[name]
        (tmp_path / file).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "TOX_WORK_DIR": str(tmp_path / "no-tox")}
    command = [*PYTEST, *options, *HIDDEN, "--benchmark-storage", str(tmp_path / "storage")]
    if name == "stdout":
        command = ["bash", "-c", f'exec "$@" > {FULL}', "bash", *command]
    with only_campaign() if name == "busy" else nullcontext():
        return warm.run(command, cwd=folder, env=environment, timeout=240, fresh=name in PLANTED)


@pytest.mark.parametrize(("situation", "command", "code"), cells(Command.BENCH, Command.AGAINST))
def test_a_cell_of_pytest(
    *, situation: Situation, command: Command, code: int, repository: Repository, tmp_path: Path, small_mnist: Path
) -> None:
    """The exit code is the table's, the reason is printed, and no traceback is."""
    name = situation.name
    options = [
        *OPTIONS.get(name, ("-k", "absent")),
        "--data",
        str(small_mnist),
        "--launches",
        "3",
        "--iterations",
        "20",
    ]
    if command is Command.AGAINST:
        options = [*options, *AGAINST.get(name, ()), "--against", "HEAD", "--budget", "3", "--tolerance", "50"]
    repository.git("checkout", "--quiet", "--", NUMPY)
    if command is Command.AGAINST and name in EDITS:
        repository.edit(NUMPY, STEP, EDITS[name])
    for _ in range(TRIES):
        result = run_pytest(name, repository.folder, options, tmp_path)
        text = result.stdout + result.stderr
        if result.returncode == code or not any(word in text for word in ("contended", "inconclusive  ")):
            break
    else:
        pytest.skip("this machine is too busy")
    assert result.returncode == code, text
    assert not code or situation.says in text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text


def save_runs(situation: Situation, storage: Path) -> None:
    """Save the runs of a situation."""
    if situation.name != "nothing":
        save_history(storage)
    head = {
        "slower": record("numpy", 4.0),
        "failed": failed("numpy"),
        "failed twice": failed("numpy"),
        "empty": record("torch"),
        "allowed": record("torch"),
    }.get(situation.name, record("numpy", 2.0))
    if situation.name == "skipped":
        skipped = record("torch") | {"state": "skipped", "reason": "no interpreter for torch", "seconds": None}
        save(storage, "0003_skipped", run(record("numpy"), skipped, hours=102))
    if situation.name != "nothing":
        save_pair(storage, record("numpy", 2.0), head)


def arguments(situation: Situation, command: Command, tmp_path: Path) -> list[str]:
    """Return the command line of ``python -m reports`` in a situation."""
    out = Path("/proc/nowhere") if situation.name == "output" else tmp_path / "out"
    if situation.name == "full":
        out.mkdir()
        for name in ("report.md", "history.md"):
            (out / name).symlink_to(FULL)
    given = {Command.COMPARE: ["compare", "base", "head"], Command.BUILD: ["build"], Command.HISTORY: ["history"]}
    chosen = [*given[command], "--storage", str(tmp_path)]
    chosen += [] if command is Command.COMPARE else ["--out", str(out)]
    chosen += ["--format", "carved-in-stone"] if situation.name == "option" else []
    return chosen + (["--allow-empty"] if situation.name == "allowed" else [])


ERRORS = {
    "library": ImportError("No module named 'scipy'"),
    "bug": ValueError("planted"),
    "interrupted": KeyboardInterrupt(),
}
SUMMARIES = {"output": "/nonexistent/summary.md", "full": FULL, "failed twice": FULL}


@pytest.mark.parametrize(("situation", "command", "code"), cells(*REPORTS))
def test_a_cell_of_reports(
    situation: Situation, command: Command, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is the table's, the reason is printed, and no traceback is."""
    save_runs(situation, tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    if command is Command.COMPARE and situation.name in SUMMARIES:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", SUMMARIES[situation.name])
    if situation.name in ERRORS:
        planted = mock.Mock(side_effect=ERRORS[situation.name])
        monkeypatch.setattr(commands, f"run_{command.name.lower()}", planted)
    errors = io.StringIO()
    with ExitStack() as stack:
        output = stack.enter_context(Path(FULL).open("w")) if situation.name == "stdout" else io.StringIO()
        stack.enter_context(redirect_stdout(output))
        stack.enter_context(redirect_stderr(errors))
        assert main(arguments(situation, command, tmp_path)) == code, errors.getvalue()
    text = errors.getvalue() + (output.getvalue() if isinstance(output, io.StringIO) else "")
    assert not code or situation.says in text
    assert "Traceback" not in text
    if situation.name == "full":
        answer = "No change was found" if command is Command.HISTORY else "numpy-cpu"
        assert answer in text  # all the same
