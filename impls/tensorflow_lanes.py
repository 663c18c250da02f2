"""The lanes of TensorFlow: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("tensorflow", "tensorflow-cpu"),)
CHUNK = 1024  # losses that one call of the compiled loop returns, and so its most steps

VARIABLES = {
    # TensorFlow reads no other library's number of threads.
    "TF_NUM_INTRAOP_THREADS": "{threads}",
    "TF_NUM_INTEROP_THREADS": "{threads}",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only
}

PLAIN = {
    "blas": "oneDNN, in TensorFlow's wheel",
    "threads": "TensorFlow's pool",
    "compile": "nothing; the step becomes a graph at the first step",
    "fast_math": "no, except that denormal numbers are zero",
    "donation": "in place, by assign_sub",
    "loop": "Python",
    "loss": "fused, sparse_softmax_cross_entropy_with_logits",
    "accumulation": "float32",
}

IMPLEMENTATIONS = (
    Implementation(
        name="tensorflow",
        trainer="impls.tensorflow_mlp:TensorflowTrainer",
        environment="tensorflow",
        packages=PACKAGES,
        manifest=PLAIN,
        variables=VARIABLES,
    ),
    Implementation(
        name="tensorflow-xla",
        trainer="impls.tensorflow_xla_mlp:TensorflowXlaTrainer",
        environment="tensorflow",
        packages=PACKAGES,
        lane=Lane.TUNED,
        manifest=PLAIN
        | {
            "blas": "XLA: Eigen",
            "compile": "the loop, by XLA, at the first step",
            "fast_math": "XLA's default",
            "donation": "weights donated",
            "loop": f"compiled, up to {CHUNK:,} steps a call",
            "loss": "sparse_softmax_cross_entropy_with_logits, fused by XLA",
        },
        variables=VARIABLES,
    ),
)
