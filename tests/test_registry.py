"""The registry: what every lane says about itself, and that another package can add one."""

from __future__ import annotations

import configparser
import json
import re
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

from impls import jax_lanes, theano_lanes, torch_lanes
from impls.lanes import MANIFEST, Case, Device, Implementation, Lane
from impls.registry import ENTRY_POINTS, bounds, cases, load, own_implementations, peaks
from impls.workload import Workload
from samenet.environments import ROOT
from tests.support.command_line import HIDDEN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import Bench

PAGE = ROOT / "docs" / "add-your-framework.md"
NAMES = {implementation.name: implementation for implementation in own_implementations()}
NUMPY = NAMES["numpy"]


def foreign(**fields: Any) -> Implementation:
    """Return an implementation as another package would describe it."""
    return Implementation(name="mine", trainer="mine:Mine", environment="mine", packages=(), **fields)


@pytest.mark.parametrize("implementation", own_implementations(), ids=lambda implementation: implementation.name)
def test_every_manifest_answers_every_key(implementation: Implementation) -> None:
    """Nothing that a reader must know is left out of our own."""
    assert list(implementation.manifest) == list(MANIFEST)
    assert "unknown" not in implementation.manifest.values()


def test_a_foreign_manifest_has_the_same_keys() -> None:
    """A key that another package leaves out reads "unknown", and a key of its own is an error."""
    assert foreign(manifest={"blas": "its own"}).manifest == dict.fromkeys(MANIFEST, "unknown") | {"blas": "its own"}
    with pytest.raises(ValueError, match="mine's manifest has colour; its keys are: blas, "):
        foreign(manifest={"colour": "blue"})


def test_a_foreign_lane_may_be_plain_text() -> None:
    """Text that names a lane becomes one, and any other text is an error."""
    assert foreign(lane="tuned").lane is Lane.TUNED
    with pytest.raises(ValueError, match="quick"):
        foreign(lane="quick")


def test_the_cases_are_in_the_order_of_every_report() -> None:
    """The baseline comes first, and a plain lane before the tuned ones of its framework."""
    names = [case.implementation.name for case in cases() if case.implementation.name in NAMES]
    assert list(dict.fromkeys(names)) == [
        *("numpy", "numpy-tuned", "cpp", "numba", "numba-tuned", "autograd", "scikit-learn", "cupy"),
        *("torch", "torch-compile", "torch-cudagraph", "triton", "lightning", "lightning-tuned"),
        *("jax", "jax-scan", "flax", "flax-scan", "equinox", "equinox-scan"),
        *("keras-jax", "keras-jax-scan", "keras-tensorflow", "keras-torch", "tensorflow", "tensorflow-xla"),
        *("paddle", "paddle-tuned", "mlx", "mlx-openblas", "onnxruntime", "tinygrad"),
        *("theano", "theano-tuned", "pytensor", "pytensor-jax", "mxnet"),
    ]
    assert [bound.name for bound in bounds()] == ["numpy-matmul", "numpy-rows-matmul", "torch-matmul", "jax-matmul"]
    assert [peak.name for peak in peaks()] == ["fma-peak"]


@pytest.mark.parametrize(
    ("text", "device"),
    [("cpu", Device("cpu")), ("cuda", Device("cuda")), ("cuda:1", Device("cuda", 1)), ("cuda:12", Device("cuda", 12))],
)
def test_a_device_is_its_text(text: str, device: Device) -> None:
    """Reading and writing are inverse, and the first device of a kind needs no number."""
    assert Device.parse(text) == device
    assert str(device) == text
    assert device.is_gpu == (text != "cpu")
    assert Device.parse("cuda:0") == Device("cuda")


@pytest.mark.parametrize("text", ["", ":1", "cuda:", "cuda:one", "cuda:-1", "cuda:1:2", "cuda:²"])
def test_text_that_is_not_a_device_is_an_error(text: str) -> None:
    """The message quotes the text and says what a device looks like."""
    with pytest.raises(ValueError, match=re.escape(f"{text!r} is not a device; write ")):
        Device.parse(text)


