"""The lanes of PyTensor: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls import jax_lanes  # the tuned lane is compiled by jax
from impls.lanes import Implementation, Lane

PACKAGES = (("pytensor", "pytensor"), ("numba", "numba"), *jax_lanes.PACKAGES)

PLAIN = {
    "blas": "OpenBLAS, from scipy's wheel, through numba",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "the step, by numba (LLVM), at the first step",
    "fast_math": "PyTensor's default for numba",
    "donation": "in place, by updates",
    "loop": "Python",
    "loss": "log_softmax",
    "accumulation": "float32, the mean in float64",
}

IMPLEMENTATIONS = (
    Implementation(
        name="pytensor",
        trainer="impls.pytensor_mlp:PytensorTrainer",
        environment="pytensor",
        packages=PACKAGES,
        backend="numba",
        manifest=PLAIN,
    ),
    Implementation(
        name="pytensor-jax",
        trainer="impls.pytensor_jax_mlp:PytensorJaxTrainer",
        environment="pytensor",
        packages=PACKAGES,
        devices=jax_lanes.DEVICES,
        remedies=jax_lanes.REMEDIES,
        lane=Lane.TUNED,
        backend="jax",
        manifest=PLAIN | jax_lanes.XLA | {"compile": jax_lanes.STEP},
        manifest_on_gpu=jax_lanes.XLA_ON_GPU,
        precisions=jax_lanes.PRECISIONS,
    ),
)
