"""Environments in which a benchmark of frameworks has been seen to measure something else than it says."""

from __future__ import annotations

from dataclasses import dataclass, field

STARTED = "if 'PYTHONSAFEPATH' in os.environ:"  # true in a worker alone, before any other line of samenet's


@dataclass(frozen=True, kw_only=True)
class Situation:
    """An environment, what becomes of ``numpy-cpu`` and ``torch-cpu`` in it, and what the output says.

    ``files`` are below the home folder, which is on the module path where one of them is a module. ``sentence`` is part
    of a line; in it CPU 0 stands for the first CPU that is used. A case that is said to be ``valid`` may be
    ``contended`` on a busy machine.
    """

    situation: str
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    numpy: str = "valid"
    torch: str = "valid"
    sentence: str

    @property
    def states(self) -> dict[str, str]:
        """The state of each case."""
        return {"numpy-cpu": self.numpy, "torch-cpu": self.torch}


def ignoring(about: str, **environment: str) -> Situation:
    """Return a situation whose variables reach no worker."""
    shown = ", ".join(f"{name}={value}" for name, value in environment.items())
    return Situation(
        situation=f"`{shown}`: {about}", environment=environment, sentence=f"ignored: {', '.join(sorted(environment))}"
    )


def passing_on(about: str, name: str, value: str, shown: str = "") -> Situation:
    """Return a situation whose variable reaches the workers; of a path the output shows the last name."""
    sentence = f"passed on: {name}={shown or value}"
    return Situation(situation=f"`{name}={value}`: {about}", environment={name: value}, sentence=sentence)


