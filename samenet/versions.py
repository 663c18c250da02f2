"""Versions of one package, to be compared in one campaign: how they are asked for, and the cases that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from impls.lanes import PackageVersion
from samenet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from impls.lanes import Case, Implementation

PYTHON = "python"
IN_EVERY_LANE = {PYTHON, "numpy"}  # what workers need besides the packages of their implementation


@dataclass(frozen=True)
class Versions:
    """Versions of ``package``, or of Python, which are compared with the ``reference``, one of them."""

    package: str
    versions: tuple[str, ...]
    reference: str

    @classmethod
    def parse(cls, text: str, reference: str | None = None) -> Self:
        """Read ``package==version,version,...``; the first version is the reference, unless another one is named.

        Raises:
            SettingsError: ``text`` has another form, or names fewer than two versions, or the reference is none of
                them.
        """
        name, _, listed = text.partition("==")
        versions = tuple(each.strip() for each in listed.split(","))
        try:
            package, known = canonicalize_name(name.strip(), validate=True), [Version(each) for each in versions]
        except (InvalidName, InvalidVersion):
            raise SettingsError(
                f"{text!r} names no versions; write a package and its versions, such as jax==0.8.3,0.9.2"
            ) from None
        if len(set(known)) < max(2, len(known)):
            raise SettingsError(f"{text!r} does not name two versions or more, each once, such as jax==0.8.3,0.9.2")
        chosen = versions[0] if reference is None else reference.strip()
        if chosen not in versions:
            raise SettingsError(f"the reference version {chosen!r} is not one of {', '.join(versions)}")
        return cls(package, versions, chosen)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        return f"{self.package}=={','.join(self.versions)}"

    def concerns(self, implementation: Implementation) -> bool:
        """Return whether ``implementation`` runs on the package."""
        return self.package in IN_EVERY_LANE | own_packages(implementation)

    def expand(self, cases: Iterable[Case]) -> list[Case]:
        """Return each of ``cases`` that runs on the package once for each version, and leave the others out.

        Raises:
            SettingsError: none of them does.
        """
        concerned = [case for case in cases if self.concerns(case.implementation)]
        if not concerned:
            raise SettingsError(f"none of the selected cases runs on {self.package}")
        named = [PackageVersion(self.package, version) for version in self.versions]
        return [replace(case, version=version) for case in concerned for version in named]


def mismatch(wanted: PackageVersion | None, found: Mapping[str, str]) -> str:
    """Return why a worker with the versions ``found`` has not the ``wanted`` one, or "" if it has it or none is."""
    if wanted is None:
        return ""
    number = {str(canonicalize_name(name)): version for name, version in found.items()}.get(wanted.package, "none")
    allowed = SpecifierSet(f"=={wanted.version}{'.*' if wanted.package == PYTHON else ''}", prereleases=True)
    if number in allowed:
        return ""
    return f"it was to have {wanted} and has {number}; does PYTHONPATH lead to another one?"


def own_packages(implementation: Implementation) -> set[str]:
    """Return the normalized names of the packages that ``implementation`` is written for."""
    return {str(canonicalize_name(distribution)) for _, distribution in implementation.packages}
