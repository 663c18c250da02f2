"""The outputs of a session: each is opened before anything is measured, and none that fails takes others with it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.options import storage_folder
from reports import ci
from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from bench.ending import Ending


def check(config: pytest.Config) -> None:
    """Refuse an output that cannot be written, before anything is measured.

    Raises:
        SettingsError: there is one.
    """
    option, benchmarks = config.option, config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001
    if option.comment and option.against is None and option.versions is None:
        raise SettingsError(
            "--comment writes the verdicts of --against or --versions; add one of them, or leave --comment out"
        )
    storage, name = storage_folder(option), benchmarks.save or benchmarks.autosave
    if storage and name:
        try:
            path = benchmarks.storage.get(f"tmp-_{name}.json")  # as long as the name will be
            path.parent.mkdir(parents=True, exist_ok=True)
            try_to_write(path)
        except OSError as error:
            raise SettingsError(
                f"cannot save into {storage}: {error.strerror}; choose another with --benchmark-storage"
            ) from None
    check_file(option.comment, "--comment")
    check_file(benchmarks.json, "--benchmark-json")
    junit = getattr(option, "xmlpath", None)
    if junit:
        path = Path(os.path.expandvars(junit)).expanduser()
        check_file(path, "--junitxml", make=path.parent)
    ci.append_summary("", os.environ)


def check_file(path: Path | None, option: str, make: Path | None = None) -> None:
    """Refuse a file that cannot be written; ``make`` is the folder that its writer makes.

    Raises:
        SettingsError: it cannot.
    """
    try:
        if make:
            make.mkdir(parents=True, exist_ok=True)
        if path:
            try_to_write(path)
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot write {path}: {reason}; choose another with {option}") from None


def try_to_write(path: Path) -> None:
    """Open a file as for writing, and leave everything as it was; a pipe that has no reader is not waited for."""
    new = not os.path.lexists(path)
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666))
    if new:
        path.unlink()


def write_comparison(text: str, comment: Path | None, ending: Ending) -> None:
    """Write the Markdown of a comparison."""
    try:
        if comment:
            with comment.open("w", encoding="utf-8", errors="replace") as file:
                file.write(text)
    except OSError as error:
        ending.problem(f"cannot write {comment}: {error.strerror}; choose another with --comment")
    with ending.caught():
        ci.append_summary(text, os.environ)


def guard_saving(benchmarks: Any, ending: Ending, kept: Callable[[str], str]) -> None:  # noqa: ANN401  # untyped
    """Let each of pytest-benchmark's two outputs fail alone; ``kept`` says where the rounds are, and a remedy."""

    def guarded(save: Callable[..., None], what: str, *arguments: Any) -> None:  # noqa: ANN401  # passed on
        try:
            save(*arguments)
        except OSError as error:
            ending.problem(f"{what}: {error.strerror}{kept('free space, and ')}")

    def save_all(save: Callable[[], None]) -> None:
        with ending.caught():
            if benchmarks.benchmarks:  # it would warn that there are none, which -W error makes an error
                save()

    benchmarks.save_json = partial(guarded, benchmarks.save_json, f"cannot write {benchmarks.json}")
    benchmarks.storage.save = partial(guarded, benchmarks.storage.save, "the run could not be saved")
    benchmarks.handle_saving = partial(save_all, benchmarks.handle_saving)
