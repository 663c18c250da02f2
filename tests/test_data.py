"""The data: MNIST byte for byte, every broken file refused, and digits that can be learned where there is no MNIST."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import socket
import struct
import sys
import threading
import time
import tracemalloc
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from bench import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = data.SUMS
SMALL = {TRAIN_IMAGES: (12, 28, 28), TRAIN_LABELS: (12,), TEST_IMAGES: (4, 28, 28), TEST_LABELS: (4,)}
# The published counts of the classes 0 to 9.
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def items(*shape: int) -> np.ndarray:
    """Return bytes of that shape: labels 0 to 9 in turn, or pixels that differ from image to image."""
    count = np.arange(np.prod(shape))
    return (count % (10 if len(shape) == 1 else 251)).astype(np.uint8).reshape(shape)


def idx(array: np.ndarray) -> bytes:
    """Return ``array`` (uint8) in the IDX format."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a sound data set: 12 images to train and validate on, 4 to test."""
    for name, shape in SMALL.items():
        (tmp_path / name).write_bytes(gzip.compress(idx(items(*shape))))
    return tmp_path


@pytest.fixture(scope="session")
def mnist() -> Path:
    """Return the folder with the real MNIST."""
    if "SAMENET_DATA" not in os.environ:
        pytest.skip("no MNIST; set SAMENET_DATA to the folder with its four .gz files")
    return Path(os.environ["SAMENET_DATA"])


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    """Make the embedded digits once."""
    return data.embedded_digits()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few embedded digits, where it does not matter how many."""
    monkeypatch.setattr(data, "DIGITS", (50, 10, 10))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return a function that serves a folder over HTTP on this machine and returns its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)

    def start(root: Path, handler: type[SimpleHTTPRequestHandler] = SimpleHTTPRequestHandler) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an address of this machine where nothing listens."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"


def known(folder: Path) -> dict[str, str]:
    """Return the sums that ``folder``'s files have, to stand in for MNIST's."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in data.SUMS}


def splits(dataset: data.Dataset) -> tuple[data.Split, ...]:
    """Return the three splits."""
    return dataset.train, dataset.validation, dataset.test


# What is read


def test_mnist_is_known_by_its_contents(mnist: Path) -> None:
    """The published files make the data set named MNIST, whose checksum is that of the files unpacked in order."""
    assert known(mnist) == data.SUMS
    dataset = data.load(mnist)
    unpacked = hashlib.sha256(b"".join(gzip.decompress((mnist / name).read_bytes()) for name in data.SUMS))
    assert (dataset.name, dataset.source) == ("MNIST", str(mnist))
    assert dataset.sha256 == data.MNIST_SHA256 == unpacked.hexdigest()


def test_mnist_is_split_as_in_the_book(mnist: Path) -> None:
    """The first 50,000 images train, the next 10,000 validate; classes and ink are as published."""
    dataset = data.load(mnist)
    assert [len(split.labels) for split in splits(dataset)] == [50_000, 10_000, 10_000]
    images = gzip.decompress((mnist / TRAIN_IMAGES).read_bytes())[16:]
    assert dataset.train.images.tobytes() == images[: 784 * 50_000]
    assert dataset.validation.images.tobytes() == images[784 * 50_000 :]
    both = np.concatenate([dataset.train.labels, dataset.validation.labels])
    assert np.bincount(both).tolist() == TRAIN_COUNTS
    assert np.bincount(dataset.test.labels).tolist() == TEST_COUNTS
    assert dataset.test.images.mean() / 255 == pytest.approx(0.1325146, abs=5e-8)


def test_another_data_set_is_not_called_mnist(folder: Path) -> None:
    """Five sixths of the training file train, one sixth validates, and the name says what it is not."""
    dataset = data.load(folder)
    assert (dataset.name, dataset.source) == ("IDX files", str(folder))
    np.testing.assert_array_equal(dataset.train.images, items(12, 784)[:10])
    np.testing.assert_array_equal(dataset.validation.images, items(12, 784)[10:])
    np.testing.assert_array_equal(dataset.train.labels, np.arange(10))
    np.testing.assert_array_equal(dataset.validation.labels, [0, 1])
    np.testing.assert_array_equal(dataset.test.images, items(4, 784))


