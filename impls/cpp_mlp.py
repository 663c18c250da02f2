"""The network in C++, compiled by g++ and called through ctypes; OpenBLAS computes the products."""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import scipy_openblas32

from impls.compiled import load_library
from impls.cpp_lanes import FLAGS
from impls.interface import Batches, Params, Trainer

if TYPE_CHECKING:
    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload

SOURCE = Path(__file__).with_suffix(".cpp")
FLOATS, INTS = (np.ctypeslib.ndpointer(dtype, flags="C_CONTIGUOUS") for dtype in (np.float32, np.int32))


@cache
def library_of_steps() -> ctypes.CDLL:
    """Return the C++ code with the types of its functions."""
    openblas = scipy_openblas32.get_lib_dir()
    flags = [*FLAGS, f"-I{scipy_openblas32.get_include_dir()}", f"-L{openblas}", f"-Wl,-rpath,{openblas}"]
    library = load_library(SOURCE, *flags, f"-l{scipy_openblas32.get_library()}")
    library.create.restype = ctypes.c_void_p
    library.create.argtypes = [*[ctypes.c_long] * 5, ctypes.c_float, FLOATS, INTS, ctypes.c_long]
    library.run.restype = library.destroy.restype = None
    library.run.argtypes = [ctypes.c_void_p, *[FLOATS] * 4, ctypes.c_long, ctypes.c_long, FLOATS]
    library.destroy.argtypes = [ctypes.c_void_p]
    return library


@final
class CppTrainer(Trainer):
    """What an expert writes without a framework; what it does in a step is in ``cpp_mlp.cpp``."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Compile the code and make its threads, which read the data where they are; ``device`` can only be the CPU."""
        del device
        self._library, self._data = library_of_steps(), data
        self._trainer = self._library.create(
            workload.inputs,
            workload.hidden,
            workload.classes,
            workload.batch_size,
            len(data),
            workload.learning_rate,
            data.images,
            data.labels,
            len(os.sched_getaffinity(0)),
        )
        weakref.finalize(self, self._library.destroy, self._trainer)

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        self._params = tuple(value.copy() for value in params)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; ctypes releases the GIL, and every thread has finished when it returns."""
        losses = np.empty(steps, np.float32)
        self._library.run(self._trainer, *self._params, steps, first % len(self._data), losses)
        return losses

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.copy() for value in self._params)
