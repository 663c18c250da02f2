"""The environment of a worker, which is made here: of the caller's variables it gets only those that are listed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from impls.devices import KINDS
from impls.theano_lanes import flag
from samenet.machine import gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.lanes import Case, Device

# Where a process finds its user, programs, folders and language. A worker needs no network, so it gets no proxies.
PASSED = {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "TMPDIR", "TEMP", "TMP", "TZ", "TERM", "LANG", "LANGUAGE"}
PASSED |= {"LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"}
PASSED |= {"XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "VIRTUAL_ENV", "CONDA_PREFIX", "LOCALE_ARCHIVE"}
PASSED |= {"PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
PASSED |= {"KMP_DUPLICATE_LIB_OK"}  # which threadpoolctl sets, in the harness too: two OpenMP libraries may be loaded

# What some machines cannot do without although it can change a time: which GPUs, compilers and libraries there are, and
# for which processor OpenBLAS computes, where it mistakes the processor. The same for every worker, and recorded.
# Of the devices that the caller lets be used each worker sees one, or none.
RECORDED = {"HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}
RECORDED |= {"CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "OPENBLAS_CORETYPE", "LD_LIBRARY_PATH"}
RECORDED |= {"CC", "CXX", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH"}
RECORDED |= {"PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}

# How all other variables begin that are known to change arithmetic, threads, placement, memory or code. What is not
# passed on reaches no worker; where it begins so, the user is informed.
INFLUENTIAL = re.compile(
    "OMP_|GOMP_|KMP_|LIBOMP|OMPT_|MKL_|OPENBLAS_|GOTO_|BLIS_|BLAS_|ATLAS_|ARMPL_|AOCL_|NVPL_|FLEXIBLAS|VECLIB_|TBB_|"
    "NUMEXPR_|NUMBA_|NPY_|NUMPY_|SCIPY_|ATEN_|TORCH|PYTORCH_|C10_|CAFFE2_|DNNL_|ONEDNN_|MKLDNN_|XNNPACK|XLA_|JAX_|TF_|"
    "PJRT_|LIBTPU|THEANO|PYTENSOR|AESARA|CUDA_|CUDNN_|CUBLAS|CUPY_|NVIDIA_|NVRTC_|NCCL_|TRITON_|HIP_|HSA_|ROCR_|ROCM_|"
    "ROCBLAS_|MIOPEN_|LD_|MALLOC_|GLIBC_|MIMALLOC_|JEMALLOC_|_RJEM_|TCMALLOC_|SCUDO_|ASAN_|TSAN_|UBSAN_|LSAN_|MSAN_|"
    "ONEAPI_|SYCL_|ZE_|TPU_|LLVM_|PYTHON|COV_CORE_|COVERAGE_|CFLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|HWLOC_|NUMA_|"
    "KERAS_|PADDLE_|FLAGS_|MLX_|MXNET_|ORT_|DEV$|CACHEDB$"
)

# Of a recorded value that had paths, which were cut to names; older files have the names alone.
CHECKSUM_DIGITS = 6
CHECKSUM = re.compile(rf" \([0-9a-f]{{{CHECKSUM_DIGITS}}}\)$")

# Every library that has a thread setting gets the same one, and affinity holds those that have none (XLA).
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def is_set(name: str, value: str) -> bool:
    """Return whether a variable counts as set: a CI sets those to nothing whose value is missing.

    No GPU is what an empty CUDA_VISIBLE_DEVICES means.
    """
    return bool(value) or name == "CUDA_VISIBLE_DEVICES"


def environment_of(case: Case, threads: int, folder: Path) -> dict[str, str]:
    """Return all variables of a worker of ``case``: ``threads`` for every library, and caches below ``folder``.

    The first worker in a folder pays for compiling, and no earlier campaign can pay for it. The lane's own variables
    come last.
    """
    passed = {name: value for name, value in os.environ.items() if name in PASSED | RECORDED and is_set(name, value)}
    if passed.get("TMPDIR"):
        passed["TMPDIR"] = str(Path(passed["TMPDIR"]).absolute())  # a worker has another working folder
    return (
        passed
        | dict.fromkeys(THREAD_VARIABLES, str(threads))
        | {
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
            "TRITON_CACHE_DIR": str(folder / "triton"),
            "THEANO_FLAGS": flag("base_compiledir", str(folder / "theano")),
            "PYTENSOR_FLAGS": flag("base_compiledir", str(folder / "pytensor")),
            # Otherwise they read files in the user's home that can change anything.
            "THEANORC": os.devnull,
            "PYTENSORRC": os.devnull,
            "PYTHONSAFEPATH": "1",  # no module is imported from the folder in which samenet was started
            "JAX_PLATFORMS": case.device.about.jax or "cpu",
            "JAX_TRACEBACK_FILTERING": "off",  # otherwise its errors end with advice
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }
        | shown_devices(case.device, os.environ)
        | own_variables(case, threads, folder)
    )


def own_variables(case: Case, threads: int, folder: Path) -> dict[str, str]:
    """Return the variables that only the workers of this implementation have."""
    return {
        name: value.replace("{folder}", str(folder)).replace("{threads}", str(threads))
        for name, value in case.implementation.variables.items()
    }


def shown_devices(device: Device, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a worker sees ``device`` and no other one; a worker on the CPU sees none.

    Some frameworks open a context, which takes memory, on each device that they see. The devices are counted among
    those that ``environment`` lists.
    """
    shown: dict[str, str] = {}
    for kind in KINDS.values():
        if kind.name != device.kind and kind.hidden is not None:
            shown[kind.selector] = kind.hidden
    if not device.is_gpu:
        return shown
    listed = [name.strip() for name in environment.get(device.about.selector, "").split(",") if name.strip()]
    number = listed[device.index] if device.index < len(listed) else str(device.index)
    uuid = gpu.uuid(device.index) if device.has_nvml else None
    return shown | device.about.selected(uuid or number)


def recorded(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what workers get of ``environment`` that can change a time; of paths the last names and a checksum.

    What is set for every worker is left out, since it follows from the number of threads and from samenet's version.
    """
    return {
        name: without_folders(value)
        for name, value in sorted(environment.items())
        if name in RECORDED and is_set(name, value)
    }


def ignored(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that could change a time, and that no worker gets."""
    known = PASSED | RECORDED
    return sorted(
        name for name, value in environment.items() if value and INFLUENTIAL.match(name) and name not in known
    )


def without_folders(value: str) -> str:
    """Return ``value`` with each path in it cut to its last name, since the run may be published.

    The first digits of the whole value's SHA-256 follow where something was cut: ``lib (1f3a5c)``.
    """
    text = value.encode(errors="replace").decode()  # a path may be no UTF-8
    if os.sep not in text:
        return text
    names = os.pathsep.join(Path(part).name if os.sep in part else part for part in text.split(os.pathsep))
    return f"{names} ({hashlib.sha256(os.fsencode(value)).hexdigest()[:CHECKSUM_DIGITS]})"


def same_variable(one: str, other: str) -> bool:
    """Return whether two recorded values may be the same: one saved without a checksum has only names to compare."""
    names, others = CHECKSUM.sub("", one), CHECKSUM.sub("", other)
    is_half = (names == one) != (others == other)
    return names == others if is_half else one == other
