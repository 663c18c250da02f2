"""No lane holds the images twice, nor more and more from step to step."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from impls.workload import Workload, initial_params
from samenet.environments import ROOT
from samenet.worker_environment import own_variables
from tests.support.data import make_split
from tests.support.workers import CASES, interpreter_for, live_worker

if TYPE_CHECKING:
    from pathlib import Path

    from impls.lanes import Case
    from samenet.data import Split

LIMIT = 1.5
# What the framework itself imports at the first step.
LATER = dict.fromkeys(("torch-compile", "torch-cudagraph"), "torch._inductor.compile_fx")
LATER |= {"autograd": "autograd.scipy.special", "flax": "flax.nnx", "flax-scan": "flax.nnx"}
# One image on the device: where that is a GPU the process then has the driver's share of memory, hundreds of megabytes.
OPEN = """
import importlib
import sys
import numpy as np
from impls.interface import Batches
from impls.lanes import Device
module, _, name = sys.argv[1].partition(":")
trainer = getattr(importlib.import_module(module), name)
one = Batches(np.zeros((1, 784), np.float32), np.zeros(1, np.int32), 1)
kept = trainer.place(one, Device.parse(sys.argv[2]))
"""
PEAK_KIB = "next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))"


@pytest.fixture(scope="module")
def images() -> Split:
    """Return as many images as MNIST has to train on."""
    return make_split(50_000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_worker_needs_little_more_than_its_framework_and_the_data(case: Case, images: Split, caches: Path) -> None:
    """Its peak stays below 1.5 times what the bare import takes and the float32 images."""
    workload = Workload()
    for steps in (1, 200):  # the first worker compiles, which takes memory of its own
        with live_worker(case, caches) as worker:
            worker.build(workload, images, initial_params(workload))
            worker.run(steps)
            peak = worker.memory()["peak_bytes"]
    imports = [name for name, _ in case.implementation.packages]
    imports += filter(None, [LATER.get(case.implementation.name)])
    opened = OPEN if case.device.is_gpu else ""
    script = f"import {', '.join(imports)}\n{opened}\nprint({PEAK_KIB})"
    command = [str(interpreter_for(case)), "-c", script, case.implementation.trainer, str(case.device)]
    # Theano looks for a BLAS while it is imported, and fails without distutils, unless it is told that there is none.
    variables = {"THEANO_FLAGS": "blas__ldflags=", **own_variables(case, 2, caches)}
    bare = subprocess.check_output(command, text=True, cwd=ROOT, env=os.environ | variables)
    assert peak
    assert peak <= LIMIT * (1024 * int(bare) + 4 * images.images.size)
