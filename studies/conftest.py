"""Gives the plain suite samenet's options, without the hooks that start a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.options import add_options

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add samenet's options, of which the plain suite uses those that say what is timed and how often."""
    add_options(parser.getgroup("samenet", "samenet: the same network in every framework"))
