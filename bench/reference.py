"""The truth that parity is judged against: float64 numpy that shares no code with the implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.records import Parity
from impls.interface import Params

if TYPE_CHECKING:
    from bench.data import Split
    from impls.interface import Float32
    from impls.workload import Workload

    Float64 = npt.NDArray[np.float64]

UNIT_ROUNDOFF = {"float32": 2.0**-24}
SAFETY = 10.0
MOST_STEPS = 100


class Exact:
    """Float64 arithmetic, as it is."""

    def dot(self, a: Float64, b: Float64) -> Float64:
        """Return the matrix product."""
        return a @ b

    def value(self, a: Float64, roundings: float = 1) -> Float64:
        """Return ``a``, the result of ``roundings`` elementary roundings."""
        del roundings
        return a


class Rounded(Exact):
    """Float64 arithmetic with random errors of the size that a coarser format makes: Monte Carlo arithmetic.

    After D. Stott Parker, *Monte Carlo Arithmetic* (UCLA CSD-970002, 1997). A dot product of length n gets an error
    with the standard deviation u·(‖a‖‖b‖ + √n·|a·b|): the random walk of rounding errors over partial sums that
    themselves walk at random (first term) or grow steadily (second term; Higham and Mary, *A new approach to
    probabilistic rounding error analysis*, SIAM J. Sci. Comput. 41(5), 2019).
    """

    def __init__(self, unit_roundoff: float, seed: int) -> None:
        """Take errors of ``unit_roundoff`` from a generator seeded with ``seed``."""
        self._unit = unit_roundoff
        self._rng = np.random.default_rng(seed)

    def _noise(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return self._rng.standard_normal(shape, dtype=np.float32)

    def dot(self, a: Float64, b: Float64) -> Float64:
        """Return the matrix product with its rounding errors."""
        product = a @ b
        norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=0)[None, :]
        scale = self._unit * (norms + np.sqrt(a.shape[1]) * np.abs(product))
        return np.asarray(product + scale * self._noise(product.shape))

    def value(self, a: Float64, roundings: float = 1) -> Float64:
        """Return ``a`` with the error of ``roundings`` elementary roundings."""
        return np.asarray(a * (1 + roundings * self._unit * self._noise(a.shape)))


def train(workload: Workload, split: Split, initial: Params, steps: int, arithmetic: Exact) -> tuple[Float64, Params]:
    """Do ``steps`` updates and return the losses (steps,) and the weights w1, b1, w2, b2.

    Roundings per function: one for an addition or a product, four for tanh, exp and log, whose vector versions are
    good to four units in the last place (glibc's libmvec documents that bound).
    """
    dot, value = arithmetic.dot, arithmetic.value
    w1, b1, w2, b2 = (weights.astype(np.float64) for weights in initial)
    size = workload.batch_size
    batches = len(split.labels) // size
    ones = np.ones((1, size))
    losses = np.empty(steps)
    for step in range(steps):
        first = step % batches * size
        inputs = split.images[first : first + size] / 256.0
        target = np.eye(workload.classes)[split.labels[first : first + size]]

        activity = value(np.tanh(value(dot(inputs, w1) + b1)), 4)
        score = value(dot(activity, w2) + b2)
        peak = score.max(axis=1, keepdims=True)
        log_partition = peak + value(np.log(value(np.exp(value(score - peak)), 4).sum(axis=1, keepdims=True)), 4)
        losses[step] = dot(ones, value(log_partition - (score * target).sum(axis=1, keepdims=True)))[0, 0] / size

        score_error = value(value(np.exp(value(score - log_partition)), 4) - target, 2) / size
        activity_error = value(dot(score_error, w2.T) * (1 - activity**2), 3)
        slopes = (
            dot(inputs.T, activity_error),
            dot(ones, activity_error)[0],
            dot(activity.T, score_error),
            dot(ones, score_error)[0],
        )
        w1, b1, w2, b2 = (
            value(weights - workload.learning_rate * slope)
            for weights, slope in zip((w1, b1, w2, b2), slopes, strict=True)
        )
    return losses, Params(w1, b1, w2, b2)


class Reference:
    """The float64 run of one workload, and the tolerance that float32's own rounding sets.

    It runs one pass over the minibatches and ten more, so that a wrong order or a wrong wrap-around shows, and at most
    ``MOST_STEPS``. The tolerance is ``SAFETY`` times the error of one more run with random rounding errors of the
    workload's precision: the tolerance follows from the workload alone and was never tuned to an implementation.
    """

    def __init__(self, workload: Workload, split: Split, initial: Params) -> None:
        """Run the reference and its rounded replica."""
        self.steps = min(len(split.labels) // workload.batch_size + 10, MOST_STEPS)
        self._initial = initial
        self._losses, self._params = train(workload, split, initial, self.steps, Exact())
        rounded = Rounded(UNIT_ROUNDOFF[workload.precision], workload.seed)
        replica = self._errors(*train(workload, split, initial, self.steps, rounded))
        self.tolerances = {name: SAFETY * error for name, error in replica.items()}

    def _errors(self, losses: Float64 | Float32, params: Params) -> dict[str, float]:
        errors = {"loss": float(np.abs(losses - self._losses).max())}
        for index, name in enumerate(Params._fields):
            true = self._params[index]
            learned = float(np.linalg.norm(true - self._initial[index]))
            errors[name] = float(np.linalg.norm(params[index] - true)) / max(learned, np.finfo(np.float64).tiny)
        return errors

    def follows(self, losses: Float32) -> bool:
        """Tell whether ``losses`` begin as the reference's do: a run of any length shows by it that it trains."""
        common = min(len(losses), self.steps)
        return bool(np.abs(losses[:common] - self._losses[:common]).max() <= self.tolerances["loss"])

    def judge(self, losses: Float32, params: Params) -> Parity:
        """Compare an implementation's losses and weights after ``steps`` steps with the truth."""
        errors = self._errors(losses, params)
        verified = all(errors[name] <= self.tolerances[name] for name in errors)
        return Parity(self.steps, errors, self.tolerances, verified)


def error_rate(params: Params, split: Split) -> float:
    """Return the share of ``split`` that the network classifies wrongly, in percent; the same code for every case."""
    wrong = 0
    for first in range(0, len(split.labels), 10_000):
        rows = slice(first, first + 10_000)
        hidden = np.tanh(split.images[rows] / np.float32(256) @ params.w1 + params.b1)
        predicted = (hidden @ params.w2 + params.b2).argmax(axis=1)
        wrong += int(np.count_nonzero(predicted != split.labels[rows]))
    return 100 * wrong / len(split.labels)
