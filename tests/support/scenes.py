"""How paths, temporary folders and repositories come about that other programs do not expect."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from impls.registry import own_implementations
from samenet.environments import ROOT
from tests.support.command_line import PYTEST, some_of_tox
from tests.support.kernel import namespace_refusal
from tests.support.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENVIRONMENTS = {implementation.environment for implementation in own_implementations()}
# What option strings are split at, unquoted or substituted by; a folder's name may have all of it.
ODD = "sp ace, ü 'q' \"d\" 100%s a=b #1 $HOME;(x)&{y}"


@dataclass
class Scene:
    """What a situation is made of, below ``folder``: a tree, where ``mount`` (shell commands) ran before pytest."""

    folder: Path
    data: Path
    tree: Path = ROOT
    storage: str = ""
    mount: str = ""
    options: list[str] = field(default_factory=list)
    environment: dict[str, str | None] = field(default_factory=dict)  # None: unset

    def make(self, name: str) -> Path:
        """Make a folder."""
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def temporary(self, name: str) -> Path:
        """Make a folder, and use it for temporary files."""
        folder = self.make(name)
        self.environment["TMPDIR"] = str(folder)
        return folder

    @property
    def tox(self) -> Path:
        """The folder with the environments that the cases need."""
        return self.folder / "tox"

    def environments(self, name: str) -> None:
        """Reach the environments of the frameworks through a folder of this name."""
        link = self.make(f"{name}/below") / "tox"
        link.symlink_to(self.tox)
        self.environment["TOX_WORK_DIR"] = str(link)

    def checkout(self, name: str = "checkout") -> Repository:
        """Copy the tree, and measure the copy; it has one commit."""
        repository = Repository(self.folder / name, self.data)
        self.tree = repository.folder
        return repository

    def git(self, *arguments: str) -> None:
        """Run git."""
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)  # noqa: S607

    def run(self, cases: str, protocol: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run ``pytest bench/``, or skip the test where the kernel does not let the situation be made."""
        storage = self.storage or str(self.folder / "storage")
        command = [*PYTEST, "-k", cases, *protocol]
        command += [f"--benchmark-storage={storage}", "--benchmark-save=x", *self.options]
        if self.mount:
            if namespace_refusal():
                pytest.skip(f"no mount namespace: {namespace_refusal()}")
            shell = f'set -e; {self.mount}; exec "$@"'
            command = ["unshare", "--mount", "--map-root-user", "bash", "-c", shell, "bash", *command]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))}
        some_of_tox(self.tox, ENVIRONMENTS & set(re.findall(r"\w+", cases)))
        kept |= {"TOX_WORK_DIR": str(self.tox), "SAMENET_DATA": str(self.data), "COLUMNS": "160"}
        merged = {name: value for name, value in (kept | self.environment).items() if value is not None}
        return subprocess.run(
            command,
            cwd=self.tree,
            env=merged,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            check=False,
        )


def everywhere(scene: Scene) -> None:
    """Use the odd name for each folder that there is."""
    scene.checkout(ODD)
    scene.temporary(f"t {ODD}")
    scene.environments(f"v {ODD}")
    scene.storage = str(scene.make(f"s {ODD}"))
    data = scene.folder / f"d {ODD}"
    shutil.copytree(scene.data, data)
    scene.environment |= {"SAMENET_DATA": str(data), "HOME": str(scene.make(f"h {ODD}"))}


def option_like(scene: Scene) -> None:
    """Begin names with a dash, and a path with two slashes, and put a new line into another."""
    scene.storage = "-storage"
    scene.checkout()
    scene.temporary("new\nline")
    (scene.make("-dash/a=b//c") / "tox").symlink_to(scene.tox)
    python = f"/{scene.folder}/-dash/a=b/c/tox/numpy/bin/python"
    scene.options = [f"--python=numpy={python}"]
    scene.environment["TOX_WORK_DIR"] = f"/{scene.folder}/-dash/a=b/c/tox"


def colon(scene: Scene) -> None:
    """Reach Theano's environment through a folder whose name has a colon."""
    scene.environments("a:b")


def odd_environments(scene: Scene) -> None:
    """Reach torch's environment through a folder with spaces and quotes."""
    scene.environments(ODD)


def odd_temporary(scene: Scene) -> None:
    """Put temporary files into a folder with spaces and quotes."""
    scene.temporary(ODD)


def theano_everywhere(scene: Scene) -> None:
    """Temporary files and Theano's environment are below folders with spaces and quotes."""
    scene.temporary(f"t {ODD}")
    scene.environments(f"v {ODD}")


def not_utf8(scene: Scene) -> None:
    """Put temporary files into a folder whose name is Latin-1."""
    scene.temporary(os.fsdecode(b"caf\xe9"))


def data_not_utf8(scene: Scene) -> None:
    """Keep the data in a folder whose name is Latin-1."""
    data = scene.folder / os.fsdecode(b"caf\xe9")
    shutil.copytree(scene.data, data)
    scene.environment["SAMENET_DATA"] = str(data)


