"""The parts of the docs that are generated from the code."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from samenet.environments import ROOT
from tests.support.reference_docs import COMMAND, GENERATED, render, saved_types, split_docstring


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_generated_part_is_what_the_code_says(name: str) -> None:
    """Whoever changes an option, or a field of a saved type, regenerates the docs."""
    assert (ROOT / name).read_text(encoding="utf-8") == render(name), f"{name} is out of date; run: {COMMAND}"


@pytest.mark.parametrize("kind", [kind for kind in saved_types() if is_dataclass(kind)], ids=lambda kind: kind.__name__)
def test_every_saved_field_is_described_in_its_order(kind: type) -> None:
    """The docstring lists the fields that a class adds, and no others."""
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__annotations__", {})}
    own = [field.name for field in fields(kind) if field.name not in inherited]
    assert list(split_docstring(kind)[1]) == own
