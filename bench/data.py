"""The images: MNIST from a folder, the cache or a mirror, and scikit-learn's digits where there is none."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import textwrap
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    UInt8 = npt.NDArray[np.uint8]
    Indices = npt.NDArray[np.int64]

# MNIST's files with their sha256: the bytes that LeCun, Cortes and Burges first published, which both mirrors keep.
SUMS = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# Dataset.sha256 of these files.
MNIST_SHA256 = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
REPLACE = f"replace it; MNIST's is at {MIRRORS[0]}"
ANSWER_SECONDS = 10.0  # for a mirror to answer at all, and for each read from it
SIDE = 28
CLASSES = 10
# 196 MB of pixels: more would take the memory that the harness has. EMNIST's digits, the largest likely, are 240,000.
MOST_IMAGES = 250_000
ORIGINALS = 1_797  # images in scikit-learn's load_digits
DIGITS = (50_000, 10_000, 10_000)  # images made of them to train, validate and test: as many as MNIST has


class DataError(Exception):
    """The data cannot be used; the message names the file, the fact and the remedy."""


@dataclass(frozen=True)
class Split:
    """Images and their classes, in the order of use; both read-only and C-contiguous.

    ``images`` (n, 784) uint8, row by row, 0 is background and 255 full ink; ``labels`` (n,) uint8, 0 to 9.
    """

    images: UInt8
    labels: UInt8


@dataclass(frozen=True)
class Dataset:
    """What to train, validate and test on, and where it is from.

    ``name``: ``MNIST`` (when its contents are), ``embedded digits`` or ``IDX files``. ``source``: the folder, or how
    the digits were made and why there is no MNIST. ``sha256``: of the contents as IDX files, in the order of ``SUMS``
    (train and validation are one file); for MNIST ``zcat train-images* train-labels* t10k-images* t10k-labels*``
    piped to ``sha256sum`` prints the same.
    """

    name: str
    source: str
    sha256: str
    train: Split
    validation: Split
    test: Split


def load(folder: Path | None, *, cache: Path | None = None, download: bool = True) -> Dataset:
    """Return the data of ``folder`` or, where none is given, MNIST of ``cache``, of a mirror, or the embedded digits.

    The first five sixths of the training file train and the last sixth validates: 50,000 and 10,000 images of MNIST,
    the split of *Deep Learning with Theano* (Bourez, 2017). ``cache`` is ``cache_folder()`` where it is not given; a
    download fills it, and is given up after 20 s where no mirror answers.

    Raises:
        DataError: the folder is not as it should be, or a cached file is not MNIST's.
    """
    if folder is not None:
        return _read_folder(folder)
    cache = cache or cache_folder()
    if not (missing := _missing_from(cache)):
        return _read_folder(cache)
    reason = _download(cache, missing) if download else f"not in {cache}, and downloading is off"
    if not reason:
        return _read_folder(cache)
    digits = embedded_digits()
    return replace(digits, source=f"{digits.source} (no MNIST: {reason})")


def cache_folder() -> Path:
    """Return ``$SAMENET_CACHE`` or the user's cache folder for samenet.

    The latter is where ``pooch.os_cache("samenet")`` has it on Linux, found without importing pooch.

    Raises:
        DataError: there is neither.
    """
    if own := os.environ.get("SAMENET_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samenet"
    except RuntimeError:
        raise DataError("no home folder to keep MNIST in; set SAMENET_CACHE to a folder, or use --data") from None


def original_indices(seed: int = 0) -> tuple[Indices, Indices, Indices]:
    """Return which of scikit-learn's digits train, validate and test: five, one and one seventh, no digit in two."""
    order = np.random.default_rng(seed).permutation(ORIGINALS)
    train, validation, test = np.split(order, [ORIGINALS * 5 // 7, ORIGINALS * 6 // 7])
    return train, validation, test


def embedded_digits(seed: int = 0) -> Dataset:
    """Return 50,000, 10,000 and 10,000 small distortions of scikit-learn's 8x8 digits, enlarged to 28x28.

    They are as many and as large as MNIST's, so that times agree; error rates do not compare with MNIST's. The same
    seed gives the same data, given the same scikit-learn, scipy and numpy. The originals: ``sklearn.datasets.
    load_digits``, the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second that MNIST need not wait for
    except ImportError as error:
        raise DataError(
            f"no MNIST, and no {error.name} for the embedded digits; install scikit-learn or use --data"
        ) from None
    digits = load_digits()
    inks = digits.images * (255 / 16)
    # The order of the originals has used the seed's own stream.
    rng = np.random.default_rng((seed, 1))
    parts = zip(original_indices(seed), DIGITS, strict=True)
    train, validation, test = (_distort(inks[own], digits.target[own], rows, rng) for own, rows in parts)
    source = f"scikit-learn, distorted with seed {seed}"
    return Dataset("embedded digits", source, _sha256(train, validation, test), train, validation, test)


def _distort(inks: npt.NDArray[np.float64], labels: Indices, rows: int, rng: np.random.Generator) -> Split:
    """Return ``rows`` images in random order, each original (8x8, 0 to 255) used as often as any other."""
    from scipy.ndimage import affine_transform  # noqa: PLC0415  # comes with scikit-learn, and as slowly

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


def _sha256(train: Split, validation: Split, test: Split) -> str:
    digest = hashlib.sha256()
    for splits in ((train, validation), (test,)):
        rows = sum(len(split.labels) for split in splits)
        digest.update(struct.pack(">4I", 0x803, rows, SIDE, SIDE))
        for split in splits:
            digest.update(split.images.data)
        digest.update(struct.pack(">2I", 0x801, rows))
        for split in splits:
            digest.update(split.labels.data)
    return digest.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what reading ``path`` can raise into DataError."""
    try:
        yield
    except EOFError:
        raise DataError(f"{path} is truncated; {REPLACE}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or not gzip; {REPLACE}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _read_folder(folder: Path) -> Dataset:
    with _reading(folder):
        if not folder.is_dir():
            fact = "is not a folder" if folder.exists() else "does not exist"
            raise DataError(f"{folder} {fact}; name the folder with MNIST's four .gz files")
        # A pipe would be waited for, so files only.
        if lacking := [name for name in SUMS if not (folder / name).is_file()]:
            raise DataError(f"{folder} lacks {', '.join(lacking)}; put MNIST's there, from {MIRRORS[0]}")
    images, labels = _read_pair(folder, "train", least=2)
    test = Split(*_read_pair(folder, "t10k", least=1))
    rows = len(labels) * 5 // 6
    train, validation = Split(images[:rows], labels[:rows]), Split(images[rows:], labels[rows:])
    sha256 = _sha256(train, validation, test)
    name = "MNIST" if sha256 == MNIST_SHA256 else "IDX files"
    return Dataset(name, str(folder), sha256, train, validation, test)


def _read_pair(folder: Path, stem: str, least: int) -> tuple[UInt8, UInt8]:
    """Return the images, (n, 784), and labels, (n,), of one of the two sets."""
    images_path, labels_path = (folder / name for name in SUMS if name.startswith(stem))
    images, labels = _read_idx(images_path, (SIDE, SIDE)), _read_idx(labels_path, ())
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels; take both from one set"
        )
    if len(images) < least:
        raise DataError(f"{images_path} holds {len(images)} images; give it {least} or more")
    if labels.max() >= CLASSES:
        raise DataError(f"{labels_path} holds the label {labels.max()}; labels must be 0 to {CLASSES - 1}")
    return images.reshape(len(images), SIDE * SIDE), labels


def _read_idx(path: Path, sides: tuple[int, ...]) -> UInt8:
    """Return the items of an IDX file of unsigned bytes, (n, *sides); format: http://yann.lecun.com/exdb/mnist/."""
    magic = 0x801 + len(sides)
    with _reading(path), gzip.open(path) as file:
        header = file.read(8 + 4 * len(sides))
        if len(header) < 8 + 4 * len(sides):
            raise DataError(f"{path} ends within its header; {REPLACE}")
        found, rows, *found_sides = struct.unpack(f">{len(header) // 4}I", header)
        if found != magic:
            raise DataError(f"{path} starts with {found:#010x}, not {magic:#010x}; {REPLACE}")
        if tuple(found_sides) != sides:
            raise DataError(f"{path} has images of {found_sides[0]}x{found_sides[1]} pixels; make them {SIDE}x{SIDE}")
        if rows > MOST_IMAGES:
            raise DataError(f"{path} promises {rows} items; cut it to {MOST_IMAGES} or fewer")
        # The header's promise and one byte more: what else a file unpacks to never takes memory. An array over bytes
        # is read-only, and so are its parts.
        items = np.frombuffer(file.read(rows * math.prod(sides)), np.uint8)
        over = file.read(1)
    if over or items.size != rows * math.prod(sides):
        more = "more" if over else "fewer"
        raise DataError(
            f"{path} holds {more} bytes than the {rows} items of its header take; replace it or correct the header"
        )
    return items.reshape(rows, *sides)


def _missing_from(cache: Path) -> list[str]:
    """Return the names of MNIST's files that ``cache`` lacks; those that it has must be MNIST's."""
    missing = []
    for name, expected in SUMS.items():
        path = cache / name
        with _reading(path):
            if not path.exists():
                missing.append(name)
                continue
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise DataError(f"{path} has not the checksum of MNIST's; delete it, and it will be downloaded anew")
    return missing


def _download(cache: Path, missing: Sequence[str]) -> str:
    """Put the files ``missing`` into ``cache``; return "" or, where no mirror gave them, why."""
    try:
        import pooch  # noqa: PLC0415  # needed once in a machine's life
    except ImportError as error:
        return f"{error.name} is not installed, which downloads it"
    pooch.get_logger().setLevel("WARNING")  # it would print what it fetches
    get = pooch.HTTPDownloader(timeout=ANSWER_SECONDS)
    reasons = []
    for mirror in MIRRORS:
        reason = _silence(mirror + missing[-1])
        try:
            # pooch leaves a file alone that is there with this checksum, and puts none there that has another.
            for name in () if reason else missing:
                pooch.retrieve(mirror + name, f"sha256:{SUMS[name]}", fname=name, path=cache, downloader=get)
        except (OSError, ValueError) as error:
            reason = _root(error)
        if not reason:
            return ""
        reasons.append(f"{urlsplit(mirror).hostname}: {reason}")
    return "; ".join(reasons)


def _silence(url: str) -> str:
    """Return "" where ``url``'s server answers within ANSWER_SECONDS, or why it does not."""
    import pooch  # noqa: PLC0415  # likewise

    outcome = [f"no answer in {ANSWER_SECONDS:g} s"]

    def ask() -> None:
        try:
            pooch.HTTPDownloader(timeout=ANSWER_SECONDS)(url, None, None, check_only=True)
            outcome[0] = ""
        except (OSError, ValueError) as error:
            outcome[0] = _root(error)

    # A name server that is not there, or many addresses that are not, hold a request far beyond its own timeout. A
    # thread can be left to that.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return outcome[0]


def _root(error: BaseException) -> str:
    """Return what set off ``error``, shortened: requests wraps it three times, and grows wordier each time."""
    while error.__context__ is not None:
        error = error.__context__
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")
