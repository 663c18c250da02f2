"""The lanes of Flax: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.jax_lanes import SCAN, STEP, XLA
from impls.lanes import Implementation, Lane

PACKAGES = (("flax", "flax"), ("optax", "optax"), ("jax", "jax"), ("jaxlib", "jaxlib"))

PLAIN = XLA | {
    "compile": STEP,
    "loop": "Python; nnx.jit takes the model apart and puts it together again at each step",
    "loss": "log-sum-exp minus the label's logit, optax, fused by XLA",
}

IMPLEMENTATIONS = (
    Implementation(
        name="flax",
        trainer="impls.flax_mlp:FlaxTrainer",
        environment="jax-libraries",
        packages=PACKAGES,
        backend="jax",
        manifest=PLAIN,
    ),
    Implementation(
        name="flax-scan",
        trainer="impls.flax_scan_mlp:FlaxScanTrainer",
        environment="jax-libraries",
        packages=PACKAGES,
        backend="jax-scan",
        lane=Lane.TUNED,
        manifest=PLAIN | SCAN | {"loss": "log_softmax times one-hot labels, optax, fused by XLA"},
    ),
)
