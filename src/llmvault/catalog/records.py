"""The tables of the catalog. Times are aware UTC; structured columns are JSON.

The catalog is an index: recovery points can be indexed again from their manifests. SQLModel does
not validate tables on construction, so rows are only built by the query modules beside this one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, Index, TypeDecorator
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, also on databases that store times without a zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC without a zone."""
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return value.replace(tzinfo=UTC) if value else None


class RecoveryPointRow(SQLModel, table=True):
    """One recovery point."""

    __tablename__ = "recovery_point"
    __table_args__ = (Index("ix_recovery_point_newest", "host", "plan", "verdict", "started"),)

    id: str = Field(primary_key=True)
    plan: str = Field(index=True)
    host: str
    started: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    finished: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    verdict: str
    files: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    sources: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))


class DrillRow(SQLModel, table=True):
    """One drill."""

    __tablename__ = "drill"
    __table_args__ = (Index("ix_drill_newest", "host", "plan", "started"),)

    id: str = Field(primary_key=True)
    plan: str = Field(index=True)
    recovery_point: str = Field(index=True)
    started: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    verdict: str
    rto_objective_s: float
    rto_measured_s: float | None
    rpo_objective_s: float
    rpo_measured_s: float | None
    phases: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    report: str
    host: str = Field("", sa_column_kwargs={"server_default": ""})


class RestoreRow(SQLModel, table=True):
    """One restore."""

    __tablename__ = "restore"

    id: str = Field(primary_key=True)
    recovery_point: str = Field(index=True)
    started: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    target: str
    verdict: str
    sources: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))


class ProofRow(SQLModel, table=True):
    """Something that was established of a repository."""

    __tablename__ = "proof"

    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    repository: str = Field(index=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    verdict: str
    facts: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class HoldRow(SQLModel, table=True):
    """One legal hold, as the JSON document that its file holds too."""

    __tablename__ = "hold"

    id: str = Field(primary_key=True)
    document: str


class DeletionRow(SQLModel, table=True):
    """One recovery point that was deleted from one repository."""

    __tablename__ = "deletion"

    id: str = Field(primary_key=True)
    retention_class: str = Field(index=True)
    repository: str
    recovery_point: str = Field(index=True)
    plan: str
    taken: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    deleted: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    why: str
    run: str
    approved_by: list[str] = Field(sa_column=Column(JSON, nullable=False))
    bytes_added: int = Field(sa_type=BigInteger)
    gone: str = ""


class HostRow(SQLModel, table=True):
    """One host of the fleet."""

    __tablename__ = "host"

    name: str = Field(primary_key=True)
    seen: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    started: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    heartbeat_s: float
    version: str
    policy_digest: str
    plans: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    jobs: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    findings: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))


class JobRunRow(SQLModel, table=True):
    """One run of a job."""

    __tablename__ = "job_run"
    __table_args__ = (Index("ix_job_run_newest", "owner", "job", "scheduled"),)

    id: str = Field(primary_key=True)
    job: str
    kind: str
    owner: str
    host: str
    scheduled: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    started: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    finished: datetime | None = Field(sa_column=Column(UtcDateTime))
    attempt: int
    outcome: str
    missed: int
    detail: str
