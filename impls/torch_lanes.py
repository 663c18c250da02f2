"""The lanes of torch: what they need, and what a reader must know of them."""

from __future__ import annotations

from impls.lanes import Implementation, Lane

PACKAGES = (("torch", "torch"),)
CHUNK = 20  # steps in the longer of the two CUDA graphs
COMPILER = "a C++ compiler and Python's headers"

PLAIN = {
    "blas": "MKL, from torch's wheel",
    "threads": "OpenMP threads",
    "compile": "nothing, eager",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "fused, cross_entropy",
    "accumulation": "float32",
}
ON_GPU = {"blas": "cuBLAS", "threads": "GPU threads"}
GRAPH_LOOP = f"CUDA graphs of {CHUNK} steps, and of one step for the rest"
REMEDIES = {
    "cuda": "install a torch for a CUDA that the driver supports, see https://pytorch.org/get-started/locally",
    "rocm": "install a torch for ROCm, see https://pytorch.org/get-started/locally",
    "xpu": "install a torch for XPU, see https://docs.pytorch.org/docs/stable/notes/get_start_xpu.html",
}
DEVICES = ("cpu", "cuda", "rocm", "xpu")
PRECISIONS = {"cuda": ("tf32", "bfloat16"), "cpu": ("bfloat16",)}

IMPLEMENTATIONS = (
    Implementation(
        name="torch",
        trainer="impls.torch_mlp:TorchTrainer",
        environment="torch",
        packages=PACKAGES,
        devices=DEVICES,
        remedies=REMEDIES,
        manifest=PLAIN,
        manifest_on_gpu=ON_GPU,
        precisions=PRECISIONS,
    ),
    Implementation(
        name="torch-compile",
        trainer="impls.torch_compile_mlp:TorchCompileTrainer",
        environment="torch",
        packages=PACKAGES,
        devices=DEVICES,
        remedies=REMEDIES,
        prerequisites=COMPILER,
        lane=Lane.TUNED,
        manifest=PLAIN | {"compile": "the step and its update, by inductor (C++), at the first step"},
        manifest_on_gpu=ON_GPU | {"compile": "the step and its update, by inductor (Triton), at the first step"},
        precisions=PRECISIONS,
    ),
    Implementation(
        name="torch-cudagraph",
        trainer="impls.torch_cudagraph_mlp:TorchCudagraphTrainer",
        environment="torch",
        packages=PACKAGES,
        devices=("cuda", "rocm"),
        remedies=REMEDIES,
        prerequisites=COMPILER,
        lane=Lane.TUNED,
        manifest=PLAIN
        | ON_GPU
        | {"compile": "the step and its update, by inductor (Triton), in the constructor", "loop": GRAPH_LOOP},
        precisions={"cuda": PRECISIONS["cuda"]},
    ),
)

BOUNDS = (
    Implementation(
        name="torch-matmul",
        trainer="impls.torch_matmul:TorchMatmul",
        environment="torch",
        packages=PACKAGES,
        manifest={"blas": PLAIN["blas"]},
    ),
)
