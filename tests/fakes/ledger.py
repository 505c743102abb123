"""A ledger in memory; see ``llmvault.ledger.interface``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmvault.core.canonical import canonical_bytes


@dataclass
class MemoryLedger:
    """Keeps entries in a list."""

    entries: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def append(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Keep an entry; facts that are not JSON are refused as the real ledger refuses them."""
        canonical_bytes(dict(facts))
        self.entries.append((kind, dict(facts)))
        return len(self.entries) - 1
