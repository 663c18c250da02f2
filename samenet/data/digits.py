"""Images for machines without MNIST: scikit-learn's handwritten digits, enlarged and distorted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from samenet.data.idx import SIDE, Dataset, Split
from samenet.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORIGINALS = 1_797  # images in scikit-learn's load_digits
SIZES = (50_000, 10_000, 10_000)  # images to train, validate and test: as many as MNIST has


def original_indices(seed: int = 0) -> list[NDArray[np.int64]]:
    """Return which of scikit-learn's digits train, validate and test: five, one and one seventh, no digit in two."""
    return np.split(np.random.default_rng(seed).permutation(ORIGINALS), [ORIGINALS * 5 // 7, ORIGINALS * 6 // 7])


def embedded_digits(seed: int = 0) -> Dataset:
    """Return 50,000, 10,000 and 10,000 small distortions of scikit-learn's 8x8 digits, enlarged to 28x28.

    They are as many and as large as MNIST's, so that times agree; error rates do not compare with MNIST's. The same
    seed gives the same data, given the same scikit-learn, scipy and numpy. The originals: ``sklearn.datasets.
    load_digits``, the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second, and MNIST does not need it
    except ImportError as error:
        raise DataError(
            f"no MNIST, and no {error.name} for the embedded digits; install scikit-learn or use --data"
        ) from None
    digits = load_digits()
    inks = digits.images * (255 / 16)
    rng = np.random.default_rng((seed, 1))  # original_indices uses the stream of the seed itself
    parts = zip(original_indices(seed), SIZES, strict=True)
    train, validation, test = (_distort(inks[own], digits.target[own], rows, rng) for own, rows in parts)
    source = f"scikit-learn, distorted with seed {seed}"
    return Dataset(name="embedded digits", source=source, train=train, validation=validation, test=test)


def _distort(inks: NDArray[np.float64], labels: NDArray[np.int64], rows: int, rng: np.random.Generator) -> Split:
    """Return ``rows`` images in random order, using each original (8x8, 0 to 255) equally often up to one use."""
    from scipy.ndimage import affine_transform  # noqa: PLC0415  # comes with scikit-learn, and is as slow to import

    picks = rng.permutation(np.arange(rows) % len(labels))
    angle = rng.uniform(-0.2, 0.2, rows)  # radians: 11 degrees
    shear = rng.uniform(-0.15, 0.15, rows)
    # Over 18.5 of the 28 pixels they have as much ink as MNIST's. Each matrix leads from a pixel back to the original.
    scale = 8 / 18.5 / rng.uniform(0.9, 1.1, (2, rows))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, shear * cos - sin], [sin, shear * sin + cos]])
    matrices = np.moveaxis(scale[:, None] * turn, 2, 0)
    centres = (SIDE - 1) / 2 + rng.uniform(-1.5, 1.5, (rows, 2))  # pixels
    offsets = 3.5 - np.einsum("nij,nj->ni", matrices, centres)
    images = np.empty((rows, SIDE, SIDE), np.uint8)
    for image, pick, matrix, offset in zip(images, picks, matrices, offsets, strict=True):
        affine_transform(inks[pick], matrix, offset, output=image, order=1, mode="grid-constant")
    split = Split(images.reshape(rows, SIDE * SIDE), labels[picks].astype(np.uint8))
    split.images.flags.writeable = split.labels.flags.writeable = False
    return split
