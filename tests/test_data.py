"""The data: MNIST byte for byte, an error for each broken file, and digits that can be learned without MNIST."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import pwd
import socket
import subprocess
import sys
import threading
import tracemalloc
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samenet.data import Dataset, Split, cache_folder, digits, load, mnist
from samenet.errors import DataError
from tests.support.data import idx, make_split, write_dataset, write_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = list(mnist.CHECKSUMS)
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
# The published counts of the classes 0 to 9.
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(autouse=True)
def no_folder_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable name a folder, unless a test sets it."""
    monkeypatch.delenv("SAMENET_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a sound data set: 12 images to train and validate on, 4 to test."""
    (tmp_path / "sound").mkdir()
    return write_dataset(tmp_path / "sound", train=12, test=4)


@pytest.fixture
def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the small data set be the MNIST that mirrors and caches should have."""
    monkeypatch.setattr(mnist, "CHECKSUMS", sums(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache's folder, which does not exist yet; and make few digits, as these tests do not need many."""
    monkeypatch.setenv("SAMENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digits, "SIZES", (50, 10, 10))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def embedded() -> Dataset:
    """Make the embedded digits once."""
    return digits.embedded_digits()


@pytest.fixture(scope="session")
def real() -> Path:
    """Return the folder with the real MNIST."""
    if not os.environ.get("SAMENET_DATA"):
        pytest.skip("no MNIST; set SAMENET_DATA to the folder with its four .gz files")
    return Path(os.environ["SAMENET_DATA"])


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that makes these folders the mirrors, served over HTTP; None is a port that is closed."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    servers = []

    def start(*roots: Path | None, handler: type[SimpleHTTPRequestHandler] = SimpleHTTPRequestHandler) -> None:
        addresses = []
        for root in roots:
            with socket.create_server(("127.0.0.1", 0)) as unused:
                port = unused.getsockname()[1]
            if root:
                server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root)))
                threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
                servers.append(server)
                port = server.server_port
            addresses.append(f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(mnist, "MIRRORS", tuple(addresses))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the four files of ``folder``."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES}


def splits(dataset: Dataset) -> tuple[Split, ...]:
    """Return the three splits."""
    return dataset.train, dataset.validation, dataset.test


def unpacked(folder: Path) -> list[bytes]:
    """Return the contents of the four files of ``folder``."""
    return [gzip.decompress((folder / name).read_bytes()) for name in NAMES]


# What is read


def test_mnist_is_recognised_and_split_as_in_the_book(real: Path) -> None:
    """The first 50,000 images train, the next 10,000 validate; bytes, classes and ink are as published."""
    assert sums(real) == mnist.CHECKSUMS
    dataset = load(real)
    assert (dataset.name, dataset.source, dataset.sha256) == ("MNIST", str(real), mnist.CONTENT_SHA256)
    train, validation, test = splits(dataset)
    assert [len(split.labels) for split in splits(dataset)] == [50_000, 10_000, 10_000]
    assert train.images.tobytes() + validation.images.tobytes() == unpacked(real)[0][16:]
    assert np.bincount(np.concatenate([train.labels, validation.labels])).tolist() == TRAIN_COUNTS
    assert np.bincount(test.labels).tolist() == TEST_COUNTS
    assert test.images.mean() / 255 == pytest.approx(0.1325146, abs=5e-8)


def test_another_data_set_is_not_called_mnist(folder: Path) -> None:
    """Five sixths of the training file train, one sixth validates, and the checksum is that of the contents."""
    dataset = load(folder)
    assert (dataset.name, dataset.source) == ("IDX files", str(folder))
    written = make_split(12, seed=1)
    for split, rows in ((dataset.train, slice(10)), (dataset.validation, slice(10, 12))):
        assert (split.images == written.images[rows]).all()
        assert (split.labels == written.labels[rows]).all()
    assert dataset.sha256 == hashlib.sha256(b"".join(unpacked(folder))).hexdigest()


@pytest.mark.parametrize("made", ["read", "embedded"])
def test_the_arrays_are_what_a_worker_expects(made: str, folder: Path, embedded: Dataset) -> None:
    """Rows of 784 bytes and a label each, C-contiguous and read-only."""
    for split in splits(load(folder) if made == "read" else embedded):
        assert split.images.shape == (len(split.labels), 784)
        for array in (split.images, split.labels):
            assert array.dtype == np.uint8
            assert array.flags.c_contiguous
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


# What is refused

SOUND = idx(np.ones((12, 28, 28), np.uint8))
PACKED = gzip.compress(SOUND)


@pytest.mark.parametrize(
    ("name", "complaint", "content"),
    [
        (TRAIN_IMAGES, "is damaged (Compressed file ended", PACKED[: len(PACKED) // 2]),
        (TRAIN_IMAGES, "is damaged (unpack requires a buffer of 16 bytes); copy or download it again", b""),
        (TRAIN_IMAGES, "is damaged (Not a gzipped file", SOUND),
        (TRAIN_IMAGES, "is damaged (CRC check failed", PACKED[:-8] + bytes(8)),
        (TEST_LABELS, "starts with 0x00000803 instead of 0x00000801; copy or", PACKED),
        (TEST_IMAGES, "starts with 0x00000801 instead of 0x00000803", gzip.compress(idx(np.ones(16, np.uint8)))),
        (TEST_IMAGES, "images of [20, 30] pixels; resize", gzip.compress(idx(np.ones((4, 20, 30), np.uint8)))),
        (TRAIN_IMAGES, "holds fewer bytes than the 12 items", gzip.compress(SOUND[:-1])),
        (TRAIN_IMAGES, "holds more bytes than the 12 items", gzip.compress(SOUND + b"\0")),
        (
            TRAIN_IMAGES,
            "has 4294967295 items by its header; reduce",
            gzip.compress(SOUND[:4] + b"\xff" * 4 + SOUND[8:]),
        ),
        (TRAIN_LABELS, "11 labels; use files of one set", gzip.compress(idx(np.ones(11, np.uint8)))),
        (TRAIN_LABELS, "the label 10; use 0 to 9", gzip.compress(idx(np.full(12, 10, np.uint8)))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_file_is_named_with_its_fault_and_a_remedy(
    name: str, complaint: str, content: bytes, folder: Path
) -> None:
    """Every fault that a file can have ends in a DataError and never in numbers."""
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(folder / name) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("stem", "rows", "least"), [("train", 1, 2), ("t10k", 0, 1)])
def test_too_few_images_to_split_are_refused(stem: str, rows: int, least: int, folder: Path) -> None:
    """No split may be empty."""
    write_split(folder, stem, make_split(rows))
    with pytest.raises(DataError, match=f"{stem}-images.* holds {rows} images; use {least} or more"):
        load(folder)


def test_a_given_folder_that_cannot_be_used_is_an_error(folder: Path) -> None:
    """A folder that was asked for is never replaced by another source, and the missing files are listed."""
    with pytest.raises(DataError, match=r"xxx cannot be read \(File name too long\); check its permissions"):
        load(folder / ("x" * 300))
    with pytest.raises(DataError, match="absent does not exist; name the folder"):
        load(folder / "absent")
    with pytest.raises(DataError, match=f"{TEST_LABELS} is not a folder; name the folder"):
        load(folder / TEST_LABELS)
    (folder / TEST_LABELS).unlink()
    os.mkfifo(folder / TEST_LABELS)
    (folder / TEST_IMAGES).unlink()
    (folder / TEST_IMAGES).symlink_to("/dev/zero")
    with pytest.raises(DataError, match=f"has no {TEST_IMAGES}, {TEST_LABELS}; download MNIST from http"):
        load(folder)


def test_a_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    """An error of the system's comes with the file's name: here a process's memory has no address 0."""
    (folder / TRAIN_LABELS).unlink()
    (folder / TRAIN_LABELS).symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=rf"{TRAIN_LABELS} cannot be read \(.+\); check its permissions"):
        load(folder)


def test_a_bomb_is_not_unpacked(folder: Path) -> None:
    """A file that unpacks to 256 MiB more than its header says takes less than 8 MiB to refuse."""
    with gzip.open(folder / TEST_IMAGES, "wb", compresslevel=1) as file:
        file.write(SOUND)
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="holds more bytes"):
            load(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 20), name=st.sampled_from(NAMES), where=st.floats(0, 1), packed=st.booleans())
def test_any_cut_of_any_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: int, name: str, where: float, *, packed: bool
) -> None:
    """A file cut anywhere, packed or before, is a DataError."""
    folder = write_dataset(tmp_path_factory.mktemp("cut"), rows, rows)
    path = folder / name
    whole = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    cut = whole[: int(where * (len(whole) - 1))]
    path.write_bytes(cut if packed else gzip.compress(cut))
    with pytest.raises(DataError, match=name):
        load(folder)


# The cache and the download


def test_a_complete_cache_needs_no_network_and_no_pooch(
    published: Path, serve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all four files in the cache, only numpy is needed."""
    serve(None)
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("SAMENET_CACHE", str(published))
    assert load().source == str(published)


def test_the_cache_is_where_pooch_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SAMENET_CACHE comes first, then pooch's choice; a variable that is empty counts as not set."""
    pooch = pytest.importorskip("pooch", reason="pooch is not installed; install it to compare")
    for name, value in (("SAMENET_CACHE", ""), ("XDG_CACHE_HOME", ""), ("HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(pooch.os_cache("samenet")) == tmp_path / ".cache" / "samenet"
    monkeypatch.setenv("HOME", "")
    assert cache_folder() == Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "samenet")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == Path(pooch.os_cache("samenet")) == tmp_path / "samenet"
    monkeypatch.setenv("SAMENET_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_only_what_the_cache_lacks_or_has_wrong_is_downloaded(
    published: Path, cache: Path, serve: Callable[..., None], tmp_path: Path
) -> None:
    """An interrupted download continues, and each file comes from whichever mirror answers and has it."""
    first, second = tmp_path / "first", tmp_path / "second"
    for root, name in ((cache, TRAIN_LABELS), (first, TRAIN_IMAGES), (second, TEST_IMAGES), (second, TEST_LABELS)):
        root.mkdir(exist_ok=True)
        (root / name).write_bytes((published / name).read_bytes())
    (cache / TEST_LABELS).write_bytes(b"damaged")
    serve(None, first, second)
    assert load().source == str(cache)
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)


def test_without_a_download_the_digits_come_with_the_reasons(
    cache: Path, serve: Callable[..., None], folder: Path
) -> None:
    """Each mirror has its reason, and what is not MNIST does not enter the cache."""
    serve(None, folder)
    dataset = load()
    assert dataset.name == "embedded digits"
    assert dataset.source.startswith("scikit-learn, distorted with seed 0 (no MNIST: 127.0.0.1: [Errno 111] Connection")
    assert "; 127.0.0.1: SHA256 hash of downloaded file" in dataset.source
    assert not list(cache.iterdir())


def test_a_wrong_file_in_the_cache_is_an_error_without_a_network(
    folder: Path, serve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither used nor replaced by the digits."""
    serve(None)
    monkeypatch.setenv("SAMENET_CACHE", str(folder))
    with pytest.raises(DataError, match=rf"checksum mismatch of .*{TEST_LABELS}, .* \(127.0.0.1: .*\); delete it"):
        load()


def test_a_pipe_in_the_cache_is_an_error(published: Path, cache: Path) -> None:
    """The writer of a pipe would be waited for without an end."""
    cache.mkdir()
    os.mkfifo(cache / TEST_LABELS)
    with pytest.raises(DataError, match=f"{TEST_LABELS} is not a file; delete it"):
        load()


def test_a_mirror_that_never_answers_is_left(
    cache: Path, serve: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that drips, so that no single read is late, has as long to answer as any other."""
    gone = threading.Event()

    class Dripping(SimpleHTTPRequestHandler):
        def do_HEAD(self) -> None:
            for _ in range(600):  # half a minute, should this wait for the end
                if gone.wait(0.05):
                    break
                self.wfile.write(b"H")

    monkeypatch.setattr(mnist, "ANSWER_SECONDS", 0.3)
    serve(tmp_path, tmp_path, handler=Dripping)
    source = load().source
    gone.set()
    assert source.endswith("(no MNIST: 127.0.0.1: no answer in 0.3 s; 127.0.0.1: no answer in 0.3 s)")


def test_what_is_not_installed_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pooch the digits come with the reason, without scikit-learn as well there is an error with a remedy."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert load().source.endswith("(no MNIST: pooch is not installed; pooch downloads MNIST)")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"no sklearn.* for the embedded digits; install scikit-learn or"):
        load()


def test_without_a_home_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder learns which variable to set."""
    for name in ("SAMENET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # a user without an entry
    with pytest.raises(DataError, match="no home folder to keep MNIST in; set SAMENET_CACHE"):
        load()


def test_nothing_is_imported_before_it_is_needed() -> None:
    """A machine with MNIST needs neither what downloads it nor what stands in for it."""
    code = "import samenet.data, sys; sys.exit(str({'pooch', 'requests', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr == "set()\n"


# The embedded digits


def test_the_digits_are_as_many_and_as_dark_as_mnists(embedded: Dataset) -> None:
    """They replace MNIST in number, size and ink, so that times agree; the classes are about equally frequent."""
    assert (embedded.name, embedded.source) == ("embedded digits", "scikit-learn, distorted with seed 0")
    assert [len(split.labels) for split in splits(embedded)] == [50_000, 10_000, 10_000]
    for split in splits(embedded):
        assert split.images.max() == 255
        assert split.images.mean() / 255 == pytest.approx(0.13, abs=0.02)  # MNIST: 0.131
        assert np.bincount(split.labels, minlength=10).min() > 0.06 * len(split.labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_original_is_in_two_splits(seed: int) -> None:
    """The originals are all used, each in one split."""
    parts = digits.original_indices(seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    assert min(len(part) for part in parts) >= 256


def test_the_seed_decides_the_digits(cache: Path) -> None:
    """The same seed gives the same contents, another seed others."""
    same, again, other = (digits.embedded_digits(seed).sha256 for seed in (3, 3, 4))
    assert same == again != other


def test_a_network_can_learn_the_digits(embedded: Dataset) -> None:
    """A linear classifier trained on a fifth of the images names more than four test images in five."""
    inputs, labels = embedded.train.images[:10_000] / np.float32(256), embedded.train.labels[:10_000]
    target = np.eye(10, dtype=np.float32)[labels]
    weights = np.zeros((784, 10), np.float32)
    for first in list(range(0, 10_000, 500)) * 10:
        rows = slice(first, first + 500)
        logits = inputs[rows] @ weights
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights -= 0.5 * inputs[rows].T @ (odds / odds.sum(axis=1, keepdims=True) - target[rows]) / 500
    for split in (embedded.validation, embedded.test):
        predicted = np.argmax(split.images / np.float32(256) @ weights, axis=1)
        assert (predicted == split.labels).mean() > 0.8


def test_the_order_of_the_labels_is_shuffled(embedded: Dataset) -> None:
    """A minibatch has every class; neighbours are alike by chance only, as are passes over the originals."""
    for split, originals in zip(splits(embedded), digits.original_indices(), strict=True):
        batches = split.labels[: len(split.labels) // 600 * 600].reshape(-1, 600)
        assert all(len(np.unique(batch)) == 10 for batch in batches)
        for distance in (1, len(originals)):
            alike = split.labels[distance:] == split.labels[:-distance]
            assert alike.mean() == pytest.approx(0.1, abs=0.015)  # five standard deviations of 10,000 draws