def mounted(options: str, then: str = "true") -> Callable[[Scene], None]:
    """Return what makes TMPDIR a file system of its own with these mount options."""

    def make(scene: Scene) -> None:
        folder = shlex.quote(str(scene.temporary("mounted")))
        scene.mount = f"mount -t tmpfs -o {options} none {folder}; cd {folder}; {then}; cd {shlex.quote(str(ROOT))}"

    return make


def missing_temporary(scene: Scene) -> None:
    """Name a folder that is not there."""
    scene.environment["TMPDIR"] = str(scene.folder / "none")


def foreign_lock(scene: Scene) -> None:
    """Share the temporary folder with another user who has measured before."""
    folder = scene.temporary("shared")
    folder.chmod(0o1777)
    lock = folder / "samenet.lock"
    lock.touch(mode=0o644)
    scene.environment["SAMENET_LOCK"] = str(lock)
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    os.chown(lock, 1234, 1234)


def read_only(scene: Scene) -> None:
    """Mount the storage so that nothing can be written."""
    folder = shlex.quote(str(scene.make("storage")))
    scene.mount = f"mount -t tmpfs -o ro none {folder}"


def read_only_checkout(scene: Scene) -> None:
    """Mount the checkout so that nothing can be written; the storage is elsewhere."""
    folder = shlex.quote(str(scene.checkout().folder))
    scene.mount = f"mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}; cd {folder}"


def home(value: str | None) -> Callable[[Scene], None]:
    """Return what sets HOME, or unsets it."""

    def make(scene: Scene) -> None:
        scene.environment["HOME"] = value

    return make


def hook(scene: Scene) -> None:
    """Set what git sets for hooks of another repository, and its settings."""
    scene.checkout()
    other = scene.make("other")
    scene.git("init", "--quiet", str(other))
    where = {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / "index"}
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": str(other)}
    more = {"GIT_OBJECT_DIRECTORY": str(other), "GIT_PREFIX": "x/", "GIT_TRACE": "1"}
    scene.environment |= {name: str(path) for name, path in where.items()} | settings | more


def owned(scene: Scene) -> None:
    """Give the repository to another user, as a container finds a volume of its host."""
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    repository = scene.checkout()
    for path in [repository.folder, *repository.folder.rglob("*")]:
        os.chown(path, 1234, 1234)
    scene.environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def owned_and_trusted(scene: Scene) -> None:
    """Trust it by variables, as some CI do."""
    owned(scene)
    scene.environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def without_git(scene: Scene) -> None:
    """Measure a tree that was downloaded as an archive."""
    shutil.rmtree(scene.checkout().folder / ".git")


def broken_link(scene: Scene) -> None:
    """Copy a submodule or a worktree without the repository that it belongs to."""
    without_git(scene)
    (scene.tree / ".git").write_text("gitdir: /nowhere/.git/modules/samenet\n")


def of_bare(scene: Scene) -> None:
    """Check out a worktree of a bare clone."""
    repository = scene.checkout("origin")
    repository.git("clone", "--quiet", "--bare", ".", str(scene.folder / "bare"))
    scene.git("-C", str(scene.folder / "bare"), "worktree", "add", "--quiet", str(scene.folder / "tree"))
    scene.tree = scene.folder / "tree"


def shallow(scene: Scene) -> None:
    """Clone the newest commit alone."""
    repository = scene.checkout("origin")
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.folder}", str(scene.folder / "clone"))
    scene.tree = scene.folder / "clone"


EMPTY = """
    SAMENET_CACHE TMPDIR XDG_CACHE_HOME HOME GITHUB_STEP_SUMMARY GITHUB_ACTIONS PYTEST_ADDOPTS PYTHONPATH PYTHONHOME
    CC CXX THEANO_FLAGS PYTENSOR_FLAGS LD_LIBRARY_PATH OMP_NUM_THREADS CUDA_VISIBLE_DEVICES
    GIT_DIR GIT_WORK_TREE GIT_CONFIG_GLOBAL GIT_CONFIG_COUNT
"""


def empty(scene: Scene) -> None:
    """Set to nothing what a CI sets to nothing where a secret or an input is missing."""
    scene.environment |= dict.fromkeys(EMPTY.split(), "")
    scene.environment["TEMP"] = str(scene.make("temporary"))  # which comes next, and has a lock of its own


def empty_data(scene: Scene) -> None:
    """Set SAMENET_DATA to nothing: MNIST comes from the cache."""
    mnist = os.environ.get("SAMENET_DATA")
    if not mnist:
        pytest.skip("no MNIST; set SAMENET_DATA to the folder with its four .gz files")
    (scene.make("cache") / "samenet").symlink_to(mnist)
    scene.environment |= {"XDG_CACHE_HOME": str(scene.folder / "cache"), "SAMENET_DATA": "", "SAMENET_CACHE": ""}
