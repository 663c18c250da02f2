"""The protocol "scaling": how a step grows with the hidden width and the batch; run only where it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.conftest import Session, hand_over
from impls.workload import Workload, parse_overrides

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from impls.registry import Case

HIDDEN = (100, 250, 500, 1000, 2000, 4000)
BATCH_SIZES = (32, 128, 600, 1024, 4096)
SIZES = [f"hidden={hidden}" for hidden in HIDDEN] + [f"batch_size={rows}" for rows in BATCH_SIZES if rows != 600]
FEWEST = 10  # steps of a round, however large they are


def iterations(workload: Workload, wanted: int) -> int:
    """Return how many steps of ``workload`` do the work of ``wanted`` steps of the default one, ``wanted`` at most."""
    return max(min(FEWEST, wanted), min(wanted, wanted * Workload().step_flops // workload.step_flops))


@pytest.fixture(scope="session")
def scaled(request: pytest.FixtureRequest) -> Callable[[str, Case], dict[str, Any]]:
    """Return a function that runs one campaign for each size, with every selected case in it, and looks records up."""
    config = request.config
    selected: dict[str, list[Case]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "size" in item.callspec.params:
            params: dict[str, Any] = dict(item.callspec.params)
            selected.setdefault(params["size"], []).append(params["case"])
    sessions: dict[str, Session] = {}
    wanted, given = config.option.iterations, config.option.workload

    def record(size: str, case: Case) -> dict[str, Any]:
        if size not in sessions:
            described = ",".join(filter(None, (given, size)))
            workload = parse_overrides(Workload(), described)
            config.option.workload, config.option.iterations = described, iterations(workload, wanted)
            try:
                sessions[size] = Session(config)
                sessions[size].prepare(selected[size], protocol="scaling")
                sessions[size].measure()
            finally:
                config.option.workload, config.option.iterations = given, wanted
        return sessions[size].case_record(case)

    return record


@pytest.mark.parametrize("size", SIZES)
def test_scaling(
    case: Case,
    size: str,
    scaled: Callable[[str, Case], dict[str, Any]],
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Hand the case's rounds at this size to pytest-benchmark; or end with the case's reason."""
    record = scaled(size, case)
    benchmark.group = f"{record['iterations']} iterations of workload {record['fingerprint']}"
    seconds = [each["wall_seconds"] for each in record["rounds"] if not each["disturbance"]]
    hand_over(record, benchmark, request, seconds)
