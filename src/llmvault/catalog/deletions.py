"""What retention deleted, in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import DeletionEntry
from llmvault.catalog.records import DeletionRow, RecoveryPointRow


def put(session: Session, entry: DeletionEntry) -> None:
    """Insert a deletion; one that is known stays as it is, since it happened then."""
    if session.get(DeletionRow, entry.id) is None:
        session.add(DeletionRow(**asdict(entry) | {"approved_by": list(entry.approved_by)}))


def listed(session: Session, retention_class: str | None) -> tuple[DeletionEntry, ...]:
    """Return deletions, of one class or all, newest first."""
    query = select(DeletionRow).order_by(col(DeletionRow.deleted).desc(), col(DeletionRow.id))
    if retention_class is not None:
        query = query.where(DeletionRow.retention_class == retention_class)
    return tuple(
        DeletionEntry(**{**row.model_dump(), "approved_by": tuple(row.approved_by)})
        for row in session.exec(query).all()
    )


def points(session: Session) -> frozenset[str]:
    """Return the ids of the recovery points that were deleted from some repository."""
    return frozenset(session.exec(select(DeletionRow.recovery_point)).all())


def forget_point(session: Session, recovery_point: str, repository: str) -> bool:
    """Take a repository off a recovery point; return whether no repository has it now."""
    row = session.get(RecoveryPointRow, recovery_point)
    if row is None:
        return True
    row.sources = [
        {
            **source,
            "snapshots": {
                name: snapshot
                for name, snapshot in source["snapshots"].items()
                if name != repository
            },
        }
        for source in row.sources
    ]
    if any(source["snapshots"] for source in row.sources):
        session.add(row)
        return False
    session.delete(row)
    return True
