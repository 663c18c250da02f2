"""What the cgroups of a process (version 1 and 2) allow it of the CPUs, and how long they have stopped it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from samenet.machine import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def cpu_quota(pid: int) -> float | None:
    """Return how many CPUs the cgroups of process ``pid`` allow it, or None where no limit is known.

    Cgroups are nested, and each limits all that is below it: the smallest quota counts.
    """
    quotas = [quota for folder in cpu_folders(pid) if (quota := read_quota(folder)) is not None]
    return min(quotas, default=None)


def throttled_nanoseconds(pid: int, also: Iterable[Path] = ()) -> dict[Path, int]:
    """Return how long each cgroup of process ``pid``, and of the folders ``also``, has been stopped so far (CPU ns).

    A cgroup counts only what its own quota has stopped, hence its parents' too.
    """
    counts = {}
    for folder in {*also, *cpu_folders(pid)}:
        lines = (line.split() for line in files.read_text(folder / "cpu.stat").splitlines())
        fields = {words[0]: files.whole_number(words[1]) for words in lines if len(words) == 2}
        nanoseconds, microseconds = fields.get("throttled_time"), fields.get("throttled_usec")
        if nanoseconds is not None:  # version 1
            counts[folder] = nanoseconds
        elif microseconds is not None:
            counts[folder] = microseconds * 1000
    return counts


def read_quota(folder: Path) -> float | None:
    """Return the CPUs that one cgroup allows, or None without a limit."""
    words = files.read_text(folder / "cpu.max").split()  # version 2: "150000 100000", or "max 100000"
    words = words or [files.read_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    numbers = [files.whole_number(word) for word in words]  # of "max" and of -1: None
    return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[0] and numbers[1] else None


def cpu_folders(pid: int) -> list[Path]:
    """Return the folders of the cgroups that limit the CPU time of ``pid``: its own, and all above it that show."""
    paths = cgroup_paths(pid)
    found: list[Path] = []
    for version, root, mount in cpu_mounts():
        folder = own_folder(pid, paths[version], root, mount) if version in paths else None
        if folder:
            found += [above for above in (folder, *folder.parents) if above.is_relative_to(mount)]
    return list(dict.fromkeys(found))


def cgroup_paths(pid: int) -> dict[str, str]:
    """Return the path of the cgroup of ``pid`` in the hierarchy of version 1 that has its CPUs, and in version 2."""
    lines = (line.split(":", 2) for line in files.read_text(files.PROC / str(pid) / "cgroup").splitlines())
    paths = {}
    for number, controllers, path in (fields for fields in lines if len(fields) == 3):
        if "cpu" in controllers.split(","):
            paths["cgroup"] = path
        elif number == "0" and not controllers:
            paths["cgroup2"] = path
    return paths


def cpu_mounts() -> Iterator[tuple[str, str, Path]]:
    """Yield where hierarchies with CPUs are mounted: the version, the cgroup that is mounted, and the folder."""
    for line in files.read_text(files.PROC / "self/mountinfo").splitlines():
        where, _, what = line.partition(" - ")
        fields, (version, _, options) = where.split(" "), (*what.split(" "), "", "", "")[:3]
        if len(fields) > 4 and (version == "cgroup2" or (version == "cgroup" and "cpu" in options.split(","))):
            yield version, unescaped(fields[3]), Path(unescaped(fields[4]))


def unescaped(text: str) -> str:
    r"""Return a path of mountinfo, in which a space is ``\040``."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)


def own_folder(pid: int, path: str, root: str, mount: Path) -> Path | None:
    """Return the folder of cgroup ``path`` where ``mount`` shows cgroup ``root``, or None if it is not below that.

    Both are paths in this process's cgroup namespace.
    """
    below, above = path.split("/")[1:], root.split("/")[1:]
    below, above = [name for name in below if name], [name for name in above if name]
    while below and above and below[0] == above[0]:
        below, above = below[1:], above[1:]
    if above and set(above) == {".."}:
        # The namespace is newer than the mount, so that the names between the two do not show.
        folders = mount.glob("/".join("*" for _ in above))
        inside = (folder.joinpath(*below) for folder in folders)
        return next((folder for folder in inside if pid in files.read_integers(folder / "cgroup.procs")), mount)
    if above and below:
        return mount  # containers mount their own cgroup, and some show its path as the host names it
    return None if above or ".." in below else mount.joinpath(*below)
