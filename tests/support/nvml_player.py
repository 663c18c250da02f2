"""Plays the situations of GPUs: ``python -m tests.support.nvml_player FOLDER``, under the fake NVML in FOLDER."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reports.sentences import gpu_remarks
from samenet.machine import gpu
from samenet.machine.gpu_watch import GpuWatch, Neighbours, caveats
from samenet.records import State
from tests.support.fake_nvml import CLEAN, write_answers
from tests.support.nvml_situations import SITUATIONS, Situation

PRECISIONS = ("float32", "tf32", "bfloat16")


def played(situation: Situation, answers: Path) -> dict[str, Any]:
    """Return what the harness's functions say in a situation, in the order in which a campaign asks them."""
    write_answers(answers, {**CLEAN, **situation.answers}, f"{situation.number} {os.getpid()}")
    os.environ["FAKE_NVML"] = str(answers)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if situation.chosen is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = situation.chosen
    gpu.unavailable.cache_clear()
    number, ours = situation.number, {os.getpid()}
    models = gpu.models()
    if reason := gpu.missing(number):
        return {"state": State.SKIPPED, "sentence": reason, "models": models}
    remarks, neighbours = caveats([number]), Neighbours(number, sleep=lambda _: None)
    neighbours.look(ours)
    worked: list[int] = []

    def work(steps: int) -> float:
        worked.append(steps)
        return 0.1

    gpu.warm_up(number, work)
    clock = iter((0.0, situation.seconds))  # so that shares are exact
    with patch.object(time, "perf_counter", lambda: next(clock)):
        watch = GpuWatch(neighbours, ours)
        time.sleep(situation.seconds)
        load = watch.stop()
    lost = gpu.lost(number)
    bounded = [precision for precision in PRECISIONS if gpu.peak(number, precision)]
    state, sentence = State.VALID, "; ".join(remarks + gpu_remarks("its case", [load]))
    if lost:
        state, sentence = State.FAILED, lost
    elif load.disturbance:
        state, sentence = load.disturbance.cause, load.disturbance.detail
    about = {"bounded": bounded, "models": models, "warm_ups": len(worked), "load": vars(load)}
    return {"state": state, "sentence": sentence, **about}


def main(folder: Path) -> None:
    """Play all situations and print what came of each, as JSON."""
    found = {each.name: played(each, folder / f"answers-{place}") for place, each in enumerate(SITUATIONS)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
