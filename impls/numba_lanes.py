"""The lanes of numba: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("numba", "numba"), ("scipy", "scipy"))
VARIABLES = {"NUMBA_CACHE_DIR": "{folder}/numba"}

PLAIN = {
    "blas": "OpenBLAS, from scipy's wheel",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "the functions of a step, by numba (LLVM), at the first step",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "hand-written, largest logit subtracted",
    "accumulation": "float32, the mean in float64",
}

IMPLEMENTATIONS = (
    Implementation(
        name="numba",
        trainer="impls.numba_mlp:NumbaTrainer",
        environment="pytensor",
        packages=PACKAGES,
        manifest=PLAIN,
        variables=VARIABLES,
    ),
    Implementation(
        name="numba-tuned",
        trainer="impls.numba_tuned_mlp:NumbaTunedTrainer",
        environment="pytensor",
        packages=PACKAGES,
        lane=Lane.TUNED,
        manifest=PLAIN
        | {
            "threads": "numba's, each with its rows of the minibatch and a single-threaded BLAS; one for small"
            " networks",
            "compile": "the whole run, by numba (LLVM), at the first step",
            "fast_math": "yes, and tanh is Eigen's rational function",
            "loop": "compiled",
            "accumulation": "float32",
        },
        variables=VARIABLES,
        requires_fields={"model": "mlp", "activation": "tanh"},  # its gradients are written for this network
    ),
)
