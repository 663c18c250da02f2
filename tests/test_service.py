"""The worker's side of the protocol, in this process, with a trainer that records how it is called."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from impls.interface import Batches, Trainer
from impls.lanes import Device
from impls.worker import RequestError, Service, pack, serve, unpack
from tests.support.data import make_split

if TYPE_CHECKING:
    from impls.interface import Float32, Params
    from impls.workload import Workload

PLACED = np.zeros((0, 0), np.float32)
calls: list[tuple[object, ...]] = []


class Recorder(Trainer):
    """Notes what it gets, and trains nothing."""

    @staticmethod
    def place(data: Batches, device: Device) -> Batches:
        """Note how much is placed; return something that the constructor can be seen to have received."""
        calls.append(("place", data.images.shape, data.labels.shape, len(data), device))
        return replace(data, images=PLACED)

    def __init__(self, workload: Workload, data: Batches, device: Device) -> None:
        """Note whether the data are what ``place`` returned."""
        calls.append(("init", workload.batch_size, data.images is PLACED, device))

    def load(self, params: Params) -> None:
        """Note what is loaded."""
        calls.append(("load", len(params)))

    def run(self, steps: int, first: int = 0) -> Float32:
        """Note the range; its first update takes a tenth of a second."""
        calls.append(("run", steps, first))
        time.sleep(0.1 * (not first))
        return np.arange(first, first + steps, dtype=np.float32)

    def params(self) -> Params:
        """Return no weights."""
        return ()


class Requests:
    """A channel with a list of requests, which is closed after the last one."""

    def __init__(self, *requests: tuple[str, dict[str, Any]]) -> None:
        """Keep the requests."""
        self._requests = list(requests)
        self.replies: list[Any] = []

    def send(self, item: object) -> None:
        """Keep the reply."""
        self.replies.append(item)

    def receive(self) -> tuple[str, dict[str, Any]]:
        """Return the next request."""
        if not self._requests:
            raise EOFError
        return self._requests.pop(0)


LOAD = ("load_framework", {"trainer": f"{__name__}:Recorder"})


def build(device: str) -> tuple[str, dict[str, Any]]:
    """Return a request to build a trainer on 500 images in minibatches of 100."""
    split = make_split(500)
    arguments = {"workload": {"batch_size": 100}, "images": pack(split.images), "labels": pack(split.labels)}
    return "build", arguments | {"initial": [], "device": device}


def answer(*requests: tuple[str, dict[str, Any]]) -> list[Any]:
    """Serve ``requests`` and return the replies."""
    calls.clear()
    channel = Requests(*requests)
    with pytest.raises(EOFError):
        serve(channel)
    return channel.replies


def test_on_the_cpu_the_data_are_placed_once_and_no_transfer_is_reported() -> None:
    """The constructor gets what ``place`` returned."""
    _, reply = answer(LOAD, build("cpu"))
    cpu = Device("cpu")
    assert calls == [("place", (500, 784), (500,), 5, cpu), ("init", 100, True, cpu)]
    assert reply["transfer_seconds"] is None


def test_a_device_is_woken_by_one_minibatch_before_the_transfer_is_timed() -> None:
    """Then all data are placed, once, and the transfer is a part of the build."""
    _, reply = answer(LOAD, build("cuda:1"))
    gpu = Device("cuda", 1)
    first, whole = ("place", (100, 784), (100,), 1, gpu), ("place", (500, 784), (500,), 5, gpu)
    assert calls == [first, whole, ("init", 100, True, gpu)]
    assert 0 < reply["transfer_seconds"] <= reply["build_seconds"]


def test_requests_of_an_earlier_harness_are_understood() -> None:
    """It sends neither weights nor a first minibatch."""
    answer(LOAD, build("cpu"), ("reset", {}), ("run", {"steps": 3}))
    assert calls[2:] == [("load", 0), ("run", 3, 0)]


def test_a_lead_in_is_done_and_not_timed() -> None:
    """The losses are those of all updates, in their order."""
    *_, reply = answer(LOAD, build("cpu"), ("run", {"steps": 3, "lead_in": 2}))
    assert calls[2:] == [("run", 2, 0), ("run", 3, 2)]
    assert unpack(reply["losses"]).tolist() == [0, 1, 2, 3, 4]
    assert reply["wall_seconds"] < 0.1


@pytest.mark.parametrize("name", ["__init__", "_live", "__class__", "stop"])
def test_only_the_requests_of_the_protocol_are_served(name: str) -> None:
    """Anything else is an error that lists them."""
    with pytest.raises(
        ValueError, match=f"no request '{name}'; choose one of: load_framework, versions, devices, build, "
    ):
        serve(Requests((name, {})))


def test_compiled_code_that_cannot_be_loaded_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks end such an error in their own ways; the reason and the remedy are the worker's."""

    def fail(self: Service) -> None:
        raise ImportError("a.so: failed to map segment from shared object") from None

    def advise(self: Service) -> None:
        try:
            fail(self)
        except ImportError as error:
            raise RuntimeError("see the manual") from error

    advise.__name__ = "params"
    monkeypatch.setattr(Service, "params", advise)
    with pytest.raises(RequestError, match=r"failed to map segment .* mounted noexec; set TMPDIR"):
        serve(Requests(("params", {})))
