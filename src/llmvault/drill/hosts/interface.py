"""What a scratch host does for a drill: a fresh private place, destroyed whatever happens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class ScratchHost(Protocol):
    """Where a drill restores to."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def sweep(self) -> tuple[str, ...]:
        """Destroy what drills that died have left behind, and return the names."""

    def free_bytes(self) -> int:
        """Return how many bytes can be restored to."""

    def scratch(self, drill: str) -> AbstractContextManager[Path]:
        """Yield a fresh private directory that is destroyed when the context is left.

        Raises:
            RefusedError: when the place equals, contains or lies in anything live.
            UnavailableError: when it cannot be written to.
        """
