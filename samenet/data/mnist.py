"""MNIST from a folder, the cache or a mirror; pooch downloads it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pwd
import textwrap
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from urllib.parse import urlsplit

from samenet.data.digits import embedded_digits
from samenet.data.idx import SIDE, Dataset, Split, read_idx, reading
from samenet.errors import DataError

# The SHA-256 of MNIST's files: the bytes that LeCun, Cortes and Burges first published, which both mirrors keep.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
CONTENT_SHA256 = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"  # Dataset.sha256 of these files
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
ANSWER_SECONDS = 10.0  # for a mirror to answer at all, and for each read from it


def load(folder: Path | None = None) -> Dataset:
    """Return the data of ``folder``, else of ``$SAMENET_DATA``, else MNIST of the cache or a mirror, or the digits.

    The first five sixths of the training file train and the last sixth validates: 50,000 and 10,000 images of MNIST,
    the split of *Deep Learning with Theano* (Bourez, 2017). A download stops after 20 s if no mirror answers.

    Raises:
        DataError: the folder cannot be used, or the cache has a wrong file that cannot be downloaded again.
    """
    if given := folder or os.environ.get("SAMENET_DATA"):
        return _read_folder(Path(given))
    cache = cache_folder()
    cached = _checksums(cache)
    reason = "" if cached == CHECKSUMS else _download(cache)
    if not reason:
        return _read_folder(cache)
    if wrong := [str(cache / name) for name in cached if cached[name] != CHECKSUMS[name]]:
        raise DataError(
            f"checksum mismatch of {', '.join(wrong)}, and no download ({reason}); delete it to use the embedded digits"
        )
    digits = embedded_digits()
    return replace(digits, source=f"{digits.source} (no MNIST: {reason})")


def cache_folder() -> Path:
    """Return ``$SAMENET_CACHE`` or the user's cache folder for samenet, which on Linux is also pooch's choice.

    Raises:
        DataError: there is neither.
    """
    if own := os.environ.get("SAMENET_CACHE"):
        return Path(own)
    try:
        home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise DataError("no home folder to keep MNIST in; set SAMENET_CACHE to a folder, or use --data") from None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"), "samenet")


def _read_folder(folder: Path) -> Dataset:
    with reading(folder):
        if not folder.is_dir():
            fact = "is not a folder" if folder.exists() else "does not exist"
            raise DataError(f"{folder} {fact}; name the folder with MNIST's four .gz files")
        # Files only: opening a pipe waits for its writer.
        if missing := [name for name in CHECKSUMS if not (folder / name).is_file()]:
            raise DataError(f"{folder} has no {', '.join(missing)}; download MNIST from {MIRRORS[0]}")
    both, test = _read_pair(folder, "train", least=2), _read_pair(folder, "t10k", least=1)
    rows = len(both.labels) * 5 // 6
    train, validation = Split(both.images[:rows], both.labels[:rows]), Split(both.images[rows:], both.labels[rows:])
    dataset = Dataset(name="IDX files", source=str(folder), train=train, validation=validation, test=test)
    return replace(dataset, name="MNIST") if dataset.sha256 == CONTENT_SHA256 else dataset


def _read_pair(folder: Path, stem: str, least: int) -> Split:
    """Return the images and labels of one of the two sets."""
    images_path, labels_path = (folder / name for name in CHECKSUMS if name.startswith(stem))
    images, labels = read_idx(images_path, SIDE, SIDE), read_idx(labels_path)
    rows = len(images)
    if rows != len(labels):
        raise DataError(
            f"{images_path} holds {rows} images and {labels_path} {len(labels)} labels; use files of one set"
        )
    if rows < least:
        raise DataError(f"{images_path} holds {rows} images; use {least} or more")
    if labels.max() > 9:
        raise DataError(f"{labels_path} holds the label {labels.max()}; use 0 to 9")
    return Split(images.reshape(rows, SIDE * SIDE), labels)


def _checksums(cache: Path) -> dict[str, str]:
    """Return the SHA-256 of each of MNIST's files that the cache has."""
    sums = {}
    for path in (cache / name for name in CHECKSUMS):
        with reading(path):
            if path.is_file():
                with path.open("rb") as file:
                    sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
            elif path.exists():  # pooch would wait for the writer of a pipe
                raise DataError(f"{path} is not a file; delete it")
    return sums


def _download(cache: Path) -> str:
    """Let pooch fetch what the cache lacks or has with another checksum; return "", or why no mirror provided it."""
    try:
        import pooch  # noqa: PLC0415  # needed once in a machine's life
    except ImportError as error:
        return f"{error.name} is not installed; pooch downloads MNIST"
    pooch.get_logger().setLevel("WARNING")  # it would print each file that it downloads
    http = pooch.HTTPDownloader(timeout=ANSWER_SECONDS)
    reasons = []
    for mirror in MIRRORS:
        files = pooch.create(cache.absolute(), mirror, registry=CHECKSUMS)
        try:
            # A request's timeout ends neither the look-up of a name nor attempts at many addresses; only a daemon
            # thread can be left in them: https://github.com/urllib3/urllib3/issues/1334
            with ThreadPool(1) as pool:
                pool.apply_async(files.is_available, (next(iter(CHECKSUMS)), http)).get(ANSWER_SECONDS)
            for name in CHECKSUMS:
                files.fetch(name, downloader=http)
        except multiprocessing.TimeoutError:
            reason = f"no answer in {ANSWER_SECONDS:g} s"
        except (OSError, ValueError) as error:
            reason = _root_cause(error)
        else:
            return ""
        reasons.append(f"{urlsplit(mirror).hostname}: {reason}")
    return "; ".join(reasons)


def _root_cause(error: BaseException) -> str:
    """Return the text of the innermost error, shortened: requests wraps it three times, and longer each time."""
    while error.__context__ is not None:
        error = error.__context__
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")
