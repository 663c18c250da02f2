"""What the tests share: small data, a real worker for each framework, and the real command line."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench import gpu
from bench.data import Split
from bench.environments import NoInterpreterError, find_interpreter
from bench.machine import choose_cpus
from bench.reference import Reference
from bench.workers import Worker
from impls.registry import Case, cases
from impls.workload import Workload, initial_params

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
CASES = [case for case in cases() if not (case.unsupported(Workload()) or gpu.missing(case.device))]


def pytest_configure() -> None:
    """Hear Ctrl-C: what is started in the background ignores it, and so would the campaigns that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def make_split(rows: int, inputs: int = 784, classes: int = 10, seed: int = 0) -> Split:
    """Return random images whose ink depends on their label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows).astype(np.uint8)
    ink = rng.random((classes, inputs)) < 0.2
    noise = rng.random((rows, inputs)) < 0.05
    return Split(((ink[labels] | noise) * rng.integers(1, 256, (rows, inputs))).astype(np.uint8), labels)


def interpreter_for(case: Case) -> Path:
    """Return the interpreter that serves ``case``, or skip the test with the reason why there is none."""
    try:
        return find_interpreter(case.implementation, {}, ROOT)
    except NoInterpreterError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which workers find what others have compiled."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.id)
def worker(request: pytest.FixtureRequest, caches: Path) -> Iterator[Worker]:
    """Start one worker for each case of the registry, with its framework imported."""
    case: Case = request.param
    with Worker(case, interpreter_for(case), ROOT, cpus=choose_cpus(None), folder=caches) as live:
        live.load_framework()
        yield live


def assert_agreement(worker: Worker, workload: Workload, rows: int) -> None:
    """Train on ``rows`` images that have something to learn, three minibatches at least, as the reference does."""
    split = make_split(max(rows, 3 * workload.batch_size), workload.inputs, workload.classes)
    initial = initial_params(workload)
    reference = Reference(workload, split, initial)
    worker.build(workload, split, initial)
    losses = worker.run(reference.steps).losses
    parity = reference.judge(losses, worker.params())
    assert parity.verified, f"{workload}: {parity.sentence}"


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small data set in MNIST's format: 1,200 images to train and validate on, 200 to test."""
    folder = tmp_path_factory.mktemp("idx")
    for name, rows, seed in (("train", 1200, 1), ("t10k", 200, 2)):
        split = make_split(rows, seed=seed)
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", split.images.reshape(-1, 28, 28))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", split.labels)
    return folder


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write ``array`` (uint8) as IDX, gzip-compressed."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bench(small_mnist: Path, tmp_path: Path) -> Bench:
    """Return a function that runs ``pytest bench/`` with quick settings; its storage is ``tmp_path``.

    Without ``frameworks`` this interpreter serves numpy, and nothing starts the others for their bounds.
    """

    def run(
        *options: str,
        frameworks: bool = False,
        plugins: bool = False,
        data: Path | None = small_mnist,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "bench/", "-p", "no:cacheprovider"]
        command += ["--launches", "1", "--rounds", "2", "--iterations", "20", "--workload", "hidden=20,batch_size=100"]
        command += ["--benchmark-storage", str(tmp_path)] + (["--data", str(data)] if data else [])
        paths = [str(ROOT / "tests" / "plugin")] if plugins else []
        paths += [path for path in [os.environ.get("PYTHONPATH", "")] if path]
        environment |= {} if frameworks else {"TOX_WORK_DIR": str(tmp_path / "no-tox")}
        settings = {name: value for name, value in os.environ.items() if name not in {"SAMENET_DATA", "COLUMNS"}}
        return subprocess.run(
            [*command, *options],
            cwd=ROOT,
            env=settings | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"} | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run
