"""What was established of repositories, and when, in the catalog."""

from __future__ import annotations

from dataclasses import asdict

from sqlmodel import Session, col, select

from llmvault.catalog.model import ProofEntry
from llmvault.catalog.records import ProofRow


def put(session: Session, entry: ProofEntry) -> None:
    """Insert or replace a proof."""
    session.merge(ProofRow(**asdict(entry) | {"facts": dict(entry.facts)}))


def listed(session: Session, kind: str, repository: str | None) -> tuple[ProofEntry, ...]:
    """Return proofs of a kind, of one repository or all, newest first."""
    query = select(ProofRow).where(ProofRow.kind == kind).order_by(col(ProofRow.at).desc())
    if repository is not None:
        query = query.where(ProofRow.repository == repository)
    return tuple(ProofEntry(**row.model_dump()) for row in session.exec(query).all())
