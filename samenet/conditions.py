"""What two results must have in common to be compared."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samenet.context import Machine
    from samenet.results import CaseResult


@dataclass(frozen=True, order=True, kw_only=True)
class Conditions:
    """What has to be equal before two numbers may appear in one table.

    ``package`` is the one whose versions a campaign compared, "" for any other campaign; ``host`` is one of a fleet, ""
    outside of fleets.
    """

    protocol: str
    iterations: int
    workload: str
    precision: str
    data: str
    hardware: str
    threads: int
    package: str = ""
    host: str = ""

    def differences(self, other: Conditions) -> str:
        """Name what differs from ``other``."""
        names = [field.name for field in fields(self)]
        return ", ".join(name for name in names if getattr(self, name) != getattr(other, name))


def conditions(case: CaseResult, machine: Machine) -> Conditions:
    """Return what a case was measured under."""
    return Conditions(
        protocol=case.protocol,
        iterations=case.iterations,
        workload=case.fingerprint,
        precision=case.workload.precision,
        data=case.data.sha256,
        hardware=machine.fingerprint,
        threads=case.threads,
        package=case.asked_version.package if case.asked_version else "",
        host=machine.host or "",
    )
