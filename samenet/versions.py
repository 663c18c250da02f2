"""Versions of one package, to be compared in one campaign: how they are asked for, and the cases that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from impls.lanes import PackageVersion
from samenet.errors import SettingsError
from samenet.installers import InstallError, known_releases

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
        """Read ``package==version,version,...`` or a range, which is the newest release of each minor version in it.

        The first version is the reference, unless another one is named.

        Raises:
            SettingsError: ``text`` has another form, or names fewer than two versions, or the reference is none of
                them, or a range cannot be looked up.
        """
        name, equals, listed = text.partition("==")
        if not equals and any(sign in text for sign in "<>"):
            return cls.of_range(text, reference)
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

    @classmethod
    def of_range(cls, text: str, reference: str | None = None, *, every: bool = False) -> Self:
        """Return the newest release of each minor version in a range, or ``every`` one, by the package index.

        Raises:
            SettingsError: it is no range, or the index cannot be asked or has no two such releases.
        """
        name, releases = look_up(text)
        chosen = releases if every else {each.release[:2]: each for each in releases}.values()
        if len(chosen) < 2:
            what = "releases" if every else "minor versions"
            raise SettingsError(f"the package index has no two {what} in {text}")
        return cls.parse(f"{name}=={','.join(map(str, chosen))}", reference)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        return f"{self.package}=={','.join(self.versions)}"

    def expand(self, cases: Iterable[Case]) -> list[Case]:
        """Return each of ``cases`` that runs on the package once for each version, and leave the others out.

        Raises:
            SettingsError: none of them does.
        """
        concerned = [case for case in cases if runs_on(case.implementation, self.package)]
        if not concerned:
            raise SettingsError(f"none of the selected cases runs on {self.package}")
        named = [PackageVersion(self.package, version) for version in self.versions]
        return [replace(case, version=version) for case in concerned for version in named]


def look_up(text: str) -> tuple[str, list[Version]]:
    """Return the package of a range, such as ``jax>=0.6,<=0.10.2``, and its releases in it, without pre-releases.

    Raises:
        SettingsError: it is no range, or the index cannot be asked.
    """
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        raise SettingsError(
            f"{text!r} names no versions; write a package and a range, such as jax>=0.6,<=0.10.2"
        ) from None
    refuse_python(wanted.name)
    try:
        releases = sorted(map(Version, known_releases(wanted.name)))
    except InstallError as error:
        raise SettingsError(
            f"the releases of {wanted.name} are not known: {error}; name the versions, such as {wanted.name}==1.0,1.1"
        ) from None
    return wanted.name, [each for each in releases if each in wanted.specifier and not each.is_prerelease]


def refuse_python(package: str) -> None:
    """Refuse Python where releases have to be looked up.

    Raises:
        SettingsError: it is Python.
    """
    if canonicalize_name(package) == PYTHON:
        raise SettingsError(
            "Python is in no package index; compare versions by name, as in --versions python==3.12,3.13"
        )


def releases_between(package: str, first: str, last: str) -> list[str]:
    """Return the releases of ``package`` from ``first`` to ``last``, without pre-releases, by the package index.

    Raises:
        SettingsError: the index cannot be asked, or one of the two is not in it.
    """
    refuse_python(package)
    try:
        known = {Version(each): each for each in known_releases(package)}
        low, high = Version(first), Version(last)
    except InstallError as error:
        raise SettingsError(f"the releases of {package} are not known: {error}") from None
    except InvalidVersion as error:
        raise SettingsError(f"{error}; write a version, such as 0.10.2") from None
    for end, text in ((low, first), (high, last)):
        if end not in known:
            raise SettingsError(f"the package index has no {package} {text} for this Python; choose another version")
    if low >= high:
        raise SettingsError(f"{first} is not older than {last}; give the older one first")
    chosen = sorted(each for each in known if low <= each <= high and (not each.is_prerelease or each in (low, high)))
    return [known[each] for each in chosen]


def mismatch(wanted: PackageVersion | None, found: Mapping[str, str]) -> str:
    """Return why a worker with the versions ``found`` has not the ``wanted`` one, or "" if it has it or none is."""
    if wanted is None:
        return ""
    number = {str(canonicalize_name(name)): version for name, version in found.items()}.get(wanted.package, "none")
    allowed = SpecifierSet(f"=={wanted.version}{'.*' if wanted.package == PYTHON else ''}", prereleases=True)
    if number in allowed:
        return ""
    return f"it was to have {wanted} and has {number}; does PYTHONPATH lead to another one?"


def other_differences(package: str, after: Mapping[str, str], before: Mapping[str, str]) -> str:
    """Return which versions differ, by name, besides that of ``package``, such as ``jaxlib 0.9.2, not 0.8.3``."""
    return ", ".join(
        f"{name} {after.get(name, 'none')}, not {before.get(name, 'none')}"
        for name in sorted({*before, *after} - {package})
        if after.get(name) != before.get(name)
    )


def runs_on(implementation: Implementation, package: str) -> bool:
    """Return whether another version of ``package`` can change ``implementation``."""
    return canonicalize_name(package) in IN_EVERY_LANE | own_packages(implementation)


def own_packages(implementation: Implementation) -> set[str]:
    """Return the normalized names of the packages that ``implementation`` is written for."""
    return {str(canonicalize_name(distribution)) for _, distribution in implementation.packages}
