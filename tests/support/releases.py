"""A small framework in several releases, as wheels in a folder: what a package index would have."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

# It takes (1 + REPEATS) times numpy's time, and what a release does when it is imported and before its first step.
FRAMEWORK = """
REPEATS = {repeats}
{on_import}

def prepare():
    {before_step}
"""
LANE = """
from impls.lanes import Implementation

PACER = Implementation(
    name="pacer", trainer="pacer_mlp:PacerTrainer", environment="pacer", packages=(("pacer", "pacer"),)
)
"""
TRAINER = """
import pacer
from impls.interface import Trainer
from impls.numpy_mlp import NumpyTrainer


class PacerTrainer(Trainer):
    def __init__(self, workload, data, device):
        self._inner, self._other = NumpyTrainer(workload, data, device), NumpyTrainer(workload, data, device)
        pacer.prepare()

    def load(self, params):
        self._inner.load(params)
        self._other.load(params)

    def run(self, steps, first=0):
        for _ in range(pacer.REPEATS):
            self._other.run(steps, first)
        return self._inner.run(steps, first)

    def params(self):
        return self._inner.params()
"""


@dataclass(frozen=True)
class Releases:
    """A folder of wheels, and the environment variables with which pip and uv look nowhere else."""

    folder: Path

    def download_numpy(self) -> None:
        """Put numpy into the folder, without which no worker starts: the release that the tests themselves have."""
        wanted = f"numpy=={np.__version__}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", wanted]
        subprocess.run([*command, "--dest", str(self.folder)], check=True)

    def publish(
        self,
        version: str,
        *,
        repeats: int = 0,
        on_import: str = "",
        before_step: str = "pass",
        requires: str = "numpy",
    ) -> None:
        """Add a release of the framework."""
        about = f"pacer-{version}.dist-info"
        files = {
            "pacer.py": FRAMEWORK.format(repeats=repeats, on_import=on_import, before_step=before_step),
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: pacer\nVersion: {version}\nRequires-Dist: {requires}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
        with zipfile.ZipFile(self.folder / f"pacer-{version}-py3-none-any.whl", "w") as wheel:
            for name, text in {**files, f"{about}/RECORD": record}.items():
                wheel.writestr(name, text)

    @staticmethod
    def install_lane(folder: Path) -> Path:
        """Write the framework's lane into ``folder``, as a package that is installed where that is on the path."""
        about = folder / "lane_of_pacer-1.0.dist-info"
        about.mkdir(parents=True)
        (folder / "pacer_lane.py").write_text(LANE)
        (folder / "pacer_mlp.py").write_text(TRAINER)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lane-of-pacer\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[samenet.implementations]\npacer = pacer_lane:PACER\n")
        return folder

    @property
    def variables(self) -> dict[str, str]:
        """What makes this folder the only index."""
        folder = str(self.folder)
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder, "UV_NO_INDEX": "1", "UV_FIND_LINKS": folder}


def without_uv() -> str:
    """Return a PATH on which there is no uv."""
    paths = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(path for path in paths if not os.access(os.path.join(path, "uv"), os.X_OK))  # noqa: PTH118
