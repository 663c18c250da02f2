"""What the lanes give to a GPU, as far as it shows on a machine without one: compiled code, launches and transfers."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from samenet.environments import ROOT, find_interpreter
from tests.support.workers import implementation

# Every script starts with these data: a small network and four minibatches of 50 images.
DATA = """
import json, re, sys
import numpy as np
from impls.interface import Batches
from impls.lanes import Device
from impls.workload import Workload, initial_params
workload, device, rng = Workload(hidden=33, batch_size=50), Device("cpu"), np.random.default_rng(0)
images = rng.random((200, 784), dtype=np.float32)
labels = rng.integers(0, 10, 200).astype(np.int32)
def made(trainer, workload):
    live = trainer(workload, trainer.place(Batches(images, labels, 50), device), device)
    live.load(initial_params(workload))
    return live
"""

# Both lanes of jax as XLA would get them for an NVIDIA GPU, and as it compiles the loop for the CPU that is here.
JAX = """
from dataclasses import replace
import jax
from impls.jax_lanes import LENGTHS
from impls.jax_mlp import JaxTrainer
from impls.jax_scan_mlp import JaxScanTrainer, training_loop
found = {"lanes": {}}
params = initial_params(workload)
for precision in "float32", "tf32", "bfloat16":
    described = replace(workload, precision=precision)
    plain = made(JaxTrainer, described)  # and the precision is set for both
    loop = training_loop(described, Batches(images, labels, 50))
    traced = {
        "jax": plain._step.trace(params, 0, images, labels),
        "jax-scan": loop.trace(LENGTHS[0], params, 0, images, labels),
    }
    for name, trace in traced.items():
        text = trace.lower(lowering_platforms=("cuda",)).as_text()
        dots = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        found["lanes"][f"{name} {precision}"] = {
            "products": [re.search(r"precision = .*?(?= :)", line).group() for line in dots],
            "donated": text.count("tf.aliasing_output") + text.count("jax.buffer_donor"),
            "doubles": "f64" in text,
        }
texts = {length: compiled.as_text() for length, compiled in made(JaxScanTrainer, workload)._loops.items()}
found["lengths"] = LENGTHS
found["loops"] = {length: len(re.findall(r" while\\(", text)) for length, text in texts.items()}
found["counts"] = {length: re.findall(r'"known_trip_count":{"n":"(\\d+)"}', text) for length, text in texts.items()}
print(json.dumps(found))
"""

# How many arrays each run copies to the host; the count is taken where jax takes them.
TRANSFERS = """
import importlib
import jax
module, _, name = sys.argv[1].partition(":")
live = made(getattr(importlib.import_module(module), name), workload)
copied, device_get = [], jax.device_get
def counting(tree):
    copied.extend(jax.tree.leaves(tree))
    return device_get(tree)
jax.device_get = counting
losses = live.run(120)
print(json.dumps([len(losses), len(copied)]))
"""


def answer(lane: str, script: str, *arguments: str, **environment: str) -> Any:
    """Return what ``script`` prints, as JSON, in the interpreter of ``lane``."""
    python = find_interpreter(implementation(lane), {}, ROOT)
    command = [str(python), "-c", DATA + script, *arguments]
    printed = subprocess.check_output(command, cwd=ROOT, text=True, env=os.environ | environment)
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def lowered() -> Any:
    """Return what JAX finds."""
    return answer("jax", JAX, JAX_PLATFORMS="cpu")


PRODUCTS = {
    "float32": "precision = [HIGHEST, HIGHEST]",
    "tf32": "algorithm = <lhs_precision_type = tf32, rhs_precision_type = tf32, accumulation_type = f32",
    "bfloat16": "algorithm = <lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32",
}


@pytest.mark.parametrize("precision", PRODUCTS)
@pytest.mark.parametrize(("lane", "donated"), [("jax", 0), ("jax-scan", 4)])
def test_a_gpu_gets_five_products_of_the_precision_that_was_asked_for(
    lowered: Any, lane: str, donated: int, precision: str
) -> None:
    """No sum is wider than float32, and only the tuned lane gives its weights away."""
    found = lowered["lanes"][f"{lane} {precision}"]
    assert len(found["products"]) == 5
    assert all(PRODUCTS[precision] in product for product in found["products"]), found["products"]
    assert found["donated"] == donated
    assert not found["doubles"]


def test_xla_knows_how_many_steps_each_loop_has(lowered: Any) -> None:
    """Otherwise a GPU waits for the host before each step; a loop of one step is none."""
    for length in lowered["lengths"]:
        assert lowered["counts"][str(length)] == ([str(length)] if length > 1 else [])
        assert lowered["loops"][str(length)] == len(lowered["counts"][str(length)])


@pytest.mark.parametrize("lane", ["jax", "pytensor-jax"])
def test_losses_are_copied_to_the_host_many_at_a_time(lane: str) -> None:
    """A copy of a single one takes as long as a step: 120 of them need at most three."""
    steps, copies = answer(lane, TRANSFERS, implementation(lane).trainer, JAX_PLATFORMS="cpu")
    assert steps == 120
    assert 1 <= copies <= 3
