"""The lane of C++: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import COMPILED, Implementation, Lane

# Without -ffast-math, with which it is no faster, and all of the process would have 0 for denormal numbers.
FLAGS = ("-std=c++20", "-pthread")

IMPLEMENTATIONS = (
    Implementation(
        name="cpp",
        trainer="impls.cpp_mlp:CppTrainer",
        environment="cpp",
        packages=(("numpy", "numpy"), ("scipy_openblas32", "scipy-openblas32")),
        prerequisites="g++ 11 or later",
        lane=Lane.TUNED,
        manifest={
            "blas": "OpenBLAS, from its own wheel",
            "threads": "C++ threads, each with its rows of the minibatch and a single-threaded BLAS; one for small"
            " networks",
            "compile": "all of it, by g++ -O3 -march=native, in the constructor",
            "fast_math": "no, except that tanh is a rational function, as in XLA",
            "donation": "in place",
            "loop": "C++, in each thread",
            "loss": "hand-written, largest logit subtracted",
            "accumulation": "float32",
        },
        variables=COMPILED,
        requires_fields={"model": "mlp", "activation": "tanh"},  # its gradients are written for this network
    ),
)
