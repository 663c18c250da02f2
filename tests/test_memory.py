"""No lane holds the images twice, nor more and more from step to step."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from impls.workload import Workload, initial_params
from samenet.environments import ROOT
from samenet.machine.cpus import choose_cpus
from samenet.workers import Worker
from tests.support.data import make_split
from tests.support.workers import CASES, interpreter_for

if TYPE_CHECKING:
    from pathlib import Path

    from impls.lanes import Case
    from samenet.data import Split

LIMIT = 1.5
LATER = {"torch-compile": "torch._inductor.compile_fx"}  # what the framework itself imports at the first step
PEAK_KIB = "next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))"


@pytest.fixture(scope="module")
def images() -> Split:
    """Return as many images as MNIST has to train on."""
    return make_split(50_000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_worker_needs_little_more_than_its_framework_and_the_data(case: Case, images: Split, caches: Path) -> None:
    """Its peak stays below 1.5 times what the bare import takes and the float32 images."""
    python = interpreter_for(case)
    imports = [name for name, _ in case.implementation.packages]
    imports += filter(None, [LATER.get(case.implementation.name)])
    command = [str(python), "-c", f"import {', '.join(imports)}; print({PEAK_KIB})"]
    # Theano looks for a BLAS while it is imported, and fails without distutils, unless it is told that there is none.
    bare = subprocess.check_output(command, text=True, env=os.environ | {"THEANO_FLAGS": "blas__ldflags="})
    workload = Workload()
    for steps in (1, 200):  # the first worker compiles, which takes memory of its own
        with Worker(case, python, ROOT, cpus=choose_cpus(None), folder=caches) as worker:
            worker.load_framework()
            worker.build(workload, images, initial_params(workload))
            worker.run(steps)
            peak = worker.peak_bytes()
    assert peak
    assert peak <= LIMIT * (1024 * int(bare) + 4 * images.images.size)