def test_the_checksum_is_that_of_the_contents(folder: Path) -> None:
    """How a file was compressed changes nothing, one pixel or one label does."""
    sums = [data.load(folder).sha256]
    content = idx(items(*SMALL[TEST_IMAGES]))
    (folder / TEST_IMAGES).write_bytes(gzip.compress(content, compresslevel=1, mtime=1))
    assert data.load(folder).sha256 == sums[0]
    for name in data.SUMS:
        changed = bytearray(idx(items(*SMALL[name])))
        changed[-1] ^= 1
        (folder / name).write_bytes(gzip.compress(bytes(changed)))
        sums.append(data.load(folder).sha256)
    assert len(set(sums)) == len(sums)


@pytest.mark.parametrize("made", ["read", "embedded"])
def test_the_arrays_are_what_a_worker_expects(made: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """Rows of 784 bytes and a label each, C-contiguous, and nobody can write to them."""
    dataset: data.Dataset = data.load(folder) if made == "read" else request.getfixturevalue("digits")
    for split in splits(dataset):
        assert split.images.shape == (len(split.labels), 784)
        for array in (split.images, split.labels):
            assert array.dtype == np.uint8
            assert array.flags.c_contiguous
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


# What is refused


def broken(name: str, complaint: str, content: bytes) -> object:
    """Return a parameter set: the file, what is wrong with it, what it contains."""
    return pytest.param(name, complaint, content, id=complaint.replace(" ", "-"))


SOUND = idx(items(*SMALL[TRAIN_IMAGES]))
PACKED = gzip.compress(SOUND)


@pytest.mark.parametrize(
    ("name", "complaint", "content"),
    [
        broken(TRAIN_IMAGES, "is truncated; replace it", PACKED[: len(PACKED) // 2]),
        broken(TRAIN_IMAGES, "ends within its header; replace it", b""),
        broken(TRAIN_IMAGES, "is damaged or not gzip; replace it", SOUND),
        broken(TRAIN_IMAGES, "is damaged or not gzip", PACKED[:-8] + bytes(8)),
        broken(TEST_LABELS, "starts with 0x00000803, not 0x00000801; replace it", PACKED),
        broken(TEST_IMAGES, "starts with 0x00000801, not 0x00000803", gzip.compress(idx(items(4)) + bytes(16))),
        broken(TEST_IMAGES, "has images of 20x30 pixels; make them 28x28", gzip.compress(idx(items(4, 20, 30)))),
        broken(TRAIN_IMAGES, "holds fewer bytes than the 12 items", gzip.compress(SOUND[:-1])),
        broken(TRAIN_IMAGES, "holds more bytes than the 12 items", gzip.compress(SOUND + b"\0")),
        broken(TRAIN_IMAGES, "promises 4294967295 items; cut it", gzip.compress(SOUND[:4] + b"\xff" * 4 + SOUND[8:])),
        broken(TRAIN_LABELS, "11 labels; take both from one set", gzip.compress(idx(items(11)))),
        broken(
            TRAIN_LABELS,
            "holds the label 10; labels must be 0 to 9",
            gzip.compress(idx(np.arange(12, dtype="u1")[::-1] % 11)),
        ),
    ],
)
def test_a_broken_file_is_named_with_its_fault_and_a_remedy(
    name: str, complaint: str, content: bytes, folder: Path
) -> None:
    """Every fault that a file can have ends in a DataError and never in numbers."""
    (folder / name).write_bytes(content)
    with pytest.raises(data.DataError) as caught:
        data.load(folder)
    assert str(folder / name) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("stem", "rows", "least"), [("train", 1, 2), ("t10k", 0, 1)])
def test_too_few_images_to_split_are_refused(stem: str, rows: int, least: int, folder: Path) -> None:
    """No split may be empty."""
    (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(items(rows, 28, 28))))
    (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(items(rows))))
    with pytest.raises(data.DataError, match=f"{stem}-images.* holds {rows} images; give it {least} or more"):
        data.load(folder)


