"""The fleet file: how Dask reaches the hosts, and where each of them has what a campaign needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from samenet.environments import ROOT
from samenet.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of TLS, in PEM, with the same paths on each host: an authority's, and a certificate with its key."""

    ca_file: str
    cert: str
    key: str


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fleet file says; without one, a fleet is this machine.

    Attributes:
        cluster: ``local``, ``ssh``, ``slurm``, the path of another of Dask's cluster classes, such as
            ``dask_kubernetes.operator.KubeCluster``, or the address of a running scheduler, ``tls://host:8786``.
        options: the arguments of that class, as they are; of an address, those of ``distributed.Client``.
        tls: with which all of Dask's connections are encrypted; without it none may leave a machine.
        hosts: how many hosts there are.
        folder: the checkout of samenet on each host; ~ and $NAMES are the host's.
        python: the interpreter there that runs pytest, from ``folder``.
        environments: tox environments that each host makes before it measures, such as ``numpy`` and ``bench``.
        variables: environment variables of the campaign, such as SAMENET_DATA.
        wait_seconds: how long to wait for the hosts, and for one that went away.
        limit_seconds: how long a campaign may take on a host.
    """

    cluster: str = "local"
    options: dict[str, Any] = {}  # msgspec copies it
    tls: Tls | None = None
    hosts: int = 1
    folder: str = str(ROOT)
    python: str = ".tox/bench/bin/python"
    environments: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    wait_seconds: float = 300.0
    limit_seconds: float = 4 * 3600.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is too small.
        """
        if self.hosts < 1 or self.wait_seconds <= 0 or self.limit_seconds <= 0:
            raise ValueError("hosts is 1 or more, and wait_seconds and limit_seconds are more than 0")


def read_fleet(path: Path | None) -> Fleet:
    """Read a fleet file, or return the fleet that is this machine.

    Raises:
        SettingsError: it cannot be read, or has a field or a value that no fleet file has.
    """
    if path is None:
        return Fleet()
    try:
        fleet: Fleet = msgspec.yaml.decode(path.read_bytes(), type=Fleet)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; write one as docs/fleets.md says") from None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path}: {error}; docs/fleets.md has the fields of a fleet file") from None
    except ImportError:
        raise SettingsError("a fleet needs Dask; run: python -m pip install --group fleet") from None
    return fleet
