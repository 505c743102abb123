"""Drills in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import DrillEntry
from llmvault.catalog.records import DrillRow


def put(session: Session, entry: DrillEntry) -> None:
    """Insert or replace a drill."""
    session.merge(DrillRow(**asdict(entry) | {"phases": dict(entry.phases)}))


def listed(session: Session, plan: str | None) -> tuple[DrillEntry, ...]:
    """Return drills, of one plan or all, newest first."""
    query = select(DrillRow).order_by(col(DrillRow.started).desc())
    if plan is not None:
        query = query.where(DrillRow.plan == plan)
    return tuple(DrillEntry(**row.model_dump()) for row in session.exec(query).all())
