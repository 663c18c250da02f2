"""The lane of cupy: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls import numpy_lanes  # the lane runs numpy's code
from impls.lanes import Implementation

IMPLEMENTATIONS = (
    Implementation(
        name="cupy",
        trainer="impls.cupy_mlp:CupyTrainer",
        environment="cupy",
        packages=(("cupy", "cupy-cuda13x"),),
        devices=("cuda", "rocm"),
        remedies={
            "cuda": "install cupy-cuda13x or cupy-cuda12x, whichever the driver supports",
            "rocm": "install a cupy that is built for ROCm",
        },
        prerequisites="CUDA 13",
        manifest=numpy_lanes.PLAIN | {"blas": "cuBLAS", "threads": "GPU threads"},
    ),
)
