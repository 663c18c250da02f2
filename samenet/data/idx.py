"""Data sets, and MNIST's file format for them, IDX: http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samenet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UInt8 = NDArray[np.uint8]

SIDE = 28  # pixels
MOST_IMAGES = 250_000  # 196 MB of pixels; EMNIST's digits, the largest likely set, are 240,000 images
REMEDY = "copy or download it again"


@dataclass(frozen=True)
class Split:
    """Images and their classes, in the order of use; both read-only and C-contiguous.

    ``images`` (n, 784) uint8, row by row, 0 is background and 255 full ink; ``labels`` (n,) uint8, 0 to 9.
    """

    images: UInt8
    labels: UInt8


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images to train, validate and test on, and their origin.

    ``name``: ``MNIST`` (when its contents are), ``embedded digits`` or ``IDX files``. ``source``: the folder, or how
    the digits were made and why there is no MNIST.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split

    @cached_property
    def sha256(self) -> str:
        """What ``zcat train-images* train-labels* t10k-images* t10k-labels* | sha256sum`` prints for these images."""
        digest = hashlib.sha256()
        for splits in ((self.train, self.validation), (self.test,)):
            rows = sum(len(split.labels) for split in splits)
            digest.update(struct.pack(">4I", 0x803, rows, SIDE, SIDE))
            for split in splits:
                digest.update(split.images.data)
            digest.update(struct.pack(">2I", 0x801, rows))
            for split in splits:
                digest.update(split.labels.data)
        return digest.hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what goes wrong while ``path`` is read as DataError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, struct.error, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); {REMEDY}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def read_idx(path: Path, *sides: int) -> UInt8:
    """Return the items of a gzip-compressed IDX file of unsigned bytes: (n, *sides), read-only.

    Raises:
        DataError: the file cannot be read, or holds anything but at most MOST_IMAGES such items.
    """
    with reading(path), gzip.open(path) as file:
        magic, rows, *own_sides = struct.unpack(f">{2 + len(sides)}I", file.read(8 + 4 * len(sides)))
        if magic != 0x801 + len(sides):
            raise DataError(f"{path} starts with {magic:#010x} instead of {0x801 + len(sides):#010x}; {REMEDY}")
        if tuple(own_sides) != sides:
            raise DataError(f"{path} has images of {own_sides} pixels; resize them to {list(sides)}")
        if rows > MOST_IMAGES:
            raise DataError(f"{path} has {rows} items by its header; reduce them to {MOST_IMAGES} or fewer")
        # One byte more than the header says: that shows a longer file, and the rest of it is not unpacked.
        items = np.frombuffer(file.read(rows * math.prod(sides) + 1), np.uint8)  # read-only, because bytes are
    if items.size != rows * math.prod(sides):
        more = "more" if items.size > rows * math.prod(sides) else "fewer"
        raise DataError(f"{path} holds {more} bytes than the {rows} items of its header; {REMEDY}")
    return items.reshape(rows, *sides)
