"""Restores in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import RestoreEntry
from llmvault.catalog.records import RestoreRow


def put(session: Session, entry: RestoreEntry) -> None:
    """Insert or replace a restore."""
    values = asdict(entry) | {"sources": [dict(source) for source in entry.sources]}
    session.merge(RestoreRow(**values))


def listed(session: Session) -> tuple[RestoreEntry, ...]:
    """Return restores, newest first."""
    rows = session.exec(select(RestoreRow).order_by(col(RestoreRow.started).desc())).all()
    return tuple(
        RestoreEntry(**{**row.model_dump(), "sources": tuple(row.sources)}) for row in rows
    )
