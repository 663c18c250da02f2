"""The lanes of jax: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("jax", "jax"), ("jaxlib", "jaxlib"))
STACKED = 50  # losses that are copied to the host as one array
# Steps of the compiled loops on a GPU, the longest first, which is that of the CPU; a run is a sum of them.
LENGTHS = (64, 8, 4, 2, 1)

# What any code that XLA compiles has in common, whichever framework it comes from.
XLA = {
    "blas": "XLA: YNNPACK forward, Eigen for the gradients of the weights",
    "threads": "XLA threads, limited by CPU affinity",
    "fast_math": "XLA's default",
    "donation": "no",
    "accumulation": "float32",
}
XLA_ON_GPU = {"blas": "cuBLAS or XLA's own kernels, whichever XLA measured to be faster", "threads": "GPU threads"}
REMEDIES = {
    "cuda": "install its plug-in for a CUDA that the driver supports, jax[cuda13] or jax[cuda12]",
    "rocm": "install its plug-in for ROCm, see https://docs.jax.dev/en/latest/installation.html",
    "tpu": "install jax[tpu]",
}
DEVICES = ("cpu", "cuda", "rocm", "tpu")
PRECISIONS = {"cuda": ("tf32", "bfloat16")}  # XLA's code for CPUs computes in float32 whatever it is asked for
STEP = "the step, by XLA, at the first step"

# What a loop over the steps has in common that XLA compiles.
SCAN = {
    "compile": "the loop, by XLA, in the constructor",
    "donation": "weights donated",
    "loop": f"compiled, up to {LENGTHS[0]} steps a call",
}
SCAN_ON_GPU = XLA_ON_GPU | {
    "compile": "loops of fixed lengths, by XLA, in the constructor",
    "loop": f"compiled, {' or '.join(map(str, reversed(LENGTHS)))} steps a call",
}

TRANSPOSED = "; the first matrix is stored transposed"

PLAIN = XLA | {"compile": STEP, "loop": "Python", "loss": "log_softmax, fused by XLA"}

IMPLEMENTATIONS = (
    Implementation(
        name="jax",
        trainer="impls.jax_mlp:JaxTrainer",
        environment="jax",
        packages=PACKAGES,
        devices=DEVICES,
        remedies=REMEDIES,
        manifest=PLAIN,
        manifest_on_gpu=XLA_ON_GPU,
        precisions=PRECISIONS,
    ),
    Implementation(
        name="jax-scan",
        trainer="impls.jax_scan_mlp:JaxScanTrainer",
        environment="jax",
        packages=PACKAGES,
        devices=DEVICES,
        remedies=REMEDIES,
        lane=Lane.TUNED,
        manifest=PLAIN | SCAN | {"loop": f"{SCAN['loop']}{TRANSPOSED}"},
        manifest_on_gpu=SCAN_ON_GPU | {"loop": f"{SCAN_ON_GPU['loop']}{TRANSPOSED}"},
        precisions=PRECISIONS,
    ),
)

BOUNDS = (
    Implementation(
        name="jax-matmul",
        trainer="impls.jax_matmul:JaxMatmul",
        environment="jax",
        packages=PACKAGES,
        manifest={"blas": PLAIN["blas"]},
    ),
)
