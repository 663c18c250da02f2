"""The lane of scikit-learn: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import Implementation

PLAIN = {
    "blas": "OpenBLAS, from numpy's wheel",
    "threads": "OpenBLAS threads for products, one for the rest",
    "compile": "nothing",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python, a call of partial_fit for each minibatch, which checks its arguments and the new weights",
    "loss": "logarithms of softmax's results, which are kept 1.2e-7 away from 0 and 1",
    "accumulation": "float32",
}

IMPLEMENTATIONS = (
    Implementation(
        name="scikit-learn",
        trainer="impls.scikit_learn_mlp:ScikitLearnTrainer",
        environment="scikit-learn",
        packages=(("sklearn", "scikit-learn"), ("scipy", "scipy")),
        manifest=PLAIN,
        # Of the other activations it has sigmoid, and a relu whose slope at 0 is 0 instead of 1/2.
        backend="numpy",
        requires_fields={"activation": ("tanh", "sigmoid")},
    ),
)
