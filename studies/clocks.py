"""Whether the host's clock agrees with the GPU's own, for ``python -m studies gpu`` and for the tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from samenet.environments import ROOT, find_interpreter
from samenet.machine.cpus import choose_cpus
from samenet.preparation import find_case
from samenet.worker_environment import environment_of

if TYPE_CHECKING:
    from pathlib import Path

    from impls.lanes import Case, Device

# Its arguments are the device and the number of steps. The host's clock is read before it synchronises: were ``run`` to
# return early, the ratio would be below 1.
CLOCKS = """
import statistics, sys, time
import numpy as np, torch
from impls.interface import Batches
from impls.lanes import Device
from impls.torch_mlp import TorchTrainer
from impls.workload import Workload, initial_params
workload, device, steps, rng = Workload(), Device(sys.argv[1]), int(sys.argv[2]), np.random.default_rng(0)
images, labels = rng.random((6000, 784), dtype=np.float32), rng.integers(0, 10, 6000).astype(np.int32)
trainer = TorchTrainer(workload, TorchTrainer.place(Batches(images, labels, 600), device), device)
trainer.load(initial_params(workload))
trainer.run(steps)
ratios = []
for repeat in range(5):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start = time.perf_counter()
    begin.record()
    trainer.run(steps)
    host_seconds = time.perf_counter() - start
    end.record()
    torch.cuda.synchronize()
    device_seconds = begin.elapsed_time(end) / 1000
    ratios.append(host_seconds / device_seconds)
    print(f"host {host_seconds:.4f} s, device {device_seconds:.4f} s, ratio {ratios[-1]:.4f}")
if abs(statistics.median(ratios) - 1) > 0.01:
    sys.exit("by their median the two clocks differ by more than 1 %")
"""


def interpreter(device: Device) -> str:
    """Return torch's own interpreter, which the script needs."""
    return str(find_interpreter(torch_on(device).implementation, {}, ROOT, device))


def environment(device: Device, folder: Path) -> dict[str, str]:
    """Return the variables of torch's worker, so that the device is the same one, and where the code is."""
    settings = environment_of(torch_on(device), len(choose_cpus(None)), folder)
    return settings | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), settings.get("PYTHONPATH"))))}


def torch_on(device: Device) -> Case:
    """Return torch's plain case on ``device``."""
    return find_case(f"torch-{device}")
