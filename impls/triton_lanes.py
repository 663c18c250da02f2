"""The lane of Triton: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls import torch_lanes  # Triton's kernels run on torch's tensors, in torch's CUDA graphs
from impls.lanes import Implementation, Lane

IMPLEMENTATIONS = (
    Implementation(
        name="triton",
        trainer="impls.triton_mlp:TritonTrainer",
        environment="triton",
        packages=(*torch_lanes.PACKAGES, ("triton", "triton")),
        devices=("cuda",),
        remedies=torch_lanes.REMEDIES,
        prerequisites="a C compiler and Python's headers",  # for the module that launches the kernels
        lane=Lane.TUNED,
        manifest={
            "blas": "none, the products are tiles of the kernels",
            "threads": "GPU threads",
            "compile": "the step as two kernels, by Triton, in the constructor",
            "fast_math": "no, except exp and division, which are within two units in the last place",
            "donation": "in place",
            "loop": torch_lanes.GRAPH_LOOP,
            "loss": "hand-written, largest logit subtracted",
            "accumulation": "float32",
        },
        precisions={"cuda": ("tf32",)},
        requires_fields={"model": "mlp", "activation": "tanh"},  # the kernels are written for this network
    ),
)