IGNORED = (
    ignoring("one OpenMP thread", OMP_NUM_THREADS="1"),
    ignoring("one OpenMP thread, whatever a program asks for", OMP_THREAD_LIMIT="1"),
    ignoring("OpenMP chooses how many threads it uses, by the machine's load", OMP_DYNAMIC="true"),
    ignoring("all OpenMP threads on CPU 0", OMP_PLACES="{0}", OMP_PROC_BIND="true"),
    ignoring("waiting threads sleep at once", OMP_WAIT_POLICY="passive"),
    ignoring("all threads of GNU's OpenMP on CPU 0", GOMP_CPU_AFFINITY="0"),
    ignoring("waiting threads sleep at once", GOMP_SPINCOUNT="0"),
    ignoring("all threads of Intel's OpenMP on CPU 0", KMP_AFFINITY="explicit,proclist=[0]"),
    ignoring("the same", KMP_HW_SUBSET="1c,1t"),
    ignoring("one thread in MKL", MKL_NUM_THREADS="1"),
    ignoring("one thread in MKL's matrix products", MKL_DOMAIN_NUM_THREADS="MKL_BLAS=1"),
    ignoring("MKL without threads", MKL_THREADING_LAYER="SEQUENTIAL"),
    ignoring("MKL's slowest kernels", MKL_CBWR="COMPATIBLE"),
    ignoring("one thread in OpenBLAS", OPENBLAS_NUM_THREADS="1"),
    ignoring("the same by its older name", GOTO_NUM_THREADS="1"),
    ignoring("one thread in BLIS", BLIS_NUM_THREADS="1"),
    ignoring("numpy without vector instructions", NPY_DISABLE_CPU_FEATURES="AVX2 FMA3"),
    ignoring("torch without vector instructions", ATEN_CPU_CAPABILITY="default"),
    ignoring("oneDNN without vector instructions", ONEDNN_MAX_CPU_ISA="SSE41"),
    ignoring("torch does not compile", TORCHDYNAMO_DISABLE="1"),
    ignoring("torch's compiler makes one thread's code", TORCHINDUCTOR_CPP_THREADS="1"),
    ignoring("XLA without threads", XLA_FLAGS="--xla_cpu_multi_thread_eigen=false"),
    ignoring("jax computes in float64", JAX_ENABLE_X64="1"),
    ignoring("one thread in TensorFlow", TF_NUM_INTRAOP_THREADS="1"),
    ignoring("numba does not compile", NUMBA_DISABLE_JIT="1"),
    ignoring("Theano computes in float64", THEANO_FLAGS="floatX=float64,optimizer=None"),
    ignoring("PyTensor computes in float64", PYTENSOR_FLAGS="floatX=float64,optimizer=None"),
    ignoring("Triton interprets its kernels", TRITON_INTERPRET="1"),
    ignoring("TF32 in cuBLAS", NVIDIA_TF32_OVERRIDE="1"),
    ignoring("kernels of a GPU wait for each other", CUDA_LAUNCH_BLOCKING="1"),
    ignoring("TF32 in cupy", CUPY_TF32="1"),
    ignoring("TF32 in Triton's products", TRITON_F32_DEFAULT="tf32"),
    ignoring("cuBLAS may emulate float32", CUBLAS_EMULATION_STRATEGY="eager"),
    ignoring("every allocation is checked", PYTHONMALLOC="malloc_debug"),
    ignoring("hashes are the same in every launch", PYTHONHASHSEED="0"),
    ignoring("memory goes back to the system at once", MALLOC_TRIM_THRESHOLD_="0", MALLOC_TOP_PAD_="0"),
    ignoring("the same", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=4096"),
    ignoring("another allocator, which is not installed", LD_PRELOAD="/opt/lib/liballocator.so"),
    ignoring("every line of Python is traced", COVERAGE_PROCESS_START="/opt/.coveragerc"),
)
PASSED_ON = (
    passing_on("OpenBLAS's kernels for a processor that it would mistake", "OPENBLAS_CORETYPE", "Haswell"),
    passing_on("libraries of the user", "LD_LIBRARY_PATH", "/opt/framework/lib64", "lib64"),
    passing_on("no GPU", "CUDA_VISIBLE_DEVICES", ""),
    passing_on("another C++ compiler", "CXX", "/opt/gcc/bin/g++", "g++"),
)
# Each has a run of its own.
ALONE = (
    Situation(
        situation="`~/.theanorc`, `~/.pytensorrc` and `~/.numba_config.yaml` set float64 and no optimisation",
        files={
            ".theanorc": "[global]\nfloatX = float64\noptimizer = None\n",
            ".pytensorrc": "[global]\nfloatX = float64\noptimizer = None\n",
            ".numba_config.yaml": "disable_jit: 1\nnum_threads: 1\n",
        },
        sentence="one thread each, for every case",
    ),
    Situation(
        situation="a `sitecustomize.py` sets `OMP_THREAD_LIMIT` and `OPENBLAS_NUM_THREADS`",
        files={
            "sitecustomize.py": f"import os\n{STARTED}\n"
            "    os.environ |= {'OMP_THREAD_LIMIT': '1', 'OPENBLAS_NUM_THREADS': '1'}\n"
        },
        sentence="PYTHONPATH=home",
    ),
    Situation(
        situation="a `sitecustomize.py` confines the process to CPU 0",
        files={
            "sitecustomize.py": f"import os\n{STARTED}\n    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        },
        sentence="PYTHONPATH=home",
    ),
    Situation(
        situation="a `sitecustomize.py` imports numpy with one thread",
        files={
            "sitecustomize.py": f"import os\n{STARTED}\n    os.environ['OPENBLAS_NUM_THREADS'] = '1'\n"
            "    import numpy\n"
        },
        numpy="undersubscribed",
        sentence="1 of 2 threads worked; the pool of openblas has 1 where 2 were given",
    ),
    Situation(
        situation="a `sitecustomize.py` imports torch with `OMP_THREAD_LIMIT=1`",
        files={
            "sitecustomize.py": f"import os, importlib.util\n{STARTED}\n    os.environ['OMP_THREAD_LIMIT'] = '1'\n"
            "    if importlib.util.find_spec('torch'):\n        import torch\n"
        },
        torch="undersubscribed",
        sentence="undersubscribed: 1 of 2 threads worked",
    ),
    Situation(
        situation="a `sitecustomize.py` starts a thread that keeps all threads on CPU 0",
        files={
            "sitecustomize.py": f"import os, threading, time\n{STARTED}\n"
            "    first = min(os.sched_getaffinity(0))\n"
            "    def pin():\n"
            "        while True:\n"
            "            for thread in os.listdir('/proc/self/task'):\n"
            "                try:\n"
            "                    os.sched_setaffinity(int(thread), [first])\n"
            "                except OSError:\n"
            "                    pass\n"
            "            time.sleep(0.02)\n"
            "    threading.Thread(target=pin, daemon=True).start()\n"
        },
        numpy="undersubscribed",
        torch="undersubscribed",
        sentence="2 of 2 threads worked; its threads may run on CPU 0 only",
    ),
)
SITUATIONS = (*IGNORED, *PASSED_ON, *ALONE)
