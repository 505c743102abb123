"""What the ledger holds, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was recorded.

    Attributes:
        index: its place in the ledger, from 0.
        kind: ``noun.event``.
        at: when it was appended, UTC.
        host: who appended it.
        facts: JSON values.
        data: the bytes that are hashed: canonical JSON of all but the index.
    """

    index: int
    kind: str
    at: datetime
    host: str
    facts: Mapping[str, Any]
    data: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the ledger: what a checkpoint says.

    Attributes:
        origin: names the ledger.
        size: how many entries it has.
        root: 32 bytes, the root of the Merkle tree over them.
    """

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head and the signed note that states it."""

    head: Head
    note: str