def test_a_given_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A folder that was asked for is never replaced by another source."""
    with pytest.raises(data.DataError, match="absent does not exist; name the folder"):
        data.load(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(data.DataError, match="file is not a folder; name the folder"):
        data.load(tmp_path / "file")


def test_the_missing_files_are_listed(folder: Path) -> None:
    """An incomplete folder is told what it lacks, an empty one all four."""
    (folder / TEST_LABELS).unlink()
    with pytest.raises(data.DataError, match=f"lacks {TEST_LABELS}; put MNIST's there, from http"):
        data.load(folder)
    (folder / "empty").mkdir()
    with pytest.raises(data.DataError, match=f"empty lacks {', '.join(data.SUMS)}; put"):
        data.load(folder / "empty")


def test_a_file_that_cannot_be_read_is_an_error(folder: Path) -> None:
    """An input error of the system's is passed on with the file's name: here no address 0 in a process's memory."""
    (folder / TRAIN_LABELS).unlink()
    (folder / TRAIN_LABELS).symlink_to("/proc/self/mem")
    with pytest.raises(data.DataError, match=rf"{TRAIN_LABELS} cannot be read \(.+\); check its permissions"):
        data.load(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; run as another user")
@pytest.mark.parametrize("name", [TRAIN_LABELS, "."])
def test_a_file_that_may_not_be_read_is_an_error(name: str, folder: Path) -> None:
    """A lack of permission is passed on with the file's or folder's name."""
    (folder / name).chmod(0)
    try:
        with pytest.raises(data.DataError, match=r"Permission denied.*; check its permissions"):
            data.load(folder)
    finally:
        (folder / name).chmod(0o700)


def test_a_bomb_is_not_unpacked(folder: Path) -> None:
    """A file that unpacks to 256 MiB beyond its header's promise takes less than 8 MiB to refuse."""
    with gzip.open(folder / TEST_IMAGES, "wb", compresslevel=1) as file:
        file.write(idx(items(*SMALL[TEST_IMAGES])))
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match="holds more bytes"):
            data.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_cut_of_any_file_is_refused(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    """Whole files come back as they were written; a file cut anywhere, packed or before, is a DataError."""
    folder = tmp_path_factory.mktemp("cut")
    rows = draw.draw(st.integers(2, 20))
    labels = np.array(draw.draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows)), np.uint8)
    images = np.random.default_rng(rows).integers(0, 256, (rows, 28, 28), np.uint8)
    for name in data.SUMS:
        (folder / name).write_bytes(gzip.compress(idx(images if "images" in name else labels)))
    dataset = data.load(folder)
    np.testing.assert_array_equal(dataset.test.images, images.reshape(rows, 784))
    np.testing.assert_array_equal(dataset.test.labels, labels)

    path = folder / draw.draw(st.sampled_from(list(data.SUMS)))
    packed = path.read_bytes()
    whole = gzip.decompress(packed)
    if draw.draw(st.booleans()):
        path.write_bytes(packed[: draw.draw(st.integers(0, len(packed) - 1))])
    else:
        path.write_bytes(gzip.compress(whole[: draw.draw(st.integers(0, len(whole) - 1))]))
    with pytest.raises(data.DataError, match=path.name):
        data.load(folder)


# The cache and the download


