"""What the tests share: small data, a real worker for each framework, and the real command line."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits

from impls.lanes import Case
from samenet.environments import ROOT, tox_folder
from samenet.installers import known_releases
from samenet.machine import files
from studies.wheels import Releases
from tests.support.carriers import NODES
from tests.support.command_line import Bench, without_uv
from tests.support.data import write_dataset
from tests.support.fleets import over_ssh
from tests.support.repository import Repository
from tests.support.workers import CASES, live_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from samenet.workers import Worker
    from tests.support.fleets import Fleet

PROCESS = "PYTEST_XDIST_WORKER"


def pytest_configure() -> None:
    """Hear Ctrl-C: what is started in the background ignores it, and so would the campaigns that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is installed by tests is imported a few times: to compile all of it would take longer than that. pip wants a
    # false value for its --no-... options.
    os.environ |= {"UV_COMPILE_BYTECODE": "0", "PIP_NO_COMPILE": "no"}
    if PROCESS in os.environ:
        os.environ.pop("COLUMNS", None)  # which readline has set in the process that starts this one


def pytest_collection_finish() -> None:
    """Not before: what tests are called depends on the CPUs, and has to be the same in each process."""
    if process := os.environ.pop(PROCESS, None):
        own_a_cpu(process)


def own_a_cpu(process: str) -> None:
    """Give a process of pytest-xdist, such as ``gw1``, a CPU, a temporary folder and a lock of its own.

    Two campaigns on the same CPUs would wait for each other's threads, and take many times as long.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[int(process.removeprefix("gw")) % len(cpus)]})
    threadpool_limits(1)  # or numpy's threads, one for each CPU that there was, would wait for each other
    folder = Path(tempfile.gettempdir()) / process
    folder.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    os.environ["SAMENET_LOCK"] = str(folder / "samenet.lock")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist's own hook reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a lane in one process, since they share its worker and what it has compiled."""
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        case = given.get("worker") or given.get("case")
        if isinstance(case, Case):
            item.add_marker(pytest.mark.xdist_group(case.id))


@pytest.fixture(scope="session")
def caches() -> Path:
    """Return a folder in which workers find what those of the same case have compiled, in earlier sessions too."""
    return tox_folder(ROOT) / "compiled"


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.id)
def worker(request: pytest.FixtureRequest, caches: Path) -> Iterator[Worker]:
    """Start one worker for each case of the registry, with its framework imported."""
    with live_worker(request.param, caches) as live:
        yield live


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small data set in MNIST's format: 1,200 images to train and validate on, 200 to test."""
    return write_dataset(tmp_path_factory.mktemp("idx"))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace /proc and /sys by empty folders, and return the folder of both."""
    monkeypatch.setattr(files, "PROC", tmp_path / "proc")
    monkeypatch.setattr(files, "SYS", tmp_path / "sys")
    return tmp_path


@pytest.fixture
def bench(small_mnist: Path, tmp_path: Path) -> Bench:
    """Return a function that runs ``pytest bench/``, and saves below ``tmp_path``."""
    return Bench(small_mnist, tmp_path)


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Return a folder with numpy and releases: 1.1 is slow, 1.2 and 1.3 do not work, 2.0 starts slowly and is large."""
    made = Releases(tmp_path_factory.mktemp("wheels"))
    made.download_numpy()
    made.publish("1.0")
    made.publish("1.1", exponentials=1000)
    made.publish("1.2", on_import="from numpy import nothing_of_this_name")
    made.publish("1.3", requires="numpy<1")
    made.publish("1.4")
    made.publish("1.5")
    made.publish("2.0", ballast=30 << 20, loops=300)
    return made


@pytest.fixture
def offline(releases: Releases, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Let pip find the releases and nothing else, and keep environments in an empty folder."""
    for name, value in releases.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", without_uv())
    known_releases.cache_clear()
    monkeypatch.setenv("SAMENET_CACHE", str(tmp_path_factory.mktemp("cache")))
    return releases


@pytest.fixture(scope="session")
def fleet_repository(tmp_path_factory: pytest.TempPathFactory, small_mnist: Path) -> Repository:
    """Return a repository with one commit, for the hosts of a fleet."""
    return Repository(tmp_path_factory.mktemp("fleet") / "repository", small_mnist)


@pytest.fixture
def ssh(tmp_path: Path, fleet_repository: Repository) -> Iterator[Fleet]:
    """Return a fleet of three hosts that are alike, over ssh."""
    with over_ssh(tmp_path, fleet_repository, {name: {} for name in NODES}) as fleet:
        yield fleet
