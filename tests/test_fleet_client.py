"""What the client makes of what hosts answer: simulated hosts behind a running scheduler of Dask."""

from __future__ import annotations

import re
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from tests.support.fleets import wait_until
from tests.support.saved_runs import failed, record, run, save
from tests.support.simulated_fleet import add_fields, make_hosts, start, workers

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("fleet")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a command and what it has printed; one that takes two minutes is killed."""
    end = Timer(120, process.kill)
    end.start()
    with process:
        output, _ = process.communicate()
    end.cancel()
    return process.returncode, output


def test_a_sweep_gets_past_bad_campaigns_and_a_busy_host(tmp_path: Path) -> None:
    """Each campaign is named once; no host that is fine is dropped for those that fail."""
    make_hosts(tmp_path, 2, 2, 0.1)
    (tmp_path / "busy-h1").touch()
    (tmp_path / "sweep.txt").write_text("--fail 1\n--fail 2\n--seed 1\n--seed 2\n")
    with workers(tmp_path, 2) as address:
        add_fields(tmp_path, cluster=address, limit_seconds=5)
        code, output = ended(start(tmp_path, "run", "--sweep", str(tmp_path / "sweep.txt")))
    assert code == 3
    assert "h1: busy, another campaign was measuring there until the limit" in output
    assert len(re.findall(r"h0: failed \(--fail [12]\), exit code 4: error: it is bad", output)) == 2
    assert len(re.findall(r"h0: done \(--seed [12]\)", output)) == 2
    assert re.search("plan .*: (?=.*1 busy)(?=.*2 failed)(?=.*2 done)", output), output


def test_a_host_answers_while_a_campaign_goes_on_without_its_client(tmp_path: Path) -> None:
    """Of a running scheduler, which does not end with a client that is killed."""
    make_hosts(tmp_path, 1, 1, 90)
    with workers(tmp_path, 1) as address:
        add_fields(tmp_path, cluster=address, wait_seconds=15)
        with start(tmp_path, "run") as process:
            wait_until(lambda: bool(list((tmp_path / "cache").glob("outbox/*/h0/*"))))
            process.kill()
            output, _ = process.communicate(timeout=60)
        (plan,) = re.findall("plan ([^:]+):", output)
        code, output = ended(start(tmp_path, "collect", "--plan", plan))
        assert (code, output) == (0, "h0: 0 files\n")
        code, output = ended(start(tmp_path, "check"))
        assert code == 0, output


def test_a_flawed_result_stays_flawed(tmp_path: Path) -> None:
    """Also where the plan is continued, and nothing is left to do."""
    make_hosts(tmp_path, 1, 0, 0.1)
    content = run(record("numpy"), failed("jax"), machine={"host": "h0"})
    save(tmp_path / "runs" / "h0", "0000", content)
    with workers(tmp_path, 1) as address:
        add_fields(tmp_path, cluster=address)
        code, output = ended(start(tmp_path, "run"))
        assert code == 1, output
        assert "h0: done, with a case that failed or became slower, jax-cpu is failed: it crashed" in output
        (plan,) = set(re.findall("plan ([^:]+):", output))
        code, output = ended(start(tmp_path, "run", "--plan", plan))
    assert code == 1, output
    assert "h0: all of the plan is saved already" in output
