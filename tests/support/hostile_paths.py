"""Situations of paths, temporary folders and repositories, and what becomes of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support import scenes
from tests.support.command_line import HIDDEN, QUICK
from tests.support.scenes import ODD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scenes import Scene

BOUNDED = (*QUICK, *HIDDEN)  # with the bounds, and the peak, which is compiled
AGAINST = (
    *QUICK[-2:],
    "--against",
    "HEAD",
    "--budget",
    "3",
    "--launches",
    "2",
    "--iterations",
    "20",
    "--allow-empty",
    "--tolerance",
    "50",
)


@dataclass(frozen=True, kw_only=True)
class PathSituation:
    """A situation that ``make`` makes, the state of each case in it, and what the output says.

    A case that is said to be ``valid`` may be disturbed on a busy machine. Without a state, nothing is measured and the
    exit code is 4. In ``sentence``, which is part of one line, ``...`` is any text. ``commit`` is the saved run's: that
    of the ``tree``, or ``none``.
    """

    situation: str
    make: Callable[[Scene], None]
    states: dict[str, str] = field(default_factory=lambda: {"numpy-cpu": "valid"})
    sentence: str = ""
    cases: str = "numpy-cpu"
    protocol: tuple[str, ...] = QUICK
    commit: str = ""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The sentence as a pattern of a line."""
        return re.compile(".*".join(re.escape(part) for part in self.sentence.split("...")))


WITH_TORCH: dict[str, Any] = {
    "states": {"numpy-cpu": "valid", "torch-cpu": "valid"},
    "cases": "numpy-cpu or [torch-cpu]",
}
MOUNTED_NOEXEC = "the temporary folder ... is mounted noexec; set TMPDIR to another one"
SITUATIONS = (
    PathSituation(
        situation=f"`{ODD}` in the path of every folder",
        make=scenes.everywhere,
        protocol=BOUNDED,
        **WITH_TORCH,
    ),
    PathSituation(
        situation="a path that begins with `//` or `-` or has a new line in it",
        make=scenes.option_like,
    ),
    PathSituation(
        situation="the same characters in the paths of Theano's environment and of TMPDIR",
        make=scenes.theano_everywhere,
        states={"theano-cpu": "valid"},
        cases="theano-cpu",
    ),
    PathSituation(
        situation="a colon in the path of Theano's environment",
        make=scenes.colon,
        states={"theano-cpu": "failed"},
        sentence="theano cannot link to a BLAS below a path with a colon: ...; give another interpreter with --python",
        cases="theano-cpu",
    ),
    PathSituation(
        situation="spaces or quotes in the path of torch's environment",
        make=scenes.odd_environments,
        states={"torch-compile-cpu": "failed"},
        sentence="torch cannot compile below a path with spaces, ...; give another interpreter with --python",
        cases="torch-compile-cpu",
    ),
    PathSituation(
        situation="spaces or quotes in TMPDIR, `torch-compile`",
        make=scenes.odd_temporary,
        states={"torch-compile-cpu": "failed"},
        sentence="torch cannot compile below a path with spaces, ...; set TMPDIR",
        cases="torch-compile-cpu",
    ),
    PathSituation(
        situation="TMPDIR is not UTF-8",
        make=scenes.not_utf8,
        states={"numpy-cpu": "failed"},
        sentence="numpy-cpu does not start: ... is not UTF-8; rename it",
    ),
    PathSituation(
        situation="the name of the data's folder is not UTF-8",
        make=scenes.data_not_utf8,
    ),
    PathSituation(
        situation="TMPDIR is mounted noexec",
        make=scenes.mounted("noexec"),
        protocol=BOUNDED,
        **WITH_TORCH,
    ),
    PathSituation(
        situation="TMPDIR is mounted noexec, `theano`",
        make=scenes.mounted("noexec"),
        states={"theano-cpu": "failed"},
        sentence=MOUNTED_NOEXEC,
        cases="theano-cpu",
    ),
    PathSituation(
        situation="TMPDIR is mounted noexec, `torch-compile`",
        make=scenes.mounted("noexec"),
        states={"torch-compile-cpu": "failed"},
        sentence=MOUNTED_NOEXEC,
        cases="torch-compile-cpu",
    ),
    PathSituation(
        situation="TMPDIR is read-only",
        make=scenes.mounted("ro"),
        states={},
        sentence="TMPDIR is ..., which is not a folder that can be written (Read-only file system); set it to one",
    ),
    PathSituation(
        situation="TMPDIR is full",
        make=scenes.mounted("size=64k", then="head -c 1M /dev/zero > full || true"),
        states={},
        sentence="TMPDIR is ..., which is not a folder that can be written (No space left on device); set it to one",
    ),
    PathSituation(
        situation="TMPDIR does not exist",
        make=scenes.missing_temporary,
        states={},
        sentence="TMPDIR is ..., which is not a folder that can be written (No such file or directory); set it to one",
    ),
    PathSituation(situation="the lock belongs to another user", make=scenes.foreign_lock),
    PathSituation(
        situation="the storage is read-only",
        make=scenes.read_only,
        states={},
        sentence="cannot save into ...: Read-only file system; choose another with --benchmark-storage",
    ),
    PathSituation(situation="the checkout is read-only", make=scenes.read_only_checkout),
    PathSituation(situation="HOME is unset", make=scenes.home(None)),
    PathSituation(
        situation="HOME cannot be written",
        make=scenes.home("/proc/none"),
        states=dict.fromkeys(("torch-cpu", "numba-cpu"), "valid"),
        cases="[torch-cpu] or numba-cpu and not pytensor",  # whose environment has numba
    ),
    PathSituation(
        situation="`--against` in a hook of another repository",
        make=scenes.hook,
        protocol=AGAINST,
        commit="tree",
    ),
    PathSituation(situation="the repository belongs to another user", make=scenes.owned, commit="none"),
    PathSituation(
        situation="`--against` in a repository that belongs to another user",
        make=scenes.owned,
        states={},
        sentence="detected dubious ownership in repository at ...; run: git config --global --add safe.directory",
        protocol=AGAINST,
    ),
    PathSituation(
        situation="the same, trusted by `GIT_CONFIG_COUNT`",
        make=scenes.owned_and_trusted,
        protocol=AGAINST,
    ),
    PathSituation(situation="a tree without a repository", make=scenes.without_git, commit="none"),
    PathSituation(
        situation="`--against` in a tree without a repository",
        make=scenes.without_git,
        states={},
        sentence="not a git repository (or any of the parent directories): .git; run this in a git checkout of samenet",
        protocol=AGAINST,
    ),
    PathSituation(
        situation="`--against` in a submodule that was copied without its repository",
        make=scenes.broken_link,
        states={},
        sentence="not a git repository: /nowhere/.git/modules/samenet; run this in a git checkout of samenet",
        protocol=AGAINST,
    ),
    PathSituation(
        situation="`--against` in a worktree of a bare clone",
        make=scenes.of_bare,
        protocol=AGAINST,
        commit="tree",
    ),
    PathSituation(
        situation="`--against` in a shallow clone",
        make=scenes.shallow,
        protocol=AGAINST,
    ),
    PathSituation(situation="variables that are empty", make=scenes.empty),
    PathSituation(
        situation="`SAMENET_DATA` is empty",
        make=scenes.empty_data,
        sentence="data: MNIST from",
    ),
)
