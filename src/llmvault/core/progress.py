"""Progress as the slices tell it; the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far work has come. Calls may come from several threads."""

    def start(self, task: str, total: int | None) -> None:
        """A task begins; `total` in bytes, None when unknown."""

    def advance(self, task: str, done: int) -> None:
        """`done` bytes of a task are behind us, counted from its start."""

    def finish(self, task: str, note: str = "") -> None:
        """A task ended; `note` says how, in a few words."""


class Silent:
    """Tells nobody."""

    def start(self, task: str, total: int | None) -> None:
        """Ignore."""

    def advance(self, task: str, done: int) -> None:
        """Ignore."""

    def finish(self, task: str, note: str = "") -> None:
        """Ignore."""
