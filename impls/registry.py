"""Which implementations there are: the module of each, the environment it runs in and its devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from impls.workload import Workload

ENTRY_POINTS = "samenet.implementations"


MANIFEST = {
    "blas": "whose matrix products",
    "threads": "whose threads share the work",
    "compile": "what compiles what, and when",
    "fast_math": "whether arithmetic may be reordered or approximated",
    "donation": "whether the old weights' memory takes the new ones",
    "loop": "what goes from step to step",
    "loss": "how softmax and cross-entropy are computed",
    "accumulation": "in what precision sums are taken",
}


@dataclass(frozen=True)
class Implementation:
    """One way to train the workload.

    ``trainer`` is ``module:class``; ``environment`` the tox environment that serves it; ``packages`` what has to be
    importable there, as (import name, distribution name); ``devices`` where it can run; ``needs`` what a machine
    must have before tox can make the environment; ``lane`` is ``plain``, what the framework's documentation teaches, or
    ``tuned``, what its experts would do; ``manifest`` what a reader must know before comparing its speed with
    another's: a value for each key of ``MANIFEST``, "not stated" where there is none. Another package adds its own as
    an entry point of the group ``samenet.implementations``; the entry point names an ``Implementation``, and the module
    that holds it must not import the framework.

    ``on_gpu`` has the values of the manifest that differ on a GPU.

    ``lower`` are the precisions below float32 that it has for its products, by device.

    ``only`` names the values of the workload's fields that the implementation was written for, where it is not all of
    them; ``impossible`` the devices that a reader would look for and that it cannot use, with the reason.

    Raises:
        ValueError: ``manifest`` has a key that no other has.
    """

    name: str
    trainer: str
    environment: str
    packages: tuple[tuple[str, str], ...]
    devices: tuple[str, ...] = ("cpu",)
    needs: str = ""
    lane: str = "plain"
    manifest: Mapping[str, str] = field(default_factory=dict, hash=False)
    on_gpu: Mapping[str, str] = field(default_factory=dict, hash=False)
    lower: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    only: Mapping[str, str] = field(default_factory=dict, hash=False)
    impossible: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Give every manifest the same keys, so that two of them can always be compared."""
        unknown = {*self.manifest, *self.on_gpu} - set(MANIFEST)
        if unknown:
            raise ValueError(
                f"{self.name}'s manifest has {', '.join(sorted(unknown))}; its keys are: {', '.join(MANIFEST)}"
            )
        filled = {key: self.manifest.get(key, "not stated") for key in MANIFEST}
        object.__setattr__(self, "manifest", filled)  # the class is frozen

    def unsupported(self, workload: Workload) -> str:
        """Say why ``workload`` cannot be trained here, or return ""."""
        reasons = (
            f"unsupported: {self.name} is written out for {name} {value}"
            for name, value in self.only.items()
            if getattr(workload, name) != value
        )
        return next(reasons, "")


NUMPY = (("numpy", "numpy"),)
TORCH = (("torch", "torch"),)
TRITON = (*TORCH, ("triton", "triton"))
JAX = (("jax", "jax"), ("jaxlib", "jaxlib"))
CUPY = (("cupy", "cupy-cuda13x"),)
THEANO = (("theano", "Theano-PyMC"), ("scipy", "scipy"))
PYTENSOR = (("pytensor", "pytensor"), ("numba", "numba"), *JAX)

_NUMPY = {
    "blas": "OpenBLAS of numpy's wheel",
    "threads": "OpenBLAS's own for products, one for the rest",
    "compile": "none",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "by hand, the largest logit subtracted",
    "accumulation": "float32, pairwise",
}
_TORCH = {
    "blas": "MKL of torch's wheel",
    "threads": "OpenMP",
    "compile": "none, eager",
    "fast_math": "no",
    "donation": "in place",
    "loop": "Python",
    "loss": "fused, cross_entropy",
    "accumulation": "float32",
}
_JAX = {
    "blas": "XLA's own: YNNPACK forward, Eigen for the weights' gradients",
    "threads": "XLA's own, by affinity",
    "compile": "XLA, the step, at the first one",
    "fast_math": "XLA's default",
    "donation": "no",
    "loop": "Python",
    "loss": "log_softmax, fused by XLA",
    "accumulation": "float32",
}
_PYTENSOR = {
    "blas": "OpenBLAS of scipy's wheel, through numba",
    "threads": "OpenBLAS's own for products, one for the rest",
    "compile": "numba (LLVM), the step, at the first one",
    "fast_math": "pytensor's default for numba",
    "donation": "in place, by updates",
    "loop": "Python",
    "loss": "log_softmax",
    "accumulation": "float32, the mean in float64",
}
_THEANO = {
    "blas": "OpenBLAS of scipy's wheel",
    "threads": "OpenBLAS's own for products, one for the rest",
    "compile": "C, the step, when it is built",
    "fast_math": "no",
    "donation": "in place, by updates",
    "loop": "Python",
    "loss": "softmax, then log",
    "accumulation": "float32, the mean in float64",
}

