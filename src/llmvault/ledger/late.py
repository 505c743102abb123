"""A ledger that is opened when something is first appended: cryptography takes time to import."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmvault.ledger.interface import Ledger


@dataclass
class LateLedger:
    """Opens the real ledger at the first append; safe in threads."""

    open: Callable[[], Ledger]
    _opened: Ledger | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def append(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Append an entry; see :class:`Ledger`."""
        with self._lock:
            if self._opened is None:
                self._opened = self.open()
        return self._opened.append(kind, facts)
