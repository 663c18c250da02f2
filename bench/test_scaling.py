"""The protocol "scaling": how a step grows with the hidden width and the batch; run only where it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from bench.options import amount
from bench.replay import hand_over
from bench.session import Session
from impls.workload import Workload, parse_overrides
from reports import tables

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


class Scaling:
    """One campaign for each size, with every selected case in it; a plugin that adds them up at the end."""

    def __init__(self, config: pytest.Config, selected: dict[str, list[Case]]) -> None:
        """Measure nothing yet."""
        self._config, self._selected = config, selected
        self.sessions: dict[str, Session] = {}

    def record(self, size: str, case: Case) -> dict[str, Any]:
        """Return the record of ``case`` at ``size``, which is measured at the first question."""
        if size not in self.sessions:
            option = self._config.option
            given = option.workload, option.iterations
            option.workload = ",".join(filter(None, (option.workload, size)))
            option.iterations = iterations(parse_overrides(Workload(), option.workload), amount(option).iterations)
            try:
                session = Session(self._config)
                session.prepare(self._selected[size], protocol="scaling")
                session.measure()
                self.sessions[size] = session
            finally:
                option.workload, option.iterations = given
        return self.sessions[size].case_record(case)

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add what the campaigns share; each case's own is in its ``extra_info``, and no bound belongs to all."""
        parts: list[dict[str, Any]] = []
        for session in self.sessions.values():
            own: dict[str, Any] = {}
            session.pytest_benchmark_update_json(own)
            parts += own.values()
        if not parts:
            return
        campaigns = [part["campaign"] for part in parts]
        campaign = campaigns[0] | {"iterations": max(each["iterations"] for each in campaigns)}
        campaign["interrupted"] = any(each["interrupted"] for each in campaigns)
        for key in ("wall_seconds", "startup_seconds", "measured_seconds"):
            campaign[key] = sum(each[key] for each in campaigns)
        without = [case for part in parts for case in part["cases_without_number"]]
        nothing = dict.fromkeys(("noise_floor", "against", "bound", "again"))
        output_json["samenet"] = parts[0] | nothing | {"campaign": campaign, "cases_without_number": without}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print each size's milliseconds of a step: one row a case."""
        terminalreporter.section("milliseconds of a step")
        rows: dict[str, dict[str, str]] = {}
        for size, session in self.sessions.items():
            for each in session.summary:
                step = each["seconds"]["value"] / each["iterations"] if each["state"] == "valid" else None
                rows.setdefault(each["case"], {"case": each["case"]})[size] = (
                    f"{1e3 * step:.3g}" if step else each["state"]
                )
        frame = pd.DataFrame(list(rows.values())).fillna("")
        terminalreporter.write_line(tables.as_text(tables.Table("scaling", "Scaling", frame)))


@pytest.fixture(scope="session")
def scaled(request: pytest.FixtureRequest) -> Callable[[str, Case], dict[str, Any]]:
    """Return the function that looks records up, and measures a size before its first."""
    selected: dict[str, list[Case]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "size" in item.callspec.params:
            params: dict[str, Any] = dict(item.callspec.params)
            selected.setdefault(params["size"], []).append(params["case"])
    scaling = Scaling(request.config, selected)
    request.config.pluginmanager.register(scaling, "samenet-scaling")
    return scaling.record


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
