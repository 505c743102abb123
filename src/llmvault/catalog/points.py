"""Recovery points in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import KnownPoint, PointEntry
from llmvault.catalog.records import RecoveryPointRow

_SOURCES = col(RecoveryPointRow.sources)


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


def known(session: Session) -> tuple[KnownPoint, ...]:
    """Return what decides about recovery points: thousands of them take no whole rows."""
    rows = session.exec(select(RecoveryPointRow.id, RecoveryPointRow.verdict, _SOURCES)).all()
    return tuple(
        KnownPoint(
            identity,
            verdict,
            {str(source["name"]): str(source.get("kind", "")) for source in sources},
        )
        for identity, verdict, sources in rows
    )


def ids(session: Session, host: str) -> set[str]:
    """Return the ids of a host's recovery points."""
    query = select(RecoveryPointRow.id).where(RecoveryPointRow.host == host)
    return set(session.exec(query).all())
