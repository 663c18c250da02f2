"""torch is installed without CUDA's libraries where there is no NVIDIA GPU, and from PyPI where it has to be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from impls.lanes import Case, Device
from samenet import cpu_torch
from samenet.environments import ROOT
from samenet.package_environments import index_options, requests
from tests.support.workers import implementation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "2.13.0"
ON_CPU, ON_GPU = (Case(implementation("torch"), Device(kind)) for kind in ("cpu", "cuda"))


def publish(index: Path, name: str, version: str, requires: str = "") -> None:
    """Add an empty wheel to an index, which pip reads as a page of links."""
    stem = f"{name.replace('-', '_')}-{version}"
    about, file = f"{stem}.dist-info", f"{stem}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + requires
    (index / name).mkdir(parents=True)
    with zipfile.ZipFile(index / name / file, "w") as wheel:
        wheel.writestr(f"{about}/METADATA", metadata)
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    (index / name / "index.html").write_text(f'<a href="{file.replace("+", "%2B")}">{file}</a>')


@pytest.fixture
def pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip's own index have the torch for CUDA, with one of its libraries, and no GPU be here."""
    publish(tmp_path / "pypi", "torch", VERSION, "Requires-Dist: nvidia-cublas\n")
    publish(tmp_path / "pypi", "nvidia-cublas", "13.0")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "pypi").as_uri())
    monkeypatch.setattr(cpu_torch, "DRIVER", tmp_path / "absent")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve an index with the torch for CPUs, and return its URL."""
    publish(tmp_path / "cpu", "torch", f"{VERSION}+cpu")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "cpu"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("SAMENET_TORCH_INDEX", url)
        yield url
        server.shutdown()


def installed() -> str:
    """Return what tox's command would install, and says."""
    command = [sys.executable, "-P", str(ROOT / "samenet" / "cpu_torch.py"), "--dry-run", "--ignore-installed"]
    done = subprocess.run([*command, f"torch=={VERSION}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(cpu_torch.DRIVER.exists(), reason="there is an NVIDIA GPU")
def test_without_a_gpu_torch_has_no_cuda_libraries(pypi: None, index: str) -> None:
    """The wheel is that of PyTorch's index; its size is said first."""
    printed = installed()
    assert f"Would install torch-{VERSION}+cpu" in printed
    assert "nvidia" not in printed
    assert printed.startswith(f"torch for CPUs, from {index}: about 0.2 GB to download")


def test_where_its_index_cannot_be_reached_torch_comes_from_pypi(pypi: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses the connection, or takes it and never answers; what that means is said first."""
    monkeypatch.setattr(cpu_torch, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not cpu_torch.is_reachable(url)
        monkeypatch.setenv("SAMENET_TORCH_INDEX", url)
        assert cpu_torch.index_options() == []
    printed = installed()
    assert f"Would install nvidia-cublas-13.0 torch-{VERSION}\n" in printed
    assert printed.startswith("torch from PyPI brings CUDA's libraries, several GB")


def test_environments_in_the_cache_have_the_same_torch(pypi: None, index: str) -> None:
    """Those that --install and --versions make; a GPU's and those without torch do not look there."""
    wanted, jax = f"--extra-index-url={index}", Case(implementation("jax"), Device("cpu"))
    found = [index_options(case, requests(case, ROOT)[0]) for case in (ON_CPU, ON_GPU, jax)]
    assert found == [[wanted], [], []]
    assert wanted not in requests(ON_CPU, ROOT)[0]  # or an environment would be another one without a network


def test_with_a_gpu_torch_comes_from_pypi(
    pypi: None, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver is there, so CUDA's libraries are of use."""
    monkeypatch.setattr(cpu_torch, "DRIVER", tmp_path)
    assert cpu_torch.index_options() == []
