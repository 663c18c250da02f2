"""The lane of ONNX Runtime: what it needs, and what a reader must know of it."""

from __future__ import annotations

from impls.lanes import Implementation

IMPLEMENTATIONS = (
    Implementation(
        name="onnxruntime",
        trainer="impls.onnxruntime_mlp:OnnxruntimeTrainer",
        environment="onnxruntime",
        # Without torch its training API cannot be imported.
        packages=(("onnxruntime", "onnxruntime-training"), ("onnx", "onnx"), ("torch", "torch")),
        prerequisites="Python 3.11",  # the newest that its last release runs on
        manifest={
            "blas": "MLAS, in ONNX Runtime's wheel",
            "threads": "ONNX Runtime's pool",
            "compile": "nothing; the graph is differentiated in the constructor",
            "fast_math": "no",
            "donation": "in place",
            "loop": "Python",
            "loss": "fused, SoftmaxCrossEntropyLoss",
            "accumulation": "float32",
        },
    ),
)
