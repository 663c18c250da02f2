"""What a reader must know of this machine, with a fingerprint of its hardware."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from typing import TYPE_CHECKING, Any

from samenet.context import Machine
from samenet.machine import cgroups, files, gpu
from samenet.worker_environment import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence


def describe(cpus: Sequence[int]) -> Machine:
    """Return the record of this machine, on which ``cpus`` are used; to be called while it is still idle."""
    cpuinfo = files.read_fields(files.PROC / "cpuinfo")
    hardware = describe_hardware(cpus, cpuinfo)
    return Machine(
        hardware=hardware,
        fingerprint=fingerprint(hardware),
        cpus=tuple(cpus),
        cpu_quota=cgroups.cpu_quota(os.getpid()),
        system=platform.platform(),
        governor=governor(cpus),
        microcode=cpuinfo.get("microcode"),
        virtualised="hypervisor" in cpuinfo.get("flags", "").split(),
        gpu_driver=gpu.driver(),
        load_average=load_average(),
        environment=recorded(os.environ),
        host=os.environ.get("SAMENET_HOST") or None,
    )


def governor(cpus: Sequence[int]) -> str | None:
    """Return what sets the clock of ``cpus``, all of them where they have different ones, or None if it is unknown."""
    folders = [files.SYS / f"devices/system/cpu/cpu{cpu}/cpufreq" for cpu in cpus]
    return ", ".join(sorted({files.read_text(folder / "scaling_governor") for folder in folders} - {""})) or None


def describe_hardware(cpus: Sequence[int], cpuinfo: dict[str, str]) -> dict[str, Any]:
    """Return what has to be equal before two runs may be compared."""
    # As /proc shows it, and not sysconf: in a container lxcfs changes /proc alone.
    memory = files.read_fields(files.PROC / "meminfo").get("MemTotal")
    return {
        "cpu": cpuinfo.get("model name") or arm_name(cpuinfo) or platform.processor(),
        "architecture": platform.machine(),
        "cpus_present": os.sysconf("SC_NPROCESSORS_ONLN"),  # os.cpu_count() follows PYTHON_CPU_COUNT
        "cpus_used": len(cpus),
        "memory_gib": round(int(memory.split()[0]) / 2**20) if memory else None,  # of KiB
        "gpus": gpu.models(),
    }


def arm_name(cpuinfo: dict[str, str]) -> str:
    """Return what an ARM processor says instead of its name, such as ``ARM implementer 0x41, part 0xd0c``."""
    names = ("implementer", "part", "variant", "revision")
    known = [f"{name} {cpuinfo[f'CPU {name}']}" for name in names if cpuinfo.get(f"CPU {name}")]
    return f"ARM {', '.join(known)}" if known else ""


def fingerprint(hardware: dict[str, Any]) -> str:
    """Return 12 hex digits that are the same for equal hardware."""
    return hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:12]


def load_average() -> float | None:
    """Return the load of the last minute, or None where the system does not count it."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
