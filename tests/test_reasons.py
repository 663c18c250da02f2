"""The reason of a failed case: an exception's type and the first line of its message, never a framework's advice."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from impls.worker import LONGEST_REASON, reason
from samenet.environments import ROOT, find_interpreter
from samenet.errors import NoInterpreterError, WorkerError
from samenet.failures import first_line
from samenet.git import complaint
from samenet.machine.cpus import choose_cpus
from samenet.revision import tox_reason
from samenet.workers import Worker
from tests.support.workers import CASES, implementation, interpreter_for

if TYPE_CHECKING:
    from pathlib import Path

NUMPY = next(case for case in CASES if case.id == "numpy-cpu")
INNER = "Traceback (most recent call last):\n  File 'x', line 1, in f\nKeyError: 'inner'\n"


class Silent(Exception):  # noqa: N818  # as foreign exceptions are called
    """Cannot say what it is."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


RAISING = {
    "ValueError: one line": "raise ValueError('one line')",
    "ValueError: first": "raise ValueError('first\\n\\nSet VERBOSE=1 for the stack trace')",
    "ValueError: after an empty line": "raise ValueError('\\n\\n  after an empty line\\nmore')",
    "ValueError": "raise ValueError",
    "RuntimeError: outer": "try:\n    1 / 0\nexcept Exception as error:\n    raise RuntimeError('outer') from error",
    "RuntimeError: next": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise RuntimeError('next')",
    "RuntimeError: caught": f"raise RuntimeError('caught\\nOriginal ' + {INNER!r})",
    "SyntaxError: invalid syntax (x.py, line 1)": "compile('a b', 'x.py', 'exec')",
    "ExceptionGroup: two (2 sub-exceptions)": "raise ExceptionGroup('two', [ValueError('a'), TypeError('b\\nc')])",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "SystemExit: 3": "raise SystemExit(3)",
    "FileNotFoundError: [Errno 2] No such file or directory: '/none'": "open('/none')",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)": "import json; json.loads('')",
}


def caught(source: str) -> BaseException:
    """Return what ``source`` raises."""
    try:
        exec(source, {})  # noqa: S102  # the sources above
    except BaseException as error:  # noqa: BLE001  # all kinds
        return error
    raise AssertionError(source)


@pytest.mark.parametrize(("expected", "source"), RAISING.items(), ids=RAISING)
def test_a_worker_sends_the_type_and_the_first_line(expected: str, source: str) -> None:
    """Of the outermost exception, whatever else its message has."""
    assert reason(caught(source)) == expected


def test_the_reason_of_any_exception_is_short_and_safe() -> None:
    """Theano's messages are whole graphs, and an exception may be unable to say anything."""
    assert len(reason(ValueError("x" * 100_000))) < LONGEST_REASON + 10
    assert reason(Silent()).endswith("test_reasons.Silent")


@pytest.mark.parametrize(("expected", "source"), RAISING.items(), ids=RAISING)
def test_pythons_own_text_gives_the_same(expected: str, source: str) -> None:
    """Of a worker that could not start, or of an earlier revision's, there is only a traceback."""
    text = "".join(traceback.format_exception(caught(source)))
    assert first_line(text).partition(":")[0] == expected.partition(":")[0]
    if "an empty line" not in expected and "SyntaxError" not in expected:
        assert first_line(text) == expected


def test_a_real_worker_sends_no_more(tmp_path: Path) -> None:
    """Neither execnet's text nor the rest of the message."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "impls", tree / "impls")
    (tree / "impls/numpy_mlp.py").write_text("raise ValueError('first\\nsecond')\n")
    with (
        Worker(NUMPY, interpreter_for(NUMPY), tree, cpus=choose_cpus(1), folder=tmp_path) as worker,
        pytest.raises(WorkerError, match=r"^numpy-cpu failed in load_framework: ValueError: first$"),
    ):
        worker.load_framework()


@pytest.mark.parametrize(
    ("output", "errors", "expected"),
    [
        ("evaluation failed :(", "ERROR: Ignored\nERROR: No matching distribution found for a==9\n", "No matching"),
        ("evaluation failed :(", "error: No solution found\n  cause: Because there is no version of a==9\n", "Because"),
        (
            "evaluation failed :(",
            "  \u00d7 No solution\n  \u2570\u2500\u25b6 Because a has\n      no version\n",
            "Because a has no",
        ),
        (
            "a: FAIL code 1\nevaluation failed :(",
            "Traceback (most recent call last):\n  x\nKeyError: 1\n",
            "KeyError: 1",
        ),
        ("  a: SKIP (0.1 seconds)\nevaluation failed :(", "", "there is no python3.11; install it"),
        ("  a: FAIL\n evaluation failed :(", "", "a: FAIL"),
        ("", "", "it does not say why"),
    ],
)
def test_toxs_last_line_is_no_reason(output: str, errors: str, expected: str) -> None:
    """It is ``evaluation failed`` always."""
    assert tox_reason(output, errors, "python3.11\nnumpy").startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("warning: refname 'x' is ambiguous.\n", ""),
        ("fatal: bad revision 'x'\n", "bad revision 'x'"),
        ("hint: a\nerror: b\nfatal: c\n", "b"),
        (
            "fatal: detected dubious\nTo add, call:\n\n\tgit config --add x\n",
            "detected dubious; run: git config --add x",
        ),
        ("fatal: not a git repository: /x\n", "not a git repository: /x; run this in a git checkout of samenet"),
    ],
)
def test_gits_message_is_one_sentence(text: str, expected: str) -> None:
    """With its own remedy, if it has one."""
    assert complaint(text) == expected


def test_a_package_that_is_installed_has_no_tox(tmp_path: Path) -> None:
    """Its remedy is pip."""
    absent = replace(implementation("torch"), packages=(("absent_package", "absent-package"),), environment="absent")
    with pytest.raises(NoInterpreterError, match=r"run: python -m pip install absent-package$"):
        find_interpreter(absent, {}, tmp_path)
