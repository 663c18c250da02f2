"""The lanes of Theano: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("theano", "Theano-PyMC"), ("scipy", "scipy"))  # scipy's wheel has the BLAS that Theano links to
CHUNK = 1024  # losses that one call returns


def flag(name: str, value: str) -> str:
    """Return a setting for ``THEANO_FLAGS``, whose values Theano splits at commas unless they are quoted."""
    quoted = value.replace("'", "'\"'\"'")
    return f"{name}='{quoted}'"


PLAIN = {
    "blas": "OpenBLAS, from scipy's wheel",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "the step, by the C++ compiler, in the constructor",
    "fast_math": "no",
    "donation": "in place, by updates",
    "loop": "Python",
    "loss": "softmax, then log",
    "accumulation": "float32, the mean in float64",
}

IMPLEMENTATIONS = (
    Implementation(
        name="theano",
        trainer="impls.theano_mlp:TheanoTrainer",
        environment="theano",
        packages=PACKAGES,
        devices=("cpu", "cuda"),
        prerequisites="Python 3.11 and a C++ compiler",
        manifest=PLAIN,
        unavailable={
            "cuda": "Theano's GPU code needs libgpuarray, which no package provides any more, and its JAX linker needs"
            " a jax of 2021"
        },
    ),
    Implementation(
        name="theano-tuned",
        trainer="impls.theano_tuned_mlp:TheanoTunedTrainer",
        environment="theano",
        packages=PACKAGES,
        prerequisites="Python 3.11 and a C++ compiler with glibc 2.35 or later",
        lane=Lane.TUNED,
        manifest=PLAIN
        | {
            "compile": "the step, by the C++ compiler (-O3 -march=native), in the constructor",
            "fast_math": "yes, -ffast-math, for glibc's vector tanhf",
            "loop": f"Theano's virtual machine, up to {CHUNK:,} steps a call",
            "loss": "fused, crossentropy_softmax_1hot",
            "accumulation": "float32",
        },
        requires_fields={"model": "mlp", "activation": "tanh"},  # its gradients are written for this network
    ),
)
