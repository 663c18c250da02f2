"""The lanes of Equinox: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.jax_lanes import SCAN, STEP, XLA
from impls.lanes import Implementation, Lane

PACKAGES = (("equinox", "equinox"), ("optax", "optax"), ("jax", "jax"), ("jaxlib", "jaxlib"))

PLAIN = XLA | {
    "compile": STEP,
    "loop": "Python; filter_jit waits for each step",
    "loss": "log-sum-exp minus the label's logit, optax, fused by XLA",
}

IMPLEMENTATIONS = (
    Implementation(
        name="equinox",
        trainer="impls.equinox_mlp:EquinoxTrainer",
        environment="jax-libraries",
        packages=PACKAGES,
        backend="jax",
        manifest=PLAIN,
    ),
    Implementation(
        name="equinox-scan",
        trainer="impls.equinox_scan_mlp:EquinoxScanTrainer",
        environment="jax-libraries",
        packages=PACKAGES,
        backend="jax-scan",
        lane=Lane.TUNED,
        manifest=PLAIN | SCAN | {"loss": "log_softmax times one-hot labels, optax, fused by XLA"},
    ),
)
