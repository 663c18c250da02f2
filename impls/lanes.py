"""The types that describe a lane: how the workload is trained, on which device, and what its speed depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from impls.devices import Monitor, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.devices import Kind
    from impls.workload import Workload

# The keys of every manifest, each with the question that its value answers.
MANIFEST = {
    "blas": "which library computes the matrix products",
    "threads": "which threads share the work",
    "compile": "what is compiled, by what, and when",
    "fast_math": "whether arithmetic may be reordered or approximated",
    "donation": "whether the new weights reuse the memory of the old ones",
    "loop": "what runs the loop over the steps",
    "loss": "how softmax and cross-entropy are computed",
    "accumulation": "in which precision sums are computed",
}
UNKNOWN = "unknown"
COMPILED = {"SAMENET_COMPILED": "{folder}"}  # the variable of those lanes that compile C or C++


class Lane(StrEnum):
    """Whose code a lane is: what the framework's documentation teaches, or what its experts would write."""

    PLAIN = "plain"
    TUNED = "tuned"


@dataclass(frozen=True)
class Device:
    """Where a case runs; ``kind`` is ``cpu`` or one of ``KINDS``, ``index`` counts the devices of that kind."""

    kind: str
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the device that ``text`` names, such as ``cpu`` or ``cuda:1``.

        Raises:
            ValueError: ``text`` is not of that form.
        """
        kind, colon, index = text.partition(":")
        if not kind or (colon and not (index.isascii() and index.isdigit())):
            raise ValueError(f"{text!r} is not a device; write a kind or kind:number, such as cpu or cuda:1")
        return cls(kind, int(index or 0))

    def __str__(self) -> str:
        """Return the text that ``parse`` reads; the first device of a kind has no number."""
        return f"{self.kind}:{self.index}" if self.index else self.kind

    @property
    def is_gpu(self) -> bool:
        """Whether it is anything but a CPU."""
        return self.kind != "cpu"

    @property
    def about(self) -> Kind:
        """What frameworks call devices of its kind."""
        return kind_of(self.kind)

    @property
    def has_nvml(self) -> bool:
        """Whether NVML knows it, and reports what it does."""
        return self.about.monitor is Monitor.NVML

    @property
    def in_worker(self) -> Self:
        """The device as its worker knows it: the only one of its kind that the worker sees."""
        return type(self)(self.kind) if self.is_gpu else self

    @property
    def in_torch(self) -> str:
        """What torch calls it."""
        return f"{self.about.torch}:{self.index}" if self.index else self.about.torch


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One way to train the workload.

    Another package adds its own as an entry point of the group ``samenet.implementations``. The entry point names an
    ``Implementation``, and the module that holds it must not import the framework.

    Attributes:
        name: the first part of its cases' ids.
        trainer: ``module:class`` of its ``Trainer``.
        environment: the tox environment that runs it.
        packages: what must be importable there, as (import name, distribution name); besides numpy and the standard
            library, the trainer's module may import these packages only.
        devices: the kinds of device that it has cases for.
        prerequisites: what a machine must have before tox can create the environment.
        lane: plain or tuned.
        manifest: what a reader must know before comparing its speed with another's, by the keys of ``MANIFEST``; a
            key that is left out reads "unknown".
        manifest_on_gpu: the values of the manifest that differ on a GPU.
        precisions: the precisions besides float32 that its matrix products support, by kind of device.
        requires_fields: the value, or the values, that fields of the workload may have, where it does not support all.
        unavailable: why it cannot run on a kind of device on which a reader would look for it.
        remedies: what to do, by kind of device, where the framework finds no such device.
        variables: the environment variables that its workers start with besides those of every worker; in a value
            ``{folder}`` stands for a folder for what it compiles and ``{threads}`` for the number of threads.
        backend: the implementation that it is written on top of, over which a report shows its overhead.
        shares_work: whether its work on a CPU is shared among as many threads as it was given, in a network of the
            book's size or larger; if it says so and fewer threads work, it has no number.

    Raises:
        ValueError: a manifest has a key that is not in ``MANIFEST``, or there is no such lane.
    """

    name: str
    trainer: str
    environment: str
    packages: tuple[tuple[str, str], ...]
    devices: tuple[str, ...] = ("cpu",)
    prerequisites: str = ""
    lane: Lane = Lane.PLAIN
    manifest: Mapping[str, str] = field(default_factory=dict, hash=False)
    manifest_on_gpu: Mapping[str, str] = field(default_factory=dict, hash=False)
    precisions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    requires_fields: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict, hash=False)
    unavailable: Mapping[str, str] = field(default_factory=dict, hash=False)
    remedies: Mapping[str, str] = field(default_factory=dict, hash=False)
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    backend: str = ""
    shares_work: bool = True

    def __post_init__(self) -> None:
        """Give every manifest the same keys, so that any two can be compared."""
        surplus = {*self.manifest, *self.manifest_on_gpu} - set(MANIFEST)
        if surplus:
            raise ValueError(
                f"{self.name}'s manifest has {', '.join(sorted(surplus))}; its keys are: {', '.join(MANIFEST)}"
            )
        filled = {key: self.manifest.get(key, UNKNOWN) for key in MANIFEST}
        object.__setattr__(self, "manifest", filled)  # the class is frozen
        object.__setattr__(self, "lane", Lane(self.lane))  # other packages may write "tuned"

    def unsupported(self, workload: Workload) -> str:
        """Return why ``workload`` cannot be trained by this implementation on any device, or ""."""
        for name, value in self.requires_fields.items():
            supported = (value,) if isinstance(value, str) else value
            if getattr(workload, name) not in supported:
                return f"unsupported: {self.name} supports only {name} {' or '.join(supported)}"
        return ""


@dataclass(frozen=True)
class PackageVersion:
    """One version of a package, or of Python.

    Attributes:
        package: its normalized name, or ``python``.
        version: as it was asked for.
    """

    package: str
    version: str

    def __str__(self) -> str:
        """Return its name in ids and tables."""
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class Case:
    """An implementation on a device; its id, such as ``torch-cpu``, is the name of its test.

    ``version`` is set where versions of a package are compared: ``jax-cpu @ jax 0.9.2``.
    """

    implementation: Implementation
    device: Device
    version: PackageVersion | None = None

    @property
    def id(self) -> str:
        """The name of the case: ``<implementation>-<device>``, and the version if one was asked for."""
        return f"{self.implementation.name}-{self.device}" + (f" @ {self.version}" if self.version else "")

    @property
    def manifest(self) -> dict[str, str]:
        """The implementation's manifest on this device."""
        on_gpu = self.implementation.manifest_on_gpu if self.device.is_gpu else {}
        of_vendor = {"blas": self.device.about.blas} if self.device.about.blas else {}
        return {**self.implementation.manifest, **on_gpu, **of_vendor}

    def unsupported(self, workload: Workload) -> str:
        """Return why ``workload`` cannot be trained on this device, or ""."""
        kind = self.device.kind
        reason = self.implementation.unavailable.get(kind, "")
        if workload.precision not in ("float32", *self.implementation.precisions.get(kind, ())):
            reason = f"{self.implementation.name} does not support {workload.precision} on {kind}"
        return f"unsupported: {reason}" if reason else self.implementation.unsupported(workload)
