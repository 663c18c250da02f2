"""numpy's trainer, which adds its process to those that the fake NVML lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from impls.interface import Params, Trainer
from impls.numpy_mlp import NumpyTrainer

if TYPE_CHECKING:
    from impls.interface import Batches, Float32
    from impls.lanes import Device
    from impls.workload import Workload


class PretendedTrainer(Trainer):
    """Trains on the CPU, whatever the device is called."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Make numpy's trainer, and register this process next to the fake library."""
        self._inner = NumpyTrainer(workload, data, device)
        folder = Path(os.environ["LD_LIBRARY_PATH"].split(os.pathsep)[0])
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        number = seen[len("GPU-")] if seen.startswith("GPU-") else device.index  # of a worker that sees one GPU alone
        with (folder / "answers.pids").open("a") as pids:
            pids.write(f"{number} {os.getpid()}\n")

    def load(self, params: Params) -> None:
        """Start from these weights."""
        self._inner.load(params)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Train."""
        return self._inner.run(steps, first)

    def params(self) -> Params:
        """Return the weights."""
        return self._inner.params()
