"""git, asked about the repository that a folder belongs to, whatever the variables of the caller name."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.errors import RevisionError
from samenet.saved import Commit

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of git's variables, those that name no repository and change no output; a hook's GIT_DIR would lead to another one.
KEPT = {
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXEC_PATH",
}
GIVEN = {"GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"}  # hold settings; of these only who is trusted counts


def run_git(root: Path, *arguments: str, environment: Mapping[str, str]) -> bytes:
    """Return what ``git`` prints in ``root``, with these variables besides those that are not git's.

    Raises:
        RevisionError: git is not there, or fails.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = others | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"} | dict(environment)
    try:
        done = subprocess.run(["git", *arguments], cwd=root, env=settings, capture_output=True, check=True)  # noqa: S603, S607
    except FileNotFoundError:
        raise RevisionError("there is no git on this machine; install it") from None
    except OSError as error:
        raise RevisionError(f"git does not start: {error.strerror}; install it") from None
    except subprocess.CalledProcessError as error:
        raise RevisionError(complaint(error.stderr.decode(errors="replace"))) from None
    return done.stdout


def complaint(text: str) -> str:
    """Return what ``git`` complains about, and the command that it advises, as one sentence; "" if it is silent."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    facts = [re.sub("^(fatal|error): ", "", line) for line in lines if not line.startswith(("warning: ", "hint: "))]
    if not facts:
        return ""
    if facts[0].startswith("not a git repository"):
        return f"{facts[0]}; run this in a git checkout of samenet"
    advised = [fact for fact in facts[1:] if fact.startswith("git ")]
    return f"{facts[0]}; run: {advised[0]}" if advised else facts[0]


def git(root: Path, *arguments: str) -> bytes:
    """Return what ``git`` prints in ``root``, of the repository that ``root`` belongs to.

    Raises:
        RevisionError: git is not there, or fails.
    """
    present = {name: value for name, value in os.environ.items() if value}
    trusted: list[str] = []
    if GIVEN & set(present):
        given = {name: value for name, value in present.items() if name.startswith("GIT_CONFIG_")}
        with contextlib.suppress(RevisionError):  # there are none, or the settings are broken
            folders = run_git(Path("/"), "config", "--null", "--get-all", "safe.directory", environment=given)
            trusted = [f"safe.directory={folder}" for folder in os.fsdecode(folders).split("\0")[:-1]]
    options = [option for setting in trusted for option in ("-c", setting)]
    return run_git(root, *options, *arguments, environment={name: present[name] for name in KEPT & set(present)})


def is_tracked(root: Path, revision: str) -> bool:
    """Return whether ``revision`` has implementations in the folder ``root``.

    Raises:
        RevisionError: there is no such revision, or no repository.
    """
    return bool(git(root, "ls-tree", revision, "--", "impls"))


def present_commit(root: Path) -> Commit:
    """Return the commit that ``root`` has checked out; it is unknown if ``root`` is not part of a repository."""
    commit = Commit()
    with contextlib.suppress(RevisionError):
        if is_tracked(root, "HEAD"):  # not installed or copied into some other project's repository
            name, branch = git(root, "rev-parse", "HEAD"), git(root, "rev-parse", "--abbrev-ref", "HEAD")
            commit = Commit(name.decode().strip(), branch.decode(errors="replace").strip())
            commit = replace(commit, dirty=bool(git(root, "status", "--porcelain")))
    return commit
