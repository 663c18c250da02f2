"""The lanes of MLX: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import COMPILED, Implementation, Lane

PACKAGES = (("mlx", "mlx"), ("mlx", "mlx-cpu"))  # the second has the library for Linux

PLAIN = {
    "blas": "the reference BLAS of Netlib, which MLX's wheel for Linux has",
    "threads": "one of MLX's own",
    "compile": "nothing, each step is traced again",
    "fast_math": "no",
    "donation": "new arrays",
    "loop": "Python, one mx.eval a step, which also copies the minibatch into MLX's memory",
    "loss": "log-sum-exp, cross_entropy",
    "accumulation": "float32",
}

IMPLEMENTATIONS = (
    Implementation(
        name="mlx",
        trainer="impls.mlx_mlp:MlxTrainer",
        environment="mlx",
        packages=PACKAGES,
        manifest=PLAIN,
        shares_work=False,
    ),
    Implementation(
        name="mlx-openblas",
        trainer="impls.mlx_openblas_mlp:MlxOpenblasTrainer",
        environment="mlx",
        packages=(*PACKAGES, ("scipy_openblas32", "scipy-openblas32")),
        prerequisites="g++",
        lane=Lane.TUNED,
        manifest=PLAIN
        | {
            "blas": "OpenBLAS, from the wheel scipy-openblas32, in place of MLX's own",
            "threads": "OpenBLAS threads for products, one of MLX's for the rest",
            "compile": "the step, by mx.compile (C++), in the constructor; the call of OpenBLAS, by g++, at import",
        },
        # MLX compiles into the temporary folder, and takes what it finds there.
        variables=COMPILED | {"TMPDIR": "{folder}"},
    ),
)
