"""The truth that parity is judged against: float64 numpy that shares no code with the implementations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from samenet.records import Parity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impls.workload import Float32, Params, Workload
    from samenet.data import Dataset, Split

    Float64 = npt.NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-24  # of float32
PRODUCT_ROUNDOFF = {
    "float32": 0.0,
    "tf32": 2.0**-11,
    "bfloat16": 2.0**-8,
}  # of what goes into a matrix product, and out
SAFETY = 10.0
LARGEST_ERROR = 1e30  # where the reference learns nothing, any difference would be infinitely large
MOST_STEPS = 100


class Exact:
    """Float64 arithmetic, as it is."""

    dtype: type[np.floating[Any]] = np.float64

    def dot(self, a: Float64, b: Float64) -> Float64:
        """Return the matrix product."""
        return a @ b

    def value(self, a: Float64, roundings: float = 1) -> Float64:
        """Return ``a``, the result of ``roundings`` elementary roundings."""
        del roundings
        return a


class Single(Exact):
    """Float32 arithmetic, as it is."""

    dtype = np.float32


class Rounded(Exact):
    """Float64 arithmetic with random errors of the size that a coarser format makes: Monte Carlo arithmetic.

    After D. Stott Parker, *Monte Carlo Arithmetic* (UCLA CSD-970002, 1997). A dot product of length n gets an error
    with the standard deviation u·(‖a‖‖b‖ + √n·|a·b|): the random walk of rounding errors over partial sums that
    themselves walk at random (first term) or grow steadily (second term; Higham and Mary, *A new approach to
    probabilistic rounding error analysis*, SIAM J. Sci. Comput. 41(5), 2019). Where its operands and its result are
    rounded to a coarser format of unit roundoff v, it gets one more with v·(√Σa²b² + |a·b|).
    """

    def __init__(self, unit_roundoff: float, seed: int, product_roundoff: float = 0.0) -> None:
        """Take errors of ``unit_roundoff``, and of ``product_roundoff`` (v), from a generator seeded with ``seed``."""
        self._unit, self._product_unit = unit_roundoff, product_roundoff
        self._rng = np.random.default_rng(seed)

    def _noise(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return self._rng.standard_normal(shape, dtype=np.float32)

    def dot(self, a: Float64, b: Float64) -> Float64:
        """Return the matrix product with its rounding errors."""
        product = a @ b
        norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=0)[None, :]
        scale = self._unit * (norms + np.sqrt(a.shape[1]) * np.abs(product))
        if self._product_unit:
            scale += self._product_unit * (np.sqrt(a**2 @ b**2) + np.abs(product))
        return np.asarray(product + scale * self._noise(product.shape))

    def value(self, a: Float64, roundings: float = 1) -> Float64:
        """Return ``a`` with the error of ``roundings`` elementary roundings."""
        return np.asarray(a * (1 + roundings * self._unit * self._noise(a.shape)))


def leaky(z: Float64, leak: float | Float64) -> tuple[Float64, Float64]:
    """Return z or ``leak`` z, whichever side it is on, and the slope: at 0 the mean of its sides."""
    return np.where(z > 0, z, leak * z), np.where(z > 0, 1.0, np.where(z < 0, leak, (1 + leak) / 2))


def clip(z: Float64, low: float, high: float) -> tuple[Float64, Float64]:
    """Return z between its limits, and the slope, which is 1 up to them."""
    return np.clip(z, low, high), np.where((z < low) | (z > high), 0.0, 1.0)


def activate(
    workload: Workload, z: Float64, learned: Sequence[Float64], arithmetic: Exact
) -> tuple[Float64, Float64, list[Float64]]:
    """Return the activity (batch, hidden), its slope for each linear unit and that for each learned parameter.

    Roundings are those of the longest way to compute it, four for tanh and exp (see ``train``); where no slope is
    smooth, a unit whose side float32 cannot tell is on a random one, by the error that ``z`` has.
    """
    value = arithmetic.value
    match workload.activation:
        case "tanh":
            activity = value(np.tanh(z), 4)
            slope = 1 - activity**2
        case "sigmoid":
            activity = value(1 / value(1 + value(np.exp(-z), 4)))
            slope = value(activity * value(1 - activity))
        case "hard_sigmoid":
            activity, slope = clip(value(z + 0.5), 0, 1)
        case "hard_tanh":
            activity, slope = clip(z, -1, 1)
        case "relu":
            activity, slope = leaky(z, 0.0)
        case "leaky_relu":
            activity, slope = map(value, leaky(z, workload.leak), (3, 2))
        case "prelu":
            activity, slope = map(value, leaky(z, learned[0]), (3, 2))
        case "maxout":
            units = z.reshape(len(z), workload.hidden, workload.n_pool)
            activity = units.max(axis=2)
            largest = (units == activity[:, :, None]).astype(np.float64)
            slope = (largest / largest.sum(axis=2, keepdims=True)).reshape(z.shape)
    return activity, slope, [np.minimum(z, 0) for _ in learned]


def train(
    workload: Workload, split: Split, initial: Params, steps: int, arithmetic: Exact, *, begin: int = 0
) -> tuple[Float64, Params]:
    """Do ``steps`` updates from minibatch ``begin`` on, and return the losses (steps,) and the weights.

    Roundings per function: one for an addition or a product, four for tanh, exp and log, whose vector versions are
    good to four units in the last place (glibc's libmvec documents that bound).
    """
    dot, value = arithmetic.dot, arithmetic.value
    kind = arithmetic.dtype
    params = [weights.astype(kind) for weights in initial]
    size = workload.batch_size
    batches = len(split.labels) // size
    ones = np.ones((1, size), kind)
    losses = np.empty(steps)
    for step in range(steps):
        *first, w2, b2 = params
        row = (begin + step) % batches * size
        inputs = split.images[row : row + size] / kind(256)
        target = np.eye(workload.classes, dtype=kind)[split.labels[row : row + size]]

        activity = inputs
        if first:
            w1, b1, *learned = first
            activity, slope, learned_slopes = activate(workload, value(dot(inputs, w1) + b1), learned, arithmetic)
        score = value(dot(activity, w2) + b2)
        peak = score.max(axis=1, keepdims=True)
        log_partition = peak + value(np.log(value(np.exp(value(score - peak)), 4).sum(axis=1, keepdims=True)), 4)
        losses[step] = dot(ones, value(log_partition - (score * target).sum(axis=1, keepdims=True)))[0, 0] / size

        score_error = value(value(np.exp(value(score - log_partition)), 4) - target, 2) / size
        slopes = [dot(activity.T, score_error), dot(ones, score_error)[0]]
        if first:
            activity_error = dot(score_error, w2.T)
            unit_error = value(np.repeat(activity_error, slope.shape[1] // workload.hidden, axis=1) * slope, 3)
            learned_errors = [dot(ones, value(activity_error * each))[0] for each in learned_slopes]
            slopes = [dot(inputs.T, unit_error), dot(ones, unit_error)[0], *learned_errors, *slopes]
        params = [
            value(weights - workload.learning_rate * slope) for weights, slope in zip(params, slopes, strict=True)
        ]
    return losses, tuple(params)


class Reference:
    """The float64 run of one workload, and the tolerance that its precision's own rounding sets.

    It runs one pass over the minibatches and ten more, so that a wrong order or a wrong wrap-around shows, but at most
    ``most_steps``. The tolerance is ``SAFETY`` times the error of one more run with random rounding errors of the
    workload's precision: the tolerance follows from the workload alone and was never tuned to an implementation.
    """

    def __init__(self, workload: Workload, split: Split, initial: Params, most_steps: int = MOST_STEPS) -> None:
        """Run the reference and its rounded replica."""
        self.steps = min(len(split.labels) // workload.batch_size + 10, most_steps)
        self._workload, self._split = workload, split
        self._initial, self._names = initial, tuple(workload.shapes)
        self._losses, self._params = train(workload, split, initial, self.steps, Exact())
        rounded = Rounded(UNIT_ROUNDOFF, workload.seed, PRODUCT_ROUNDOFF[workload.precision])
        replica = self._errors(*train(workload, split, initial, self.steps, rounded))
        self.tolerances = {name: SAFETY * error for name, error in replica.items()}
        self._later = np.empty(0)  # the losses after these steps, once they are needed

    def _errors(self, losses: Float64 | Float32, params: Params) -> dict[str, float]:
        errors = {"loss": float(np.abs(losses - self._losses).max())}
        for index, name in enumerate(self._names):
            true = self._params[index]
            learned = float(np.linalg.norm(true - self._initial[index]))
            error = float(np.linalg.norm(params[index] - true)) / max(learned, np.finfo(np.float64).tiny)
            errors[name] = min(error, LARGEST_ERROR)
        return errors

    def follows(self, losses: Float32) -> bool:
        """Tell whether ``losses`` begin as the reference's do: a run of any length shows by it that it trains."""
        common = min(len(losses), self.steps)
        return bool(np.abs(losses[:common] - self._losses[:common]).max() <= self.tolerances["loss"])

    def follows_round(self, losses: Float32) -> bool:
        """Tell whether the losses of a whole round are those of a training in float32, by the harness's own code.

        The tolerance grows as a random walk of rounding errors does.
        """
        if not self.follows(losses):
            return False
        more = len(losses) - self.steps
        if more > 0 and len(self._later) != more:
            self._later, _ = train(self._workload, self._split, self._params, more, Single(), begin=self.steps)
        tolerance = self.tolerances["loss"] * math.sqrt(len(losses) / self.steps)
        return more <= 0 or bool(np.abs(losses[self.steps :] - self._later).max() <= tolerance)

    def judge(self, losses: Float32, params: Params) -> Parity:
        """Compare an implementation's losses and weights after ``steps`` steps with the truth."""
        errors = self._errors(losses, params)
        verified = all(errors[name] <= self.tolerances[name] for name in errors)
        return Parity(steps=self.steps, errors=errors, tolerances=self.tolerances, verified=verified)


def error_rate(workload: Workload, params: Params, split: Split) -> float:
    """Return the share of ``split`` that the network classifies wrongly, in percent; the same code for every case."""
    *first, w2, b2 = cast("list[Any]", params)  # float32, as it was trained
    wrong = 0
    for row in range(0, len(split.labels), 10_000):
        activity = split.images[row : row + 10_000] / np.float32(256)
        if first:
            w1, b1, *learned = first
            activity, _, _ = activate(workload, activity @ w1 + b1, learned, Exact())
        predicted = (activity @ w2 + b2).argmax(axis=1)
        wrong += int(np.count_nonzero(predicted != split.labels[row : row + 10_000]))
    return 100 * wrong / len(split.labels)


def error_rates(workload: Workload, params: Params, dataset: Dataset) -> dict[str, float]:
    """Return the error rates (percent) on the three splits."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: error_rate(workload, params, split) for name, split in splits.items()}