def test_a_manifest_has_the_constants_of_the_code() -> None:
    """The lengths of the loops are those that the trainers use."""
    loops = {name: implementation.manifest["loop"] for name, implementation in NAMES.items()}
    assert f"{jax_lanes.LENGTHS[0]} steps" in loops["jax-scan"]
    assert f"{theano_lanes.CHUNK:,} steps" in loops["theano-tuned"]
    assert f"{torch_lanes.CHUNK} steps" in loops["torch-cudagraph"] == loops["triton"]


def test_a_manifest_on_a_gpu_replaces_single_values() -> None:
    """The rest is that of the CPU."""
    implementation = foreign(manifest={"blas": "A", "loop": "Python"}, manifest_on_gpu={"blas": "B"})
    on_cpu, on_gpu = (Case(implementation, Device(kind)).manifest for kind in ("cpu", "cuda"))
    assert (on_cpu["blas"], on_gpu["blas"]) == ("A", "B")
    assert on_cpu | {"blas": "B"} == on_gpu


@pytest.mark.parametrize(
    "implementation", own_implementations() + bounds() + peaks(), ids=lambda implementation: implementation.name
)
def test_tox_installs_what_a_lane_needs(implementation: Implementation) -> None:
    """Every distribution of ``packages`` has a pin in the environment of the lane."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    lines = tox[f"testenv:{implementation.environment}"]["deps"].splitlines()
    pinned = {re.split(r"[\[=]", line)[0] for line in lines if "==" in line}
    assert {distribution.lower() for _, distribution in implementation.packages} <= pinned


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("missing_module:LANE", "its entry point in another package cannot be loaded (ModuleNotFoundError: No module"),
        ("impls.lanes:MANIFEST", "its entry point in another package cannot be loaded (AttributeError: 'dict' object"),
        ("impls.numpy_lanes:IMPLEMENTATIONS[0]", "its entry point in another package cannot be loaded (AttributeError"),
        ("tests.test_registry:NUMPY", "another package has an implementation numpy, and so has another package;"),
    ],
)
def test_a_foreign_implementation_that_cannot_be_used_is_skipped(value: str, reason: str) -> None:
    """It costs the others nothing, and its case says why."""
    made = load(EntryPoint("mine", value, ENTRY_POINTS), NAMES)
    assert made.name == "another package:mine"
    assert Case(made, Device("cpu")).unsupported(Workload()).startswith(f"unsupported: {reason}")


@pytest.mark.alone
def test_the_pages_example_is_measured_from_outside(bench: Bench, tmp_path: Path) -> None:
    """The files of the page, saved as it says, become a valid case; the trainer is shorter than 60 lines."""
    blocks: list[tuple[str, str]] = re.findall(r"```(python|toml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (_, trainer), (_, line), (_, entry) = blocks
    assert sum(len(text.splitlines()) for _, text in blocks) < 60
    site = tmp_path / "site"
    information = site / "mine-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "mine_mlp.py").write_text(trainer)
    (site / "mine.py").write_text(line)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    group, name = entry.replace("[project.entry-points.", "[").splitlines()
    (information / "entry_points.txt").write_text(f"{group}\n{name}\n".replace('"', ""))
    result = bench.quiet("-k", "mine", *HIDDEN, "--benchmark-save=mine", PYTHONPATH=str(site))
    assert result.returncode == 0, result.stdout
    (path,) = tmp_path.glob("**/*_mine.json")
    saved: dict[str, Any] = json.loads(path.read_text())
    (case,) = saved["benchmarks"]
    assert case["extra_info"]["state"] == "valid"
    assert case["extra_info"]["manifest"] == dict.fromkeys(MANIFEST, "unknown") | {
        "precision": "float32",
        "blas": "OpenBLAS",
        "fast_math": "no",
    }
