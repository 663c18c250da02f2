"""The lanes of numpy: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import COMPILED, Implementation, Lane

PACKAGES = (("numpy", "numpy"),)

PLAIN = {
    "blas": "OpenBLAS, from numpy's wheel",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "nothing",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "hand-written, largest logit subtracted",
    "accumulation": "float32, pairwise",
}

IMPLEMENTATIONS = (
    Implementation(
        name="numpy",
        trainer="impls.numpy_mlp:NumpyTrainer",
        environment="numpy",
        packages=PACKAGES,
        manifest=PLAIN,
    ),
    Implementation(
        name="numpy-tuned",
        trainer="impls.numpy_tuned_mlp:NumpyTunedTrainer",
        environment="numpy",
        packages=PACKAGES,
        lane=Lane.TUNED,
        manifest=PLAIN
        | {
            "threads": "Python threads, each with its rows of the minibatch and a single-threaded BLAS; one for small"
            " networks",
            "loop": "Python, in each thread",
        },
        requires_fields={"model": "mlp", "activation": "tanh"},  # its gradients are written for this network
    ),
)

BOUNDS = (
    Implementation(
        name="numpy-matmul",
        trainer="impls.numpy_matmul:NumpyMatmul",
        environment="numpy",
        packages=PACKAGES,
        manifest={"blas": PLAIN["blas"]},
    ),
    Implementation(
        name="numpy-rows-matmul",
        trainer="impls.numpy_rows_matmul:NumpyRowsMatmul",
        environment="numpy",
        packages=PACKAGES,
        manifest={"blas": f"{PLAIN['blas']}, in one thread per CPU that each have their rows"},
    ),
)

PEAKS = (
    Implementation(
        name="fma-peak",
        trainer="impls.fma_peak:FmaPeak",
        environment="numpy",
        packages=PACKAGES,
        prerequisites="a C++ compiler",
        variables=COMPILED,
    ),
)
