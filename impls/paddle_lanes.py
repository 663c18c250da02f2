"""The lanes of PaddlePaddle: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("paddle", "paddlepaddle"),)

PLAIN = {
    "blas": "MKL 2019.0.5, from paddle's wheel, slow on processors that are not Intel's",
    "threads": "OpenMP threads for products and large arrays, one for the rest",
    "compile": "nothing, eager",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "fused, cross_entropy",
    "accumulation": "float32",
}

IMPLEMENTATIONS = (
    Implementation(
        name="paddle",
        trainer="impls.paddle_mlp:PaddleTrainer",
        environment="paddle",
        packages=PACKAGES,
        manifest=PLAIN,
    ),
    Implementation(
        name="paddle-tuned",
        trainer="impls.paddle_mlp:PaddleTrainer",
        environment="paddle",
        packages=PACKAGES,
        lane=Lane.TUNED,
        manifest=PLAIN | {"blas": "MKL 2019.0.5, from paddle's wheel, its AVX2 code by MKL_DEBUG_CPU_TYPE=5"},
        # This MKL chooses its AVX2 code by itself on Intel's processors only; with the variable it uses no AVX-512. All
        # else did not help: with jit.to_static, with CINN and without, a step took some percent more CPU time.
        variables={"MKL_DEBUG_CPU_TYPE": "5"},
    ),
)
