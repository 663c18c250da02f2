"""What is computed: a frozen description, its fingerprint and the weights that every run starts from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from impls.interface import Params

CHOICES = {
    "model": ("mlp", "linear"),
    "activation": ("tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "relu", "leaky_relu", "prelu", "maxout"),
    "init": ("glorot", "glorot_normal", "book", "zeros"),
    "precision": ("float32", "tf32", "bfloat16"),
}
LINEAR_RATE = 0.13  # the book's learning rate for its linear model


class WorkloadError(ValueError):
    """A workload that nobody can train, with what is wrong and what would be right."""


@dataclass(frozen=True)
class Workload:
    """One network, its data and its training; two cases are compared only when all of it is equal.

    The defaults are the book's (*Deep Learning with Theano*, Bourez, 2017, chapter 2, "Multiple layer model"), except
    for ``init``: ``glorot`` draws both matrices from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot and
    Bengio, 2010), ``glorot_normal`` from a normal distribution with the same variance, ``book`` is ``glorot`` with
    zeros for the second one, and ``zeros`` has them for both. ``data`` is the checksum of the data set.

    ``precision`` is that of the matrix products: with ``tf32`` and ``bfloat16`` their operands, and at most their
    results, are rounded to these formats; sums, all other operations and the weights stay float32.

    A ``linear`` model has no hidden layer, and ``hidden`` and ``activation`` mean nothing to it. ``leaky_relu`` has the
    slope ``leak`` for negative inputs, and ``prelu`` learns one for each hidden unit, starting with ``leak`` (0.25 as
    in He et al., 2015). A ``maxout`` unit is the largest of ``n_pool`` linear units that follow each other.
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
        """Refuse what cannot be trained.

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
    def bounded(self) -> bool:
        """Whether the step's matrix products are those five that the bounds know: two layers, all units as they are."""
        return self.model == "mlp" and self.activation not in {"prelu", "maxout"}

    @property
    def step_flops(self) -> int:
        """Floating-point operations of one step's matrix products (a multiply and an add are two).

        x·w1, hidden·w2, their two weight gradients, and d_logits·w2ᵀ; the input's own gradient is not needed. A linear
        model has x·w2 and its gradient.
        """
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        return 2 * self.batch_size * (2 * sizes.get("w1", 0) + (3 if "w1" in sizes else 2) * sizes["w2"])


def parse_overrides(workload: Workload, text: str) -> Workload:
    """Return ``workload`` with the fields replaced that ``text`` names, such as ``hidden=100,init=book``.

    ``model=linear`` brings the book's learning rate for it, unless there is another.

    Raises:
        WorkloadError: the text is not of that form, or names an unknown field or a value of the wrong type.
    """
    own = dict.fromkeys(("hidden", "n_pool", "batch_size", "seed"), int) | {"learning_rate": float, "leak": float}
    settable = [field.name for field in fields(Workload) if field.name not in {"data", "inputs", "classes"}]
    changes: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or name not in settable:
            raise WorkloadError(f"no workload field in {part!r}; write field=value with one of: {', '.join(settable)}")
        try:
            changes[name] = own.get(name, str)(value)
        except ValueError:
            raise WorkloadError(
                f"{name} is {value!r}; it must be {'a whole number' if own[name] is int else 'a number'}"
            ) from None
    if changes.get("model") == "linear":
        changes = {"learning_rate": LINEAR_RATE} | changes
    return replace(workload, **changes)  # type: ignore[arg-type]  # the values were converted field by field


def initial_params(workload: Workload) -> Params:
    """Return the weights that every implementation starts from, drawn from ``workload.seed``."""
    rng = np.random.default_rng(workload.seed)

    def draw(name: str, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
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
