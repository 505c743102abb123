"""What the rest of llmvault asks of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Ledger(Protocol):
    """An append-only record.

    Whatever deletes, restores, releases or shreds appends an entry before it begins and one when it
    has ended, whatever the end was.
    """

    def append(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Append an entry and return its index, counted from 0; it is durable on return.

        Args:
            kind: ``noun.event``, e.g. ``drill.started``, ``retention.applied``, ``hold.added``.
            facts: JSON values only; no secret, no personal identifier (subjects as handles).

        Raises:
            UnavailableError: when it could not be written; what was to be recorded must not go on.
        """
