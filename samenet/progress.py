"""Who is shown what a campaign is doing."""

from __future__ import annotations

from typing import Protocol, Self


class Progress(Protocol):
    """Shows the progress of a campaign; a context manager."""

    def __enter__(self) -> object:
        """Begin to show it."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self, total: int | None) -> None:
        """A campaign of ``total`` pieces of work begins; None if their number is unknown."""

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""

    def skip(self) -> None:
        """One piece of work had been done before."""


class NullProgress:
    """Shows nothing, and keeps the texts in ``texts``."""

    def __init__(self) -> None:
        """Begin without texts."""
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self, total: int | None) -> None:
        """Ignore how much there is."""

    def advance(self, text: str) -> None:
        """Keep the text."""
        self.texts.append(text)

    def skip(self) -> None:
        """Ignore what had been done before."""
