"""Recovery points in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import PointEntry
from llmvault.catalog.records import RecoveryPointRow


def put(session: Session, entry: PointEntry) -> None:
    """Insert or replace a recovery point."""
    values = asdict(entry) | {"sources": [dict(source) for source in entry.sources]}
    session.merge(RecoveryPointRow(**values))


def listed(session: Session, plan: str | None) -> tuple[PointEntry, ...]:
    """Return recovery points, of one plan or all, newest first."""
    query = select(RecoveryPointRow).order_by(col(RecoveryPointRow.started).desc())
    if plan is not None:
        query = query.where(RecoveryPointRow.plan == plan)
    rows = session.exec(query).all()
    return tuple(PointEntry(**{**row.model_dump(), "sources": tuple(row.sources)}) for row in rows)


def ids(session: Session, host: str) -> set[str]:
    """Return the ids of a host's recovery points."""
    query = select(RecoveryPointRow.id).where(RecoveryPointRow.host == host)
    return set(session.exec(query).all())