def test_the_cache_is_used_without_a_network(folder: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all four files in the cache no mirror is asked."""
    monkeypatch.setattr(data, "SUMS", known(folder))
    monkeypatch.setattr(data, "MIRRORS", (closed,))
    monkeypatch.setenv("SAMENET_CACHE", str(folder))
    assert data.load(None).source == str(folder)
    assert data.load(None, cache=folder, download=False).source == str(folder)


@pytest.mark.parametrize("alone", [True, False])
def test_a_cached_file_with_another_checksum_is_an_error(alone: bool, folder: Path) -> None:  # noqa: FBT001
    """A file in the cache that is not MNIST's is to be deleted, be the other files there or not."""
    if alone:
        for name in set(data.SUMS) - {TEST_LABELS}:
            (folder / name).unlink()
    with pytest.raises(data.DataError, match="has not the checksum of MNIST's; delete it") as caught:
        data.load(None, cache=folder)
    assert str(folder / (TEST_LABELS if alone else TRAIN_IMAGES)) in str(caught.value)


def test_the_cache_is_where_pooch_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SAMENET_CACHE comes first; without it the folder is pooch's, whatever XDG says."""
    pooch = pytest.importorskip("pooch", reason="pooch is not installed; install it to compare")
    monkeypatch.delenv("SAMENET_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data.cache_folder() == Path(pooch.os_cache("samenet"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache_folder() == Path(pooch.os_cache("samenet")) == tmp_path / "samenet"
    monkeypatch.setenv("SAMENET_CACHE", str(tmp_path / "own"))
    assert data.cache_folder() == tmp_path / "own"


def test_mnist_is_downloaded_into_the_cache(
    mnist: Path, serve: Callable[..., str], closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first mirror that is down is passed over; the second fills the cache, which later serves without either."""
    monkeypatch.setattr(data, "MIRRORS", (closed, serve(mnist)))
    dataset = data.load(None, cache=tmp_path / "cache")
    assert (dataset.name, dataset.source) == ("MNIST", str(tmp_path / "cache"))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(data.SUMS)
    assert data.load(None, cache=tmp_path / "cache", download=False).sha256 == data.MNIST_SHA256


def test_only_what_the_cache_lacks_is_downloaded(
    folder: Path, serve: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that was interrupted goes on, and takes each file from whichever mirror has it."""
    monkeypatch.setattr(data, "SUMS", known(folder))
    cache, first, second = tmp_path / "cache", tmp_path / "first", tmp_path / "second"
    for root, name in ((cache, TRAIN_LABELS), (first, TRAIN_IMAGES), (second, TEST_IMAGES), (second, TEST_LABELS)):
        root.mkdir(exist_ok=True)
        (folder / name).rename(root / name)
    monkeypatch.setattr(data, "MIRRORS", (serve(first), serve(second)))
    assert data.load(None, cache=cache).source == str(cache)


def test_a_mirror_with_other_files_is_not_believed(
    folder: Path, serve: Callable[..., str], tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong download is thrown away, and the digits come with the reason."""
    monkeypatch.setattr(data, "MIRRORS", (serve(folder),))
    dataset = data.load(None, cache=tmp_path / "cache")
    assert dataset.name == "embedded digits"
    assert "(no MNIST: 127.0.0.1: SHA256 hash of downloaded file" in dataset.source
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_network_the_digits_come_with_the_reason(
    closed: str, tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mirror's failure is told, and no cache is made for nothing."""
    monkeypatch.setattr(data, "MIRRORS", (closed, "http://mirror.invalid/"))
    dataset = data.load(None, cache=tmp_path / "cache")
    assert dataset.name == "embedded digits"
    assert dataset.source.startswith("scikit-learn, distorted with seed 0 (no MNIST: 127.0.0.1: ")
    assert "Connection refused; mirror.invalid: " in dataset.source
    assert not (tmp_path / "cache").exists()


def test_a_mirror_that_never_answers_is_given_up(
    serve: Callable[..., str], tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mirrors that drip, so that no single read is late, cost two waits and no more."""
    gone = threading.Event()

    class Dripping(SimpleHTTPRequestHandler):
        def do_HEAD(self) -> None:
            while not gone.wait(0.05):
                self.wfile.write(b"H")

    monkeypatch.setattr(data, "ANSWER_SECONDS", 0.3)
    mirror = serve(tmp_path, Dripping)
    monkeypatch.setattr(data, "MIRRORS", (mirror, mirror))
    data.embedded_digits()  # their imports are not the mirrors' fault
    start = time.monotonic()
    source = data.load(None, cache=tmp_path / "cache").source
    seconds = time.monotonic() - start
    gone.set()
    assert source.endswith("(no MNIST: 127.0.0.1: no answer in 0.3 s; 127.0.0.1: no answer in 0.3 s)")
    assert seconds < 3


def test_a_cache_that_cannot_be_written_is_the_reason(
    folder: Path, serve: Callable[..., str], few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that has nowhere to go is no crash: the digits say why."""
    monkeypatch.setattr(data, "SUMS", known(folder))
    monkeypatch.setattr(data, "MIRRORS", (serve(folder),))
    source = data.load(None, cache=folder / TRAIN_IMAGES / "cache").source
    assert "Not a directory" in source
    assert str(folder / TRAIN_IMAGES) in source


def test_downloading_can_be_turned_off(tmp_path: Path, few: None) -> None:
    """Without a cache and without a download the digits come, and say so."""
    source = data.load(None, cache=tmp_path, download=False).source
    assert source == f"scikit-learn, distorted with seed 0 (no MNIST: not in {tmp_path}, and downloading is off)"


def test_without_pooch_the_digits_come_with_the_reason(
    tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package that downloads need not be there."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    source = data.load(None, cache=tmp_path).source
    assert source.endswith("(no MNIST: pooch is not installed, which downloads it)")


def test_without_scikit_learn_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither MNIST nor digits: the error says what to install."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(data.DataError, match=r"no sklearn.* for the embedded digits; install scikit-learn or"):
        data.embedded_digits()


def test_without_a_home_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder is told which variable to set."""
    for name in ("SAMENET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # nobody's
    with pytest.raises(data.DataError, match="no home folder to keep MNIST in; set SAMENET_CACHE"):
        data.load(None)


# The embedded digits


def test_the_digits_are_as_many_and_as_dark_as_mnists(digits: data.Dataset) -> None:
    """They stand in for MNIST in number, size and ink, so that times agree; every class is there alike."""
    assert digits.name == "embedded digits"
    assert digits.source == "scikit-learn, distorted with seed 0"
    assert [len(split.labels) for split in splits(digits)] == [50_000, 10_000, 10_000]
    for split in splits(digits):
        assert split.images.max() == 255
        assert split.images.mean() / 255 == pytest.approx(0.13, abs=0.02)  # MNIST: 0.131
        assert np.bincount(split.labels, minlength=10).min() > 0.06 * len(split.labels)


def test_the_seed_decides_the_digits(few: None) -> None:
    """The same seed gives the same bytes, another seed others."""
    same, again, other = (data.embedded_digits(seed) for seed in (3, 3, 4))
    assert same.sha256 == again.sha256 != other.sha256
    for split, repeated in zip(splits(same), splits(again), strict=True):
        np.testing.assert_array_equal(split.images, repeated.images)
        np.testing.assert_array_equal(split.labels, repeated.labels)


def test_the_digits_checksum_covers_every_split(digits: data.Dataset) -> None:
    """It is the checksum of the same images and labels written as MNIST's four files."""
    images = np.concatenate([digits.train.images, digits.validation.images]).reshape(-1, 28, 28)
    labels = np.concatenate([digits.train.labels, digits.validation.labels])
    files = (images, labels, digits.test.images.reshape(-1, 28, 28), digits.test.labels)
    assert digits.sha256 == hashlib.sha256(b"".join(idx(array) for array in files)).hexdigest()


def test_no_original_is_in_two_splits() -> None:
    """The originals are dealt out whole: all of them, each once, for any seed."""
    for seed in (0, 1):
        parts = data.original_indices(seed)
        assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
        assert min(len(part) for part in parts) >= 256
    assert set(data.original_indices(0)[2].tolist()) != set(data.original_indices(1)[2].tolist())


def test_the_splits_are_made_of_their_own_originals(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is distorted for a split is its share of scikit-learn's images, each with its own label."""
    taken: list[tuple[np.ndarray, np.ndarray]] = []
    distort = data._distort

    def watched(inks: np.ndarray, labels: np.ndarray, rows: int, rng: np.random.Generator) -> data.Split:
        taken.append((inks, labels))
        return distort(inks, labels, rows, rng)

    monkeypatch.setattr(data, "_distort", watched)
    data.embedded_digits(seed=5)
    originals = load_digits()
    for (inks, labels), own in zip(taken, data.original_indices(seed=5), strict=True):
        np.testing.assert_array_equal(inks, originals.images[own] * 255 / 16)
        np.testing.assert_array_equal(labels, originals.target[own])


def test_a_network_can_learn_the_digits(digits: data.Dataset) -> None:
    """A linear classifier trained on a fifth of the images names more than four test images in five."""
    inputs, labels = digits.train.images[:10_000] / np.float32(256), digits.train.labels[:10_000]
    target = np.eye(10, dtype=np.float32)[labels]
    weights = np.zeros((784, 10), np.float32)
    for first in list(range(0, 10_000, 500)) * 10:
        rows = slice(first, first + 500)
        logits = inputs[rows] @ weights
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights -= 0.5 * inputs[rows].T @ (odds / odds.sum(axis=1, keepdims=True) - target[rows]) / 500
    for split in (digits.validation, digits.test):
        predicted = np.argmax(split.images / np.float32(256) @ weights, axis=1)
        assert (predicted == split.labels).mean() > 0.8


def test_the_order_of_the_labels_is_shuffled(digits: data.Dataset) -> None:
    """A minibatch has every class; neighbours are alike by chance only, as are passes over the originals."""
    for split, originals in zip(splits(digits), data.original_indices(), strict=True):
        batches = split.labels[: len(split.labels) // 600 * 600].reshape(-1, 600)
        assert all(len(np.unique(batch)) == 10 for batch in batches)
        for distance in (1, len(originals)):
            alike = split.labels[distance:] == split.labels[:-distance]
            assert alike.mean() == pytest.approx(0.1, abs=0.015)  # five standard deviations of 10,000 draws
