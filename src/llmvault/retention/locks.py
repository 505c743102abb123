"""What retention asks of storage that locks what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from llmvault.retention.model import LockDates


class Locks(Protocol):
    """Tells until when the storage of a repository refuses to remove what only a snapshot uses."""

    def dates(self, snapshots: Mapping[str, Sequence[str]]) -> Mapping[str, LockDates]:
        """Return the lock dates of each repository.

        A snapshot is locked as long as any object is that would be freed with it: its own file, and
        packs that no other snapshot uses. Where that cannot be told apart, the latest date of all
        objects that it may use. Dates that cannot be looked at are ``known=False``, never an error.

        Args:
            snapshots: repository -> ids of its snapshots.
        """
