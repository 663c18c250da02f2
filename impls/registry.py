"""Which implementations there are: the module of each, the environment it runs in and its devices."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points

ENTRY_POINTS = "samenet.implementations"


@dataclass(frozen=True)
class Implementation:
    """One way to train the workload.

    ``trainer`` is ``module:class``; ``environment`` the tox environment that serves it; ``packages`` what has to be
    importable there, as (import name, distribution name); ``devices`` where it can run; ``needs`` what a machine
    must have before tox can make the environment. Another package adds its own as an entry point of the group
    ``samenet.implementations``; the entry point names an ``Implementation``, and the module that holds it must not
    import the framework.
    """

    name: str
    trainer: str
    environment: str
    packages: tuple[tuple[str, str], ...]
    devices: tuple[str, ...] = ("cpu",)
    needs: str = ""


IMPLEMENTATIONS = (
    Implementation("numpy", "impls.numpy_mlp:NumpyTrainer", "numpy", (("numpy", "numpy"),)),
    Implementation("torch", "impls.torch_mlp:TorchTrainer", "torch", (("torch", "torch"),)),
    Implementation("jax", "impls.jax_mlp:JaxTrainer", "jax", (("jax", "jax"), ("jaxlib", "jaxlib"))),
    Implementation(
        "theano",
        "impls.theano_mlp:TheanoTrainer",
        "theano",
        (("theano", "Theano-PyMC"), ("scipy", "scipy")),
        needs="Python 3.11 and a C++ compiler",
    ),
)

# Not implementations: the step's matrix products alone, in each BLAS. The fastest of them bounds every case.
BOUNDS = (
    Implementation("numpy-matmul", "impls.numpy_matmul:NumpyMatmul", "numpy", (("numpy", "numpy"),)),
    Implementation("torch-matmul", "impls.torch_matmul:TorchMatmul", "torch", (("torch", "torch"),)),
    Implementation("jax-matmul", "impls.jax_matmul:JaxMatmul", "jax", (("jax", "jax"), ("jaxlib", "jaxlib"))),
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


def cases() -> tuple[Case, ...]:
    """Return every case that the registry knows, whether this machine can run it or not."""
    added = tuple(entry.load() for entry in entry_points(group=ENTRY_POINTS))
    return tuple(Case(each, device) for each in IMPLEMENTATIONS + added for device in each.devices)
