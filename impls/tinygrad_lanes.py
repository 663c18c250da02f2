"""The lane of tinygrad: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import Implementation

IMPLEMENTATIONS = (
    Implementation(
        name="tinygrad",
        trainer="impls.tinygrad_mlp:TinygradTrainer",
        environment="tinygrad",
        packages=(("tinygrad", "tinygrad"), ("ziglang", "ziglang")),  # ziglang's wheel has a clang, which it needs
        manifest={
            "blas": "none, the products are loops that clang compiles",
            "threads": "one, which does the parts of a kernel in turn",
            "compile": "the step, as C by clang, at the first step",
            "fast_math": "no",
            "donation": "in place, by assign",
            "loop": "Python",
            "loss": "log_softmax times one-hot labels",
            "accumulation": "float32",
        },
        variables={
            "DEV": "CPU",
            "CC": "{folder}/tinygrad/clang",  # which the trainer makes
            "CACHEDB": "{folder}/tinygrad/cache.db",  # of compiled kernels
            "ALIGNED": "0",  # a minibatch need not begin at a multiple of 64 bytes
        },
        shares_work=False,
    ),
)
