"""Who is shown what a campaign is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from samenet.results import Results


class Progress(Protocol):
    """Shows the progress of a campaign; a context manager."""

    def __enter__(self) -> object:
        """Begin to show it."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self) -> None:
        """A campaign begins."""

    def advance(self, text: str) -> None:
        """The next piece of work begins: ``text`` says which."""

    def preview(self, results: Results) -> None:
        """Some cases have started, and these are their first figures, which are not in the results."""

    def show(self, results: Results) -> None:
        """A launch has ended, and these are the results so far."""


class NullProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def start(self) -> None:
        """Ignore that it begins."""

    def advance(self, text: str) -> None:
        """Ignore the text."""

    def preview(self, results: Results) -> None:
        """Ignore the first figures."""

    def show(self, results: Results) -> None:
        """Ignore the results so far."""


def say_nothing(text: str) -> None:
    """Discard a line."""
    del text


def counted(count: int, what: str) -> str:
    """Return how many there are, such as ``2 hosts``."""
    return f"{count} {what}{'' if count == 1 else 's'}"
