"""The network in Theano (theano-pymc): one function with updates and givens over shared variables, as in the book."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import scipy

from impls.compiled import refuse_noexec
from impls.interface import Batches, Params, Trainer
from impls.theano_lanes import flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.interface import Float32
    from impls.lanes import Device
    from impls.workload import Workload


def provide_blas() -> str:
    """Let Theano's compiler find the OpenBLAS inside scipy's wheel; return the linker flag for it, or "" without one.

    Theano asks numpy's distutils for the flags, and numpy's wheels since 1.20 or so have none: then it uses its own
    slow loops and says so only in a log line.

    Raises:
        RuntimeError: gcc would take the path of the BLAS for two.
    """
    folder = Path(scipy.__file__).parent.parent / "scipy.libs"
    libraries = sorted(folder.glob("libopenblas*.so"))
    if not libraries:
        return ""
    if os.pathsep in str(folder):
        raise RuntimeError(
            f"theano cannot link to a BLAS below a path with a colon: {folder};"
            " give another interpreter with --python theano=PATH"
        )
    # Theano splits linker flags at spaces, so the folder cannot be one of them: gcc gets it by LIBRARY_PATH, and what
    # Theano compiles finds the library by its name, because it is loaded already.
    os.environ["LIBRARY_PATH"] = os.pathsep.join(filter(None, (str(folder), os.environ.get("LIBRARY_PATH"))))
    ctypes.CDLL(str(libraries[0]))
    return f"-l:{libraries[0].name}"


refuse_noexec()
# Theano reads its settings once, at import; those that the process was started with come last and win.
os.environ["THEANO_FLAGS"] = ",".join(
    filter(None, ("floatX=float32", flag("blas__ldflags", provide_blas()), os.environ.get("THEANO_FLAGS")))
)

import theano  # noqa: E402  # after its settings
import theano.tensor as T  # noqa: E402, N812  # the name that all of Theano's documentation uses
from theano.gradient import disconnected_grad  # noqa: E402

__all__ = ["T", "TheanoTrainer", "compiled", "theano"]  # the tuned lane imports Theano from here, after its settings


def keep_compiled(kind: Any) -> None:  # noqa: ANN401  # Theano has no types
    """Let each process find what an earlier one has compiled for the operations of a kind.

    Those without properties count as operations without a version (theano/link/c/basic.py, cmodule_key_), and would be
    compiled anew. Nothing else reads ``__props__`` once the class is made.
    """
    if getattr(kind, "__props__", None) == ():
        kind.__props__ = ("__class__",)
    for each in kind.__subclasses__():
        keep_compiled(each)


keep_compiled(theano.graph.op.Op)


def compiled(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # Theano has no types
    """Return ``theano.function(*arguments, **options)``, if it is compiled and calls a BLAS.

    Raises:
        RuntimeError: there is no C++ compiler, or the matrix products would not go to BLAS.
    """
    if not theano.config.cxx:
        raise RuntimeError("theano found no C++ compiler and would run in Python; install g++")
    function = theano.function(*arguments, **options)
    nodes = {type(node.op).__name__ for node in function.maker.fgraph.apply_nodes}
    if not theano.config.blas__ldflags or not nodes & {"Gemm", "Dot22", "Dot22Scalar"}:
        raise RuntimeError(f"theano calls no BLAS (its graph has {sorted(nodes)}); install scipy's wheel")
    return function


def leaky(z: Any, leak: Any) -> Any:  # noqa: ANN401  # Theano has no types
    """Return z, or ``leak`` z where it is negative, in the book's form: the slope at 0 is the mean of both."""
    one = np.float32(1)  # an int would make it float64
    return ((one + leak) * z + (one - leak) * abs(z)) / 2


def maxout(z: Any, workload: Workload) -> Any:  # noqa: ANN401
    """Return the largest unit of each group; equal maxima share the gradient, where max would give each all of it."""
    units = z.reshape((workload.batch_size, workload.hidden, workload.n_pool))
    largest = T.eq(units, units.max(axis=2, keepdims=True)).astype("float32")
    return (units * disconnected_grad(largest / largest.sum(axis=2, keepdims=True))).sum(axis=2)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": lambda z, workload: T.tanh(z),
    "sigmoid": lambda z, workload: T.nnet.sigmoid(z),
    "hard_sigmoid": lambda z, workload: T.clip(z + np.float32(0.5), np.float32(0), np.float32(1)),
    "hard_tanh": lambda z, workload: T.clip(z, np.float32(-1), np.float32(1)),
    "relu": lambda z, workload: leaky(z, np.float32(0)),
    "leaky_relu": lambda z, workload: leaky(z, np.float32(workload.leak)),
    "prelu": lambda z, workload, leak: leaky(z, leak),
    "maxout": maxout,
}


def hidden_layer(workload: Workload, x: Any, *first: Any) -> Any:  # noqa: ANN401
    """Return the graph of the hidden layer's output; a linear model has no such layer."""
    if workload.model == "linear":
        return x
    w1, b1, *leak = first
    return ACTIVATIONS[workload.activation](T.dot(x, w1) + b1, workload, *leak)


@final
class TheanoTrainer(Trainer):
    """What the book's readers write."""

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Build the graph over shared variables and compile it; ``device`` can only be the CPU."""
        del device
        self._batches = len(data)
        images = theano.shared(data.images, borrow=True)
        labels = theano.shared(data.labels, borrow=True)
        self._params = [theano.shared(np.zeros(shape, np.float32)) for shape in workload.shapes.values()]
        *first, w2, b2 = self._params

        k, x, y = T.lscalar("k"), T.matrix("x"), T.ivector("y")
        hidden = hidden_layer(workload, x, *first)
        probabilities = T.nnet.softmax(T.dot(hidden, w2) + b2)
        cost = -T.mean(T.log(probabilities)[T.arange(y.shape[0]), y])
        rate = np.float32(workload.learning_rate)  # a Python float would make the update float64
        rows = slice(k * data.batch_size, (k + 1) * data.batch_size)
        self._step = compiled(
            [k],
            cost,
            updates=[(p, p - rate * g) for p, g in zip(self._params, T.grad(cost, self._params), strict=True)],
            givens={x: images[rows], y: labels[rows]},
        )

    def load(self, params: Params) -> None:
        """Overwrite the weights with a copy of ``params``."""
        for own, given in zip(self._params, params, strict=True):
            own.set_value(given)

    def run(self, steps: int, first: int = 0) -> Float32:
        """Do ``steps`` updates; Theano's C code has finished each call when it returns."""
        return np.array([self._step(step % self._batches) for step in range(first, first + steps)], np.float32)

    def params(self) -> Params:
        """Return a host copy of the weights."""
        return tuple(value.get_value() for value in self._params)
