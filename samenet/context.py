"""What was measured, and where: what all cases of a campaign have in common, as it is saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from impls.workload import Workload  # noqa: TC001  # msgspec reads the annotations


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set that was trained on.

    Attributes:
        name: which images.
        source: where they came from; of a local folder the name alone.
        sha256: checksum of the contents.
    """

    name: str
    source: str = "unknown"
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a case's rounds are rounds of.

    Attributes:
        protocol: ``iterations``, ``scaling`` or ``epochs``.
        iterations: updates in a round.
        workload: what is computed.
        fingerprint: 12 hex digits of the workload; equal in two results that are compared.
        step_flops: flop, of the matrix products of a step.
        data: the data set.
        threads: CPUs, and threads, of each case.
    """

    protocol: str
    iterations: int
    workload: Workload
    fingerprint: str
    step_flops: float = 0.0
    data: Data
    threads: int

    def __post_init__(self) -> None:
        """Refuse what no campaign has.

        Raises:
            ValueError: there are no iterations, or no threads.
        """
        if self.iterations < 1 or self.threads < 1:
            raise ValueError(f"{self.iterations} iterations on {self.threads} threads cannot be measured")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a reader must know of the machine.

    Attributes:
        hardware: ``cpu``, ``architecture``, ``cpus_present``, ``cpus_used``, ``memory_gib`` (GiB), ``gpus`` (models).
        fingerprint: 12 hex digits of the hardware; equal in two runs that are compared.
        cpus: the CPUs used, as the kernel numbers them.
        cpu_quota: CPUs, that the cgroup allows this process; None where no limit is known.
        system: kernel and libc.
        governor: what sets the clock of the CPUs used; all of them where CPUs have different ones.
        microcode: the revision that CPU 0 runs.
        virtualised: whether the CPUs report a hypervisor.
        gpu_driver: the version of NVIDIA's driver.
        load_average: of one minute, before the campaign.
        environment: the variables that can change a time and that workers got from the harness's environment; of paths
            only the last names, and six hex digits that differ where the paths do.
        host: what a fleet calls it; None outside of a fleet.
    """

    hardware: dict[str, Any]
    fingerprint: str
    cpus: tuple[int, ...] = ()
    cpu_quota: float | None = None
    system: str = "unknown"
    governor: str | None = None
    microcode: str | None = None
    virtualised: bool = False
    gpu_driver: str | None = None
    load_average: float | None = None
    environment: dict[str, str] = field(default_factory=dict)
    host: str | None = None
