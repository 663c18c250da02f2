"""A lane whose GPU is numpy on the CPU: it exercises the harness under a fake NVML, and measures no GPU."""

from impls.lanes import Implementation

PRETENDED = Implementation(
    name="pretended",
    trainer="pretended_trainer:PretendedTrainer",
    environment="numpy",
    packages=(("numpy", "numpy"),),
    devices=("cuda",),
    precisions={"cuda": ("tf32",)},
    manifest={"blas": "numpy's, on the CPU; not a measurement of a GPU"},
)
