"""The lane of MXNet: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import Implementation

IMPLEMENTATIONS = (
    Implementation(
        name="mxnet",
        trainer="impls.mxnet_mlp:MxnetTrainer",
        environment="mxnet",
        packages=(("mxnet", "mxnet"),),
        prerequisites="Python 3.11",  # its last release needs a numpy before 1.24
        manifest={
            "blas": "oneDNN, in MXNet's wheel",
            "threads": "OpenMP threads",
            "compile": "nothing, eager",
            "fast_math": "no",
            "donation": "in place",
            "loop": "Python, ahead of MXNet's engine",
            "loss": "fused, softmax_cross_entropy",
            "accumulation": "float32",
        },
    ),
)
