"""Where torch comes from: without an NVIDIA GPU from PyTorch's own index, since PyPI's wheels for Linux are for CUDA.

tox runs this file as a program, with the interpreter of an environment that has torch and nothing of samenet's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"  # as https://pytorch.org/get-started/locally has it
TIMEOUT_SECONDS = 5.0
DRIVER = Path("/proc/driver/nvidia/version")
WITHOUT_CUDA = "torch for CPUs, from {}: about 0.2 GB to download"
WITH_CUDA = "torch from PyPI brings CUDA's libraries, several GB"


def index_options() -> list[str]:
    """Return the options of pip and uv with which torch has no CUDA libraries, where they would be of no use.

    ``$SAMENET_TORCH_INDEX`` is another index to look in; where it cannot be reached there are no options.
    """
    index = os.environ.get("SAMENET_TORCH_INDEX") or INDEX
    return [] if DRIVER.exists() or not is_reachable(index) else [f"--extra-index-url={index}"]


def is_reachable(index: str) -> bool:
    """Return whether an index has torch, and answers at once."""
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=TIMEOUT_SECONDS):  # noqa: S310
            return True
    except (OSError, ValueError, HTTPException):
        return False


def main(arguments: list[str]) -> int:
    """Let pip install ``arguments``, and say first how much that is."""
    options = index_options()
    print(WITHOUT_CUDA.format(options[0].partition("=")[2]) if options else WITH_CUDA, flush=True)  # noqa: T201
    return subprocess.call([sys.executable, "-I", "-m", "pip", "install", *options, *arguments])  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
