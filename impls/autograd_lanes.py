"""The lane of autograd: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import Implementation

PLAIN = {
    "blas": "OpenBLAS, from numpy's wheel",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "nothing, each step is traced again",
    "fast_math": "no",
    "donation": "new arrays",
    "loop": "Python",
    "loss": "log-sum-exp of scipy, one-hot labels",
    "accumulation": "float32, pairwise",
}

IMPLEMENTATIONS = (
    Implementation(
        name="autograd",
        trainer="impls.autograd_mlp:AutogradTrainer",
        environment="autograd",
        backend="numpy",
        packages=(("autograd", "autograd"), ("scipy", "scipy")),
        manifest=PLAIN,
    ),
)
