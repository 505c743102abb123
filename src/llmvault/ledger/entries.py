"""Entries as bytes: canonical JSON, one object each. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.ledger.model import Entry


def entry_bytes(kind: str, facts: Mapping[str, Any], *, at: datetime, host: str) -> bytes:
    """Return what is hashed and kept of an entry.

    Raises:
        ValueError, TypeError: when the facts are not JSON.
    """
    when = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return canonical_bytes({"at": when, "facts": dict(facts), "host": host, "kind": kind})


def read_entry(index: int, data: bytes) -> Entry:
    """Read an entry.

    Raises:
        IntegrityError: when it is none of ours.
    """
    try:
        raw = json.loads(data)
        at = datetime.fromisoformat(raw["at"])
        return Entry(index, str(raw["kind"]), at, str(raw["host"]), raw["facts"], data)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"ledger entry {index}", "it is not in the documented form") from error