_CUDA = ("cpu", "cuda")
_ON_GPU = {"cuda": ("tf32", "bfloat16")}  # XLA's code for CPUs takes float32 whatever it is asked for
_TORCH_LOWER = {**_ON_GPU, "cpu": ("bfloat16",)}
_TORCH_GPU = {"blas": "cuBLAS", "threads": "the GPU's"}
_JAX_GPU = {"blas": "cuBLAS and XLA's own, as XLA finds faster", "threads": "the GPU's"}

# Gradients of a tuned lane that are written for one activation; the plain lanes have the others.
_BY_HAND = {"model": "mlp", "activation": "tanh"}

IMPLEMENTATIONS = (
    Implementation("numpy", "impls.numpy_mlp:NumpyTrainer", "numpy", NUMPY, manifest=_NUMPY),
    Implementation(
        "numpy-tuned",
        "impls.numpy_tuned_mlp:NumpyTunedTrainer",
        "numpy",
        NUMPY,
        lane="tuned",
        manifest=_NUMPY
        | {
            "threads": "Python's, each with its rows of the minibatch and a BLAS of one thread; small networks: one",
            "loop": "Python, in each thread",
        },
        only=_BY_HAND,
    ),
    Implementation(
        "cupy",
        "impls.cupy_mlp:CupyTrainer",
        "cupy",
        CUPY,
        devices=("cuda",),
        needs="CUDA 13",
        manifest=_NUMPY | {"blas": "cuBLAS", "threads": "the GPU's"},
    ),
    Implementation(
        "torch",
        "impls.torch_mlp:TorchTrainer",
        "torch",
        TORCH,
        _CUDA,
        manifest=_TORCH,
        on_gpu=_TORCH_GPU,
        lower=_TORCH_LOWER,
    ),
    Implementation(
        "torch-compile",
        "impls.torch_compile_mlp:TorchCompileTrainer",
        "torch",
        TORCH,
        devices=_CUDA,
        needs="a C++ compiler",
        lane="tuned",
        manifest=_TORCH | {"compile": "inductor (C++), the step and its update, at the first one"},
        lower=_TORCH_LOWER,
        on_gpu=_TORCH_GPU | {"compile": "inductor (Triton), the step and its update, at the first one"},
    ),
    Implementation(
        "torch-cudagraph",
        "impls.torch_cudagraph_mlp:TorchCudagraphTrainer",
        "torch",
        TORCH,
        devices=("cuda",),
        needs="a C++ compiler",
        lane="tuned",
        manifest=_TORCH
        | {
            "compile": "inductor (Triton), the step and its update, when it is built",
            "loop": "CUDA graphs of 20 steps, and of one for the rest",
        }
        | _TORCH_GPU,
        lower=_ON_GPU,
    ),
    Implementation(
        "triton",
        "impls.triton_mlp:TritonTrainer",
        "triton",
        TRITON,
        devices=("cuda",),
        lane="tuned",
        manifest={
            "blas": "none, products in Triton's tiles",
            "threads": "the GPU's",
            "compile": "Triton, the step in two kernels, when it is built",
            "fast_math": "no, but for exp and division, good to two units in the last place",
            "donation": "in place",
            "loop": "CUDA graphs of 20 steps, and of one for the rest",
            "loss": "by hand, the largest logit subtracted",
            "accumulation": "float32",
        },
        lower={"cuda": ("tf32",)},
        only=_BY_HAND,
    ),
    Implementation("jax", "impls.jax_mlp:JaxTrainer", "jax", JAX, _CUDA, manifest=_JAX, on_gpu=_JAX_GPU, lower=_ON_GPU),
    Implementation(
        "jax-scan",
        "impls.jax_scan_mlp:JaxScanTrainer",
        "jax",
        JAX,
        devices=_CUDA,
        lane="tuned",
        manifest=_JAX
        | {
            "compile": "XLA, the whole round, at the first one",
            "donation": "weights donated",
            "loop": "compiled, up to 1,024 steps a call",
        },
        on_gpu=_JAX_GPU,
        lower=_ON_GPU,
    ),
    Implementation(
        "theano",
        "impls.theano_mlp:TheanoTrainer",
        "theano",
        THEANO,
        devices=_CUDA,
        needs="Python 3.11 and a C++ compiler",
        manifest=_THEANO,
        impossible={
            "cuda": "Theano's GPU code needs libgpuarray, which no package provides any more, and its JAX linker a jax"
            " of 2021"
        },
    ),
    Implementation(
        "theano-tuned",
        "impls.theano_tuned_mlp:TheanoTunedTrainer",
        "theano",
        THEANO,
        needs="Python 3.11 and a C++ compiler with glibc 2.35 or later",
        lane="tuned",
        manifest=_THEANO
        | {
            "compile": "C (-O3 -march=native), the step, when it is built",
            "fast_math": "yes, -ffast-math, for glibc's vector tanhf",
            "loop": "Theano's virtual machine, up to 1,024 steps a call",
            "loss": "fused, crossentropy_softmax_1hot",
            "accumulation": "float32",
        },
        only=_BY_HAND,
    ),
    Implementation("pytensor", "impls.pytensor_mlp:PytensorTrainer", "pytensor", PYTENSOR, manifest=_PYTENSOR),
    Implementation(
        "pytensor-jax",
        "impls.pytensor_jax_mlp:PytensorJaxTrainer",
        "pytensor",
        PYTENSOR,
        devices=_CUDA,
        lane="tuned",
        manifest=_PYTENSOR
        | {
            "blas": _JAX["blas"],
            "threads": _JAX["threads"],
            "compile": "XLA, the step, at the first one",
            "fast_math": _JAX["fast_math"],
            "donation": "no",
            "accumulation": "float32",
        },
        on_gpu=_JAX_GPU,
        lower=_ON_GPU,
    ),
)

