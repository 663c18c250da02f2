"""What is computed: a frozen description, its fingerprint and the weights that every run starts from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Floats: TypeAlias = "npt.NDArray[np.floating]"
Float32: TypeAlias = "npt.NDArray[np.float32]"
Int32: TypeAlias = "npt.NDArray[np.int32]"
# The weights in host memory, C order, in the order and with the shapes of ``Workload.shapes``. They are float32, except
# those that the reference computes, which are float64.
Params: TypeAlias = "tuple[Floats, ...]"

CHOICES = {
    "model": ("mlp", "linear"),
    "activation": ("tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "relu", "leaky_relu", "prelu", "maxout"),
    "init": ("glorot", "glorot_normal", "book", "zeros"),
    "precision": ("float32", "tf32", "bfloat16"),
}
LINEAR_RATE = 0.13  # the book's learning rate for its linear model


class WorkloadError(ValueError):
    """A workload that cannot be trained; the message has the wrong value and the valid ones."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One network, its data and its training; two cases are compared only when all of it is equal.

    The defaults are the book's (*Deep Learning with Theano*, Bourez, 2017, chapter 2, "Multiple layer model"), except
    for ``init``: ``glorot`` draws both matrices from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot and
    Bengio, 2010), ``glorot_normal`` from a normal distribution with the same variance, ``book`` is ``glorot`` with
    zeros for the second one, and ``zeros`` has them for both.

    With the precisions ``tf32`` and ``bfloat16`` the operands of the matrix products, and at most their results, are
    rounded to these formats; sums, all other operations and the weights stay float32.

    A ``linear`` model has no hidden layer and ignores ``hidden`` and ``activation``. ``leaky_relu`` has the slope
    ``leak`` for negative inputs, and ``prelu`` learns one for each hidden unit, starting with ``leak`` (0.25 as in He
    et al., 2015). A ``maxout`` unit is the largest of ``n_pool`` adjacent linear units.

    Attributes:
        model: ``mlp`` (one hidden layer) or ``linear``.
        inputs: pixels of an image.
        hidden: units of the hidden layer.
        classes: units of the output layer.
        activation: of the hidden layer.
        leak: slope of ``leaky_relu``, and the first one of ``prelu``.
        n_pool: linear units of a ``maxout`` unit.
        init: how the initial weights are drawn.
        batch_size: images in a minibatch.
        learning_rate: of SGD, for every parameter.
        seed: of the initial weights.
        precision: of the matrix products.
        data: SHA-256 of the data set.
    """

    model: str = "mlp"
    inputs: int = 784
    hidden: int = 500
    classes: int = 10
    activation: str = "tanh"
    leak: float = 0.25
    n_pool: int = 2
    init: str = "glorot"
    batch_size: int = 600
    learning_rate: float = 0.01
    seed: int = 0
    precision: str = "float32"
    data: str = ""

    def __post_init__(self) -> None:
        """Reject what cannot be trained.

        Raises:
            WorkloadError: a field has a value outside its range.
        """
        for name in ("inputs", "hidden", "classes", "n_pool", "batch_size"):
            if getattr(self, name) < 1:
                raise WorkloadError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 < self.learning_rate < float("inf"):
            raise WorkloadError(f"learning_rate is {self.learning_rate}; it must be a positive, finite number")
        if not 0 <= self.leak < 1:
            raise WorkloadError(f"leak is {self.leak}; it must be 0 or more and less than 1")
        if self.seed < 0:
            raise WorkloadError(f"seed is {self.seed}; it must be 0 or more")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise WorkloadError(f"{name} is {getattr(self, name)!r}; choose one of: {', '.join(choices)}")

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ as soon as any field does."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes: of the hidden layer w1, b1 and prelu's leak, then of the output layer w2 and b2."""
        if self.model == "linear":
            return {"w2": (self.inputs, self.classes), "b2": (self.classes,)}
        units = self.hidden * (self.n_pool if self.activation == "maxout" else 1)
        learned = {"leak": (self.hidden,)} if self.activation == "prelu" else {}
        return {
            "w1": (self.inputs, units),
            "b1": (units,),
            **learned,
            "w2": (self.hidden, self.classes),
            "b2": (self.classes,),
        }

    @property
    def network(self) -> str:
        """The network in a few words, such as ``784-500-10 tanh``."""
        if self.model == "linear":
            return f"{self.inputs}-{self.classes} linear"
        details = {"leaky_relu": f" {self.leak:g}", "prelu": f" from {self.leak:g}", "maxout": f" of {self.n_pool}"}
        return f"{self.inputs}-{self.hidden}-{self.classes} {self.activation}{details.get(self.activation, '')}"

    @property
    def summary(self) -> str:
        """The network and its training in one line."""
        return (
            f"{self.network}, init {self.init}, batch {self.batch_size}, learning rate {self.learning_rate:g},"
            f" seed {self.seed}, {self.precision}"
        )

    @property
    def bounded(self) -> bool:
        """Whether the step has the five matrix products that the bounds compute: two layers of plain units."""
        return self.model == "mlp" and self.activation not in {"prelu", "maxout"}

    @property
    def step_flops(self) -> int:
        """Floating-point operations of one step's matrix products (a multiply and an add are two).

        x·w1, hidden·w2, their two weight gradients, and d_logits·w2ᵀ; the input's own gradient is not needed. A linear
        model has x·w2 and its gradient.
        """
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        return 2 * self.batch_size * (2 * sizes.get("w1", 0) + (3 if "w1" in sizes else 2) * sizes["w2"])


def initial_params(workload: Workload) -> Params:
    """Return the weights that every implementation starts from, drawn from ``workload.seed``."""
    rng = np.random.default_rng(workload.seed)

    def draw(name: str, *shape: int) -> Float32:
        scale = np.sqrt(2 / sum(shape))  # the standard deviation; the uniform distribution's ends are at sqrt(3) of it
        if workload.init == "zeros" or (workload.init == "book" and name == "w2"):
            drawn = np.zeros(shape)
        elif workload.init == "glorot_normal":
            drawn = rng.normal(0, scale, shape)
        else:
            drawn = rng.uniform(-np.sqrt(3) * scale, np.sqrt(3) * scale, shape)
        return drawn.astype(np.float32)

    constants = {"b1": 0.0, "b2": 0.0, "leak": workload.leak}
    return tuple(
        np.full(shape, constants[name], np.float32) if name in constants else draw(name, *shape)
        for name, shape in workload.shapes.items()
    )
