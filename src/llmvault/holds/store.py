"""Holds as files of the state directory, and as rows of the catalog: whoever loses one has both.

A hold that either of them knows holds. It is released when either knows of its release, which is
only ever written after the approvals were demanded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.files import write_durably
from llmvault.holds.model import HoldRecord, record_json, record_of


class HoldRows(Protocol):
    """Where else holds are kept: the catalog."""

    def put_hold(self, identity: str, document: str) -> None:
        """Keep a hold's JSON document under its id, or replace it."""

    def holds(self) -> tuple[str, ...]:
        """Return every document."""


@dataclass(frozen=True, slots=True)
class HoldStore:
    """Every hold that this installation knows."""

    directory: Path
    rows: HoldRows

    def records(self) -> tuple[HoldRecord, ...]:
        """Return every hold, the oldest first; what only one place knew is written to the other.

        Raises:
            IntegrityError: when one cannot be read; then nobody knows what is held.
        """
        files = {
            record.hold.id: record
            for record in (
                _record(path.read_text(encoding="utf-8"), str(path))
                for path in sorted(self.directory.glob("*.json"))
            )
        }
        rows = {
            record.hold.id: record
            for record in (_record(text, "hold in the catalog") for text in self.rows.holds())
        }
        merged = {}
        for identity in files.keys() | rows.keys():
            known = [side[identity] for side in (files, rows) if identity in side]
            merged[identity] = next((one for one in known if one.release), known[0])
            if files.get(identity) != rows.get(identity):
                self.keep(merged[identity])
        return tuple(sorted(merged.values(), key=lambda one: (one.hold.placed, one.hold.id)))

    def active(self) -> tuple[HoldRecord, ...]:
        """Return the holds that hold."""
        return tuple(record for record in self.records() if record.release is None)

    def keep(self, record: HoldRecord) -> None:
        """Keep a hold, or its release, in both places; the file first."""
        data = canonical_bytes(record_json(record))
        write_durably(self.directory / f"{record.hold.id}.json", data)
        self.rows.put_hold(record.hold.id, data.decode())


def _record(text: str, where: str) -> HoldRecord:
    try:
        return record_of(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            where,
            f"this hold cannot be read: {error}",
            "bring it back from a copy of the state directory; nothing is deleted meanwhile",
        ) from error
