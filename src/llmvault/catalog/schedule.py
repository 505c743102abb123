"""Runs of jobs, and the hosts of the fleet, in the catalog."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select, update

from llmvault.catalog.model import (
    DrillEntry,
    HostEntry,
    NewestPoint,
    PointEntry,
    RunEntry,
    SilentHost,
)
from llmvault.catalog.records import DrillRow, HostRow, JobRunRow, RecoveryPointRow


def put_run(session: Session, entry: RunEntry) -> None:
    """Insert or replace a run."""
    session.merge(JobRunRow(**asdict(entry)))


def claim_run(session: Session, entry: RunEntry, expected: int | None) -> bool:
    """Take a run for its host, or return False when another has it.

    Args:
        expected: the attempt that is there and ended; None when there must be no run yet.
    """
    if expected is None:
        if session.get(JobRunRow, entry.id) is not None:
            return False
        session.add(JobRunRow(**asdict(entry)))
        session.flush()
        return True
    done = session.exec(
        update(JobRunRow)
        .where(
            col(JobRunRow.id) == entry.id,
            col(JobRunRow.attempt) == expected,
            col(JobRunRow.outcome) != "running",
        )
        .values(**asdict(entry))
    )
    return done.rowcount == 1


def newest_runs(session: Session, owners: Collection[str], until: datetime) -> tuple[RunEntry, ...]:
    """Return the newest run of every job of some owners; none that began after `until`."""
    newest = (
        select(JobRunRow.owner, JobRunRow.job, func.max(col(JobRunRow.scheduled)).label("at"))
        .where(col(JobRunRow.owner).in_(owners), col(JobRunRow.started) <= until)
        .group_by(col(JobRunRow.owner), col(JobRunRow.job))
        .subquery()
    )
    rows = session.exec(
        select(JobRunRow).join(
            newest,
            (col(JobRunRow.owner) == newest.c.owner)
            & (col(JobRunRow.job) == newest.c.job)
            & (col(JobRunRow.scheduled) == newest.c.at),
        )
    ).all()
    return tuple(RunEntry(**row.model_dump()) for row in rows)


def put_host(session: Session, entry: HostEntry) -> None:
    """Insert or replace a host."""
    session.merge(HostRow(**asdict(entry)))


def host(session: Session, name: str) -> HostEntry | None:
    """Return a host, or None."""
    row = session.get(HostRow, name)
    return HostEntry(**row.model_dump()) if row else None


def hosts(session: Session) -> tuple[HostEntry, ...]:
    """Return the hosts by name."""
    rows = session.exec(select(HostRow).order_by(col(HostRow.name))).all()
    return tuple(HostEntry(**row.model_dump()) for row in rows)


def silent_hosts(session: Session, now: datetime, beats: int) -> tuple[SilentHost, ...]:
    """Return the hosts that told nothing for more than some heartbeats, by name."""
    rows = session.exec(
        select(HostRow.name, HostRow.seen, HostRow.heartbeat_s).order_by(col(HostRow.name))
    ).all()
    return tuple(
        SilentHost(name, seen)
        for name, seen, heartbeat in rows
        if (now - seen).total_seconds() > beats * heartbeat
    )


def first_host(session: Session, now: datetime, beats: int) -> str | None:
    """Return the first host by name of those that told something within some heartbeats."""
    query = select(HostRow.name, HostRow.seen, HostRow.heartbeat_s).order_by(col(HostRow.name))
    there = (
        name
        for name, seen, heartbeat in session.exec(query)
        if (now - seen).total_seconds() <= beats * heartbeat
    )
    return next(there, None)


def runs_between(session: Session, begin: datetime, end: datetime) -> tuple[RunEntry, ...]:
    """Return the runs of jobs of all hosts that began in a period, the oldest first."""
    query = (
        select(JobRunRow)
        .where(col(JobRunRow.started) >= begin, col(JobRunRow.started) < end)
        .order_by(col(JobRunRow.started))
    )
    return tuple(RunEntry(**row.model_dump()) for row in session.exec(query).all())


def newest_points(
    session: Session, until: datetime, host: str | None = None
) -> tuple[NewestPoint, ...]:
    """Return the newest recovery point of each verdict of every plan: of a host, or of all."""
    columns = (RecoveryPointRow.host, RecoveryPointRow.plan, RecoveryPointRow.verdict)
    query = (
        select(*columns, func.max(col(RecoveryPointRow.started)))
        .where(col(RecoveryPointRow.started) <= until)
        .group_by(*(col(column) for column in columns))
    )
    if host is not None:
        query = query.where(col(RecoveryPointRow.host) == host)
    return tuple(NewestPoint(*row) for row in session.exec(query).all())


def newest_point(session: Session, plan: str, host: str, until: datetime) -> PointEntry | None:
    """Return the newest recovery point of a plan that began until a moment, or else the newest.

    Those of the host come first; without any, those of other hosts count. Each question is one that
    an index answers, however many there are.
    """
    of_plan = select(RecoveryPointRow).where(RecoveryPointRow.plan == plan)
    newest_first = col(RecoveryPointRow.started).desc()
    past = col(RecoveryPointRow.started) <= until
    for query in (of_plan.where(RecoveryPointRow.host == host), of_plan):
        for one in (query.where(past), query):
            row = session.exec(one.order_by(newest_first).limit(1)).first()
            if row is not None:
                return PointEntry(**{**row.model_dump(), "sources": tuple(row.sources)})
    return None


def newest_drill(session: Session, plan: str, host: str) -> DrillEntry | None:
    """Return the newest drill of a plan; one of the host, or else of another."""
    of_plan = select(DrillRow).where(DrillRow.plan == plan)
    for query in (of_plan.where(col(DrillRow.host).in_((host, ""))), of_plan):
        row = session.exec(query.order_by(col(DrillRow.started).desc()).limit(1)).first()
        if row is not None:
            return DrillEntry(**row.model_dump())
    return None


def newest_drills(session: Session, host: str | None = None) -> tuple[DrillEntry, ...]:
    """Return the newest drill of each verdict of every plan: of a host, or of all."""
    columns = (DrillRow.host, DrillRow.plan, DrillRow.verdict)
    newest = select(*columns, func.max(col(DrillRow.started)).label("at")).group_by(
        *(col(column) for column in columns)
    )
    if host is not None:
        newest = newest.where(col(DrillRow.host) == host)
    found = newest.subquery()
    rows = session.exec(
        select(DrillRow).join(
            found,
            (col(DrillRow.host) == found.c.host)
            & (col(DrillRow.plan) == found.c.plan)
            & (col(DrillRow.verdict) == found.c.verdict)
            & (col(DrillRow.started) == found.c.at),
        )
    ).all()
    return tuple(DrillEntry(**row.model_dump()) for row in rows)
