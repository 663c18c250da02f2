"""Tables of runs: the machine, the history, which runs may be compared, and which files were left out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reports.document import Column, Row, Table, plain_rows
from reports.frame import history_frame
from reports.numbers import UNKNOWN, counted, figure, known, moment
from reports.sentences import measured_at, noise_sentence
from reports.settings import numbers, quota

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.storage import Group, Rejected, Slice

HISTORY_ROWS = 20


def circumstances(run: Slice) -> Table:
    """Return the machine, the data and the workload."""
    facts = machine_facts(run) | campaign_facts(run)
    columns = (Column("what", "machine"), Column("value", "machine"))
    rows = plain_rows(columns, [(name, known(value)) for name, value in facts.items()])
    return Table(name="machine", title="Machine and data", columns=columns, rows=rows)


def machine_facts(run: Slice) -> dict[str, Any]:
    """Return what is known of the machine; the driver only where there is a GPU to drive."""
    machine, load = run.machine, run.machine.load_average
    facts: dict[str, Any] = {f"hardware: {name}": value for name, value in machine.hardware.items() if value != []}
    facts |= {"hardware fingerprint": machine.fingerprint, "threads": run.cases[0].threads}
    facts |= {"CPUs": numbers(machine), "CPU quota": quota(machine), "system": machine.system}
    if machine.gpu_driver or machine.hardware.get("gpus"):
        facts["GPU driver"] = machine.gpu_driver
    facts |= {"virtual machine": machine.virtualised, "governor": machine.governor}
    facts["microcode"] = machine.microcode
    facts |= {"load average before": None if load is None else f"{load:.1f}"}
    return facts | {f"environment: {name}": value for name, value in machine.environment.items()}


def campaign_facts(run: Slice) -> dict[str, Any]:
    """Return what was measured, how much of it, and when."""
    case, campaign = run.cases[0], run.campaign
    facts: dict[str, Any] = {"data": f"{case.data.name}, sha256 {case.data.sha256}", "data source": case.data.source}
    facts |= {"workload fingerprint": case.fingerprint}
    facts |= {f"workload: {name}": value for name, value in asdict(case.workload).items() if name != "data"}
    facts |= {"protocol": case.protocol, "launches": counted(campaign.launches)}
    facts |= {"rounds a launch": counted(campaign.rounds)}
    facts |= {"seed of the order": campaign.seed, "measured in (s)": f"{campaign.wall_seconds:.0f}"}
    facts |= {"interrupted": campaign.interrupted, "unfinished": campaign.unfinished, "saved as": run.path}
    if run.noise_floor:
        facts["noise floor"] = noise_sentence(run.noise_floor).removeprefix("Noise floor: ")
    return facts | {"commit": run.commit.label, "measured at": moment(run.when)}


def history(group: Group) -> Table:
    """Return each run's figures, the newest first."""
    names = sorted({case.case for run in group.slices for case in run.cases})
    figures = (Column(f"{name} (s)", "history", numeric=True) for name in names)
    columns = (Column("measured at", "history"), Column("commit", "commits"), *figures)
    rows = []
    for run in reversed(group.slices[-HISTORY_ROWS:]):
        cells = {"measured at": measured_at(run), "commit": run.commit.label}
        cells |= {f"{case.case} (s)": figure(case.seconds) or str(case.state) for case in run.cases}
        rows.append(Row(cells))
    total = len(group.slices)
    notes = (f"The newest {HISTORY_ROWS} of {total:,} runs; the CSV has them all.",) if total > HISTORY_ROWS else ()
    return Table(
        name="history", title="History", columns=columns, rows=tuple(rows), notes=notes, numbers=history_frame(group)
    )


def groups(every: Sequence[Group]) -> Table:
    """Return the groups of runs, and what differs in each from the first."""
    about = ("newest", "hardware", "threads", "data", "workload", "precision", "protocol", "differs from group 1 in")
    columns = tuple(Column(name, "conditions", numeric=name == "threads") for name in ("group", "runs", *about))
    rows = [
        (
            str(number),
            f"{len(group.slices):,}",
            measured_at(group.newest),
            f"{group.newest.machine.hardware.get('cpu') or UNKNOWN} ({group.conditions.hardware})",
            str(group.conditions.threads),
            f"{group.newest.cases[0].data.name} ({group.conditions.data[:12]})",
            group.conditions.workload,
            group.conditions.precision,
            f"{group.conditions.protocol}, {group.conditions.iterations:,} iterations",
            group.conditions.differences(every[0].conditions),
        )
        for number, group in enumerate(every, 1)
    ]
    return Table(name="groups", title="What may be compared", columns=columns, rows=plain_rows(columns, rows))


def rejected(files: Sequence[Rejected]) -> Table:
    """Return the files that could not be used."""
    columns = (Column("file"), Column("why it is left out"))
    return Table(
        name="left-out",
        title="Files left out",
        columns=columns,
        rows=plain_rows(columns, [(str(f.path), f.reason) for f in files]),
    )
