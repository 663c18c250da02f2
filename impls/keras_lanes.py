"""The lanes of Keras, one for each of its backends: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.jax_lanes import PACKAGES as JAX
from impls.jax_lanes import SCAN, XLA
from impls.lanes import Implementation, Lane
from impls.tensorflow_lanes import PACKAGES as TENSORFLOW
from impls.tensorflow_lanes import VARIABLES as TENSORFLOW_VARIABLES
from impls.torch_lanes import PACKAGES as TORCH
from impls.torch_lanes import PLAIN as TORCH_PLAIN

KERAS = ("keras", "keras")
TRAINER = "impls.keras_mlp:KerasTrainer"
HOME = {"KERAS_HOME": "{folder}/keras"}  # Keras writes a file of settings there
FIT = "Keras's fit, in Python, paused between blocks; the turn to the next pass is in few blocks, and in no median"

ON_JAX = XLA | {
    "compile": "the step, by XLA, at the first step: what jit_compile='auto' means with this backend",
    "donation": "weights donated",
    "loop": FIT,
    "loss": "log_softmax times one-hot labels, fused by XLA",
}
ON_TENSORFLOW = {
    "blas": "oneDNN or Eigen",
    "threads": "TensorFlow's threads",
    "compile": "nothing, the step is a graph of ready kernels: jit_compile='auto' means no XLA on a CPU",
    "fast_math": "no",
    "donation": "in place",
    "loop": f"{FIT}; tf.data fetches minibatches ahead, so that some may be ready when a block begins",
    "loss": "fused, sparse_softmax_cross_entropy_with_logits",
    "accumulation": "float32",
}
ON_TORCH = TORCH_PLAIN | {
    "compile": "nothing, eager: what jit_compile='auto' means with this backend",
    "loop": FIT,
}

IMPLEMENTATIONS = (
    Implementation(
        name="keras-jax",
        trainer=TRAINER,
        environment="jax-libraries",
        packages=(KERAS, *JAX),
        backend="jax",
        manifest=ON_JAX,
        variables=HOME | {"KERAS_BACKEND": "jax"},
    ),
    Implementation(
        name="keras-jax-scan",
        trainer="impls.keras_jax_scan_mlp:KerasJaxScanTrainer",
        environment="jax-libraries",
        packages=(KERAS, *JAX),
        lane=Lane.TUNED,
        backend="jax-scan",
        manifest=ON_JAX | SCAN,
        variables=HOME | {"KERAS_BACKEND": "jax"},
    ),
    Implementation(
        name="keras-tensorflow",
        trainer=TRAINER,
        environment="tensorflow",
        packages=(KERAS, *TENSORFLOW),
        backend="tensorflow",
        manifest=ON_TENSORFLOW,
        variables=HOME | TENSORFLOW_VARIABLES | {"KERAS_BACKEND": "tensorflow"},
    ),
    Implementation(
        name="keras-torch",
        trainer=TRAINER,
        environment="torch-libraries",
        packages=(KERAS, *TORCH),
        backend="torch",
        manifest=ON_TORCH,
        variables=HOME | {"KERAS_BACKEND": "torch"},
    ),
)
