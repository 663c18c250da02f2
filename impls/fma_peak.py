"""The machine's peak: as many multiplications and additions as a step's matrix products have, from registers alone."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from impls.compiled import load_library
from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

FACTOR, ADDEND = 0.5, 1.0


@final
class FmaPeak(Trainer):
    """No product can be faster: nothing is loaded or stored, and every CPU has a thread of its own."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the loop; neither the data nor the weights are used."""
        del data, device
        library = load_library(Path(__file__).with_suffix(".cpp"))
        library.operations_of_pass.restype = ctypes.c_long
        self._loop = library.multiply_and_add  # ctypes releases the GIL while it runs
        self._loop.argtypes, self._loop.restype = (ctypes.c_long, ctypes.c_float, ctypes.c_float), ctypes.c_float
        self._threads = len(os.sched_getaffinity(0))
        self._passes_of_step = workload.step_flops / (self._threads * library.operations_of_pass())
        self._pool = ThreadPoolExecutor(self._threads)

    def load(self, params: Params) -> None:
        """Keep the weights, which do not change."""
        self._params = params

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do the arithmetic of ``steps`` steps; the losses are zero, since there are none."""
        del first
        passes = [round(steps * self._passes_of_step)] * self._threads
        list(self._pool.map(lambda count: self._loop(count, FACTOR, ADDEND), passes))
        return np.zeros(steps, np.float32)

    def params(self) -> Params:
        """Return the weights that were loaded."""
        return self._params
