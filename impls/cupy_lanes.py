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
            "cuda": "run: tox run -m cuda13, or tox run -m cuda12 where the driver does not support CUDA 13",
            "rocm": "install a cupy that is built for ROCm",
        },
        manifest=numpy_lanes.PLAIN | {"blas": "cuBLAS", "threads": "GPU threads"},
    ),
)
