"""What is computed: a frozen description, its fingerprint and the weights that every run starts from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from impls.interface import Params

CHOICES = {"activation": ("tanh",), "init": ("glorot", "book"), "precision": ("float32",)}


class WorkloadError(ValueError):
    """A workload that nobody can train, with what is wrong and what would be right."""


@dataclass(frozen=True)
class Workload:
    """One network, its data and its training; two cases are compared only when all of it is equal.

    The defaults are the book's (*Deep Learning with Theano*, Bourez, 2017, chapter 2, "Multiple layer model"), except
    for ``init``: ``glorot`` draws both matrices from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot and
    Bengio, 2010), ``book`` leaves the second one zero. ``data`` is the checksum of the data set.
    """

    inputs: int = 784
    hidden: int = 500
    classes: int = 10
    activation: str = "tanh"
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
        for name in ("inputs", "hidden", "classes", "batch_size"):
            if getattr(self, name) < 1:
                raise WorkloadError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 < self.learning_rate < float("inf"):
            raise WorkloadError(f"learning_rate is {self.learning_rate}; it must be a positive, finite number")
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
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of w1, b1, w2 and b2."""
        return (self.inputs, self.hidden), (self.hidden,), (self.hidden, self.classes), (self.classes,)

    @property
    def step_flops(self) -> int:
        """Floating-point operations of one step's five matrix products (a multiply and an add are two).

        x·w1, hidden·w2, their two weight gradients, and d_logits·w2ᵀ; the input's own gradient is not needed.
        """
        return 2 * self.batch_size * self.hidden * (2 * self.inputs + 3 * self.classes)


def parse_overrides(workload: Workload, text: str) -> Workload:
    """Return ``workload`` with the fields replaced that ``text`` names, such as ``hidden=100,init=book``.

    Raises:
        WorkloadError: the text is not of that form, or names an unknown field or a value of the wrong type.
    """
    own = {"inputs": int, "hidden": int, "classes": int, "batch_size": int, "seed": int, "learning_rate": float}
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
    return replace(workload, **changes)  # type: ignore[arg-type]  # the values were converted field by field


def initial_params(workload: Workload) -> Params:
    """Return the weights that every implementation starts from, drawn from ``workload.seed``."""
    rng = np.random.default_rng(workload.seed)

    def glorot(fan_in: int, fan_out: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        limit = np.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32)

    w1 = glorot(workload.inputs, workload.hidden)
    w2 = glorot(workload.hidden, workload.classes)
    return Params(
        w1=w1,
        b1=np.zeros(workload.hidden, np.float32),
        w2=np.zeros_like(w2) if workload.init == "book" else w2,
        b2=np.zeros(workload.classes, np.float32),
    )
