"""A small framework in several releases, as wheels in a folder: what a package index would have."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

# Besides numpy's step, a release does what it is made to do: exponentials of 20,000 numbers in each step (10 µs),
# loops of about a millisecond before the first one, and memory that it fills.
FRAMEWORK = """
EXPONENTIALS, LOOPS = {exponentials}, {loops}
BALLAST = b"x" * {ballast}
{on_import}

def prepare():
    for _ in range(LOOPS):
        sum(range(50_000))
"""
LANE = """
from impls.lanes import Implementation

PACER = Implementation(
    name="pacer", trainer="pacer_mlp:PacerTrainer", environment="pacer", packages=(("pacer", "pacer"),)
)
"""
TRAINER = """
import numpy as np
import pacer
from impls.interface import Trainer
from impls.numpy_mlp import NumpyTrainer


class PacerTrainer(Trainer):
    def __init__(self, workload, data, device):
        self._numpy = NumpyTrainer(workload, data, device)
        self._numbers, self._out = np.zeros((2, 20_000), np.float32)
        pacer.prepare()

    def load(self, params):
        self._numpy.load(params)

    def run(self, steps, first=0):
        losses = [self._step(step) for step in range(first, first + steps)]
        return np.concatenate(losses)

    def _step(self, step):
        for _ in range(pacer.EXPONENTIALS):
            np.exp(self._numbers, out=self._out)
        return self._numpy.run(1, step)

    def params(self):
        return self._numpy.params()
"""


@dataclass(frozen=True)
class Releases:
    """A folder of wheels, and the environment variables with which pip and uv look nowhere else."""

    folder: Path

    def download_numpy(self) -> None:
        """Put numpy into the folder, without which no worker starts: the release that the tests themselves have."""
        wanted = f"numpy=={np.__version__}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", wanted]
        subprocess.run([*command, "--dest", str(self.folder)], check=True)  # noqa: S603

    def publish(
        self,
        version: str,
        *,
        exponentials: int = 0,
        loops: int = 0,
        ballast: int = 0,
        on_import: str = "",
        requires: str = "numpy",
    ) -> None:
        """Add a release of the framework, which fills ``ballast`` bytes."""
        about = f"pacer-{version}.dist-info"
        files = {
            "pacer.py": FRAMEWORK.format(exponentials=exponentials, loops=loops, ballast=ballast, on_import=on_import),
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
