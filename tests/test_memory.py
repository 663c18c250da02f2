"""No lane on the CPU holds the images twice, nor more and more from step to step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from impls.workload import Workload, initial_params
from samenet.data import Split
from tests.support.data import make_split
from tests.support.workers import CASES, marks_of

if TYPE_CHECKING:
    from samenet.workers import Worker

LIMIT = 1.5  # a quarter is the message with the images, which are bytes in it
WORKLOAD = Workload(hidden=50)
PASS = 84  # steps, one more than it has; if each of them left its minibatch, the images would be there twice


@pytest.fixture(scope="session")
def images() -> Split:
    """Return as many images as MNIST has to train on."""
    few = make_split(1000)
    return Split(np.tile(few.images, (50, 1)), np.tile(few.labels, 50))


@pytest.mark.parametrize(
    "worker", [pytest.param(case, id=case.id, marks=marks_of(case)) for case in CASES], indirect=True
)
def test_a_worker_holds_the_images_once(worker: Worker, images: Split) -> None:
    """A pass over them takes at most 1.5 times the memory of the float32 images, besides what two minibatches take."""
    if worker.case.device.is_gpu:
        pytest.skip("the images are in the memory of the GPU")
    worker.build(WORKLOAD, make_split(1200), initial_params(WORKLOAD))
    worker.run(2)  # which imports and compiles whatever is needed
    try:
        Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # from now on the peak is what it holds, or more
    except OSError as error:
        pytest.skip(f"this kernel does not forget a peak: {error}")
    few = worker.memory()["peak_bytes"]
    worker.build(WORKLOAD, images, initial_params(WORKLOAD))
    worker.run(PASS)
    many = worker.memory()["peak_bytes"]
    assert few
    assert many
    assert many - few <= LIMIT * 4 * images.images.size
