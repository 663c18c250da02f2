"""Small data sets, in memory and as MNIST's files."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np

from samenet.data import Split

if TYPE_CHECKING:
    from pathlib import Path


def make_split(rows: int, inputs: int = 784, classes: int = 10, seed: int = 0) -> Split:
    """Return random images whose ink depends on their label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows).astype(np.uint8)
    ink = rng.random((classes, inputs)) < 0.2
    noise = rng.random((rows, inputs)) < 0.05
    return Split(((ink[labels] | noise) * rng.integers(1, 256, (rows, inputs))).astype(np.uint8), labels)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """Return ``array`` (uint8) in the IDX format."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write ``array`` (uint8) as a gzip-compressed IDX file."""
    path.write_bytes(gzip.compress(idx(array)))


def write_split(folder: Path, stem: str, split: Split) -> None:
    """Write the images and labels of a set, ``train`` or ``t10k``, under MNIST's names."""
    write_idx(folder / f"{stem}-images-idx3-ubyte.gz", split.images.reshape(-1, 28, 28))
    write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", split.labels)


def write_dataset(folder: Path, train: int = 1200, test: int = 200) -> Path:
    """Write a small data set as MNIST's four files: ``train`` images to train and validate on, ``test`` to test."""
    write_split(folder, "train", make_split(train, seed=1))
    write_split(folder, "t10k", make_split(test, seed=2))
    return folder
