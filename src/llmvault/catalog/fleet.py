"""What tells how the hosts of a fleet stand, asked in a few columns of many rows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlmodel import Session, col

from llmvault.catalog.model import FleetToday, HostToday, NewestDrill, NewestPoint
from llmvault.catalog.records import DrillRow, HostRow, RecoveryPointRow


def today(session: Session, until: datetime) -> FleetToday:
    """Return what tells how all hosts stand; recovery points that began after `until` do not count.

    Columns, not rows: of a thousand hosts' JSON only what they promise is read, and of recovery
    points only what an index holds.
    """
    host, point, drill = HostRow, RecoveryPointRow, DrillRow
    told = map(col, (host.name, host.seen, host.heartbeat_s, host.version, host.plans))
    findings = func.json_array_length(col(host.findings))
    hosts = session.execute(select(*told, findings).order_by(col(host.name)))
    kept = (col(point.host), col(point.plan), col(point.verdict))
    points = session.execute(
        select(*kept, func.max(col(point.started)))
        .where(col(point.verdict) == "proven", col(point.started) <= until)
        .group_by(*kept)
    )
    newest = (
        select(col(drill.host), col(drill.plan), func.max(col(drill.started)).label("at"))
        .group_by(col(drill.host), col(drill.plan))
        .subquery()
    )
    ended = map(col, (drill.host, drill.plan, drill.verdict, drill.rto_measured_s))
    drills = session.execute(
        select(*ended).join(
            newest,
            (col(drill.host) == newest.c.host)
            & (col(drill.plan) == newest.c.plan)
            & (col(drill.started) == newest.c.at),
        )
    )
    return FleetToday(
        tuple(HostToday(*row) for row in hosts),
        tuple(NewestPoint(*row) for row in points),
        tuple(NewestDrill(*row) for row in drills),
    )
