"""The project's files: what is installed, what tox and pre-commit use."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from typing import Any

import yaml

from samenet.environments import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
LIBRARY = ("impls", "reports", "samenet")


def group(name: str) -> set[str]:
    """Return the requirements of a dependency group, with those of the groups that it includes."""
    requirements: set[str] = set()
    for entry in PROJECT["dependency-groups"][name]:
        requirements |= group(entry["include-group"]) if isinstance(entry, dict) else {entry}
    return requirements


def test_tox_has_what_an_installed_package_requires() -> None:
    """Only dependency groups are installed by tox, and they cannot refer to the requirements of the package."""
    extras = PROJECT["project"]["optional-dependencies"]
    required = {*PROJECT["project"]["dependencies"], *extras["data"], *extras["gpu"]}
    assert group("engine") == required
    assert group("reports") == required | set(extras["reports"])


def test_pre_commit_and_tox_lint_with_the_same_versions() -> None:
    """A commit that pre-commit accepts passes ``tox run -e lint``."""
    revisions = {repository["repo"].rpartition("/")[2]: repository["rev"] for repository in HOOKS["repos"]}
    pinned = dict(requirement.replace("[all]", "").split("==") for requirement in group("lint"))
    assert revisions["ruff-pre-commit"] == f"v{pinned['ruff']}"
    assert revisions["codespell"] == f"v{pinned['codespell']}"
    assert revisions["validate-pyproject"] == f"v{pinned['validate-pyproject']}"


def test_every_file_of_the_library_is_installed() -> None:
    """``pip install .`` leaves out a folder or a template that pyproject.toml does not name."""
    setup: dict[str, Any] = PROJECT["tool"]["setuptools"]
    include = setup["packages"]["find"]["include"]
    for name in LIBRARY:
        folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / name).rglob("*.py")}
        assert all(any(fnmatch(folder, pattern) for pattern in include) for folder in folders), folders
        others = {path.name for path in (ROOT / name).glob("*.*") if path.suffix != ".py"}
        assert others == set(setup["package-data"].get(name, ()))