# Not implementations: the step's matrix products alone, in each BLAS. The fastest of them bounds every case.
BOUNDS = (
    Implementation("numpy-matmul", "impls.numpy_matmul:NumpyMatmul", "numpy", NUMPY),
    Implementation("torch-matmul", "impls.torch_matmul:TorchMatmul", "torch", TORCH),
    Implementation("jax-matmul", "impls.jax_matmul:JaxMatmul", "jax", JAX),
)


@dataclass(frozen=True)
class Case:
    """An implementation on a device; its id, such as ``torch-cpu``, is the name of its test."""

    implementation: Implementation
    device: str

    @property
    def id(self) -> str:
        """The name of the case: ``<implementation>-<device>``."""
        return f"{self.implementation.name}-{self.device}"

    @property
    def manifest(self) -> dict[str, str]:
        """What a reader must know of the implementation on this device."""
        on_gpu = {} if self.device == "cpu" else self.implementation.on_gpu
        return {**self.implementation.manifest, **on_gpu}

    def unsupported(self, workload: Workload) -> str:
        """Say why ``workload`` cannot be trained on this device, or return ""."""
        kind = self.device.partition(":")[0]
        reason = self.implementation.impossible.get(kind, "")
        if workload.precision not in ("float32", *self.implementation.lower.get(kind, ())):
            reason = f"{self.implementation.name} has no {workload.precision} on {kind}"
        return f"unsupported: {reason}" if reason else self.implementation.unsupported(workload)


def cases(gpus: Sequence[int] = (0,)) -> tuple[Case, ...]:
    """Return every case that the registry knows, on each of ``gpus``, whether this machine can run it or not."""
    added = tuple(entry.load() for entry in entry_points(group=ENTRY_POINTS))
    names = {"cuda": [f"cuda:{number}" if number else "cuda" for number in gpus]}
    return tuple(
        Case(each, name)
        for each in IMPLEMENTATIONS + added
        for device in each.devices
        for name in names.get(device, [device])
    )
