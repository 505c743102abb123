"""Legal holds in the catalog."""

from __future__ import annotations

from sqlmodel import Session, col, select

from llmvault.catalog.records import HoldRow


def put(session: Session, identity: str, document: str) -> None:
    """Insert or replace a hold."""
    session.merge(HoldRow(id=identity, document=document))


def listed(session: Session) -> tuple[str, ...]:
    """Return the documents of all holds."""
    rows = session.exec(select(HoldRow).order_by(col(HoldRow.id))).all()
    return tuple(row.document for row in rows)
