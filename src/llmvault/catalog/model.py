"""What the catalog tells, as frozen values; callers never see a database row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class PointEntry:
    """One recovery point as listed.

    Attributes:
        sources: per source name, kind, verdict, reason, files, bytes, snapshots.
    """

    id: str
    plan: str
    host: str
    started: datetime
    finished: datetime
    verdict: str
    files: int
    bytes: int
    sources: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """What decides about a recovery point.

    Attributes:
        kinds: source -> kind, of every source in it.
    """

    id: str
    verdict: str
    kinds: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DrillEntry:
    """One drill as listed; durations in seconds, None when not measured.

    Attributes:
        phases: ``fetch``, ``verify``, ``load``, ``first_answer``, ``total`` -> seconds.
        report: path of the HTML report.
        host: whose plan it is; empty for drills entered before hosts were told apart.
    """

    id: str
    plan: str
    recovery_point: str
    started: datetime
    verdict: str
    rto_objective_s: float
    rto_measured_s: float | None
    rpo_objective_s: float
    rpo_measured_s: float | None
    phases: Mapping[str, float]
    report: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class RestoreEntry:
    """One restore as listed."""

    id: str
    recovery_point: str
    started: datetime
    target: str
    verdict: str
    sources: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ProofEntry:
    """Something that was established of a repository.

    Attributes:
        kind: ``tamper``, ``verification``, ``lock`` or ``copy``.
        facts: JSON values, by kind.
    """

    id: str
    kind: str
    repository: str
    at: datetime
    verdict: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeletionEntry:
    """That a recovery point was deleted from a repository: what, when, why, by whose approval.

    Attributes:
        id: ``REPOSITORY/RECOVERY-POINT``.
        taken, deleted: when it was taken, and when it was deleted.
        run: digest of the plan that was approved.
        bytes_added: bytes that it added to the repository when it was taken.
        gone: before when its bytes cannot have left the storage: RFC 3339, ``unknown``, ``never``;
            empty when nothing kept them.
    """

    id: str
    retention_class: str
    repository: str
    recovery_point: str
    plan: str
    taken: datetime
    deleted: datetime
    why: str
    run: str
    approved_by: tuple[str, ...]
    bytes_added: int
    gone: str = ""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run of a job as listed; see ``llmvault.schedule.model.Run``."""

    id: str
    job: str
    kind: str
    owner: str
    host: str
    scheduled: datetime
    started: datetime
    finished: datetime | None
    attempt: int
    outcome: str
    missed: int
    detail: str


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host of the fleet, as its scheduler last told.

    Attributes:
        seen: when it last told.
        started: when its scheduler began.
        heartbeat_s: how often it tells, in seconds.
        plans: plan -> ``rpo_s``, ``rto_s``, ``sources`` (count), ``declared`` (RFC 3339).
        jobs: job -> ``kind``, ``owner``, ``next`` (RFC 3339).
        findings: what it knows to be wrong, as JSON values.
    """

    name: str
    seen: datetime
    started: datetime
    heartbeat_s: float
    version: str
    policy_digest: str
    plans: Mapping[str, Any]
    jobs: Mapping[str, Any]
    findings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class NewestPoint:
    """When the newest recovery point of a verdict was begun."""

    host: str
    plan: str
    verdict: str
    started: datetime


@dataclass(frozen=True, slots=True)
class NewestDrill:
    """How the newest drill of a plan ended."""

    host: str
    plan: str
    verdict: str
    rto_measured_s: float | None


@dataclass(frozen=True, slots=True)
class HostToday:
    """A host of the fleet in short; see :class:`HostEntry`.

    Attributes:
        findings: how many things it knows to be wrong.
    """

    name: str
    seen: datetime
    heartbeat_s: float
    version: str
    plans: Mapping[str, Any]
    findings: int


def in_short(host: HostEntry) -> HostToday:
    """Return a host without what it knows to be wrong."""
    found = len(host.findings)
    return HostToday(host.name, host.seen, host.heartbeat_s, host.version, host.plans, found)


def drill_in_short(drill: DrillEntry) -> NewestDrill:
    """Return how a drill ended."""
    return NewestDrill(drill.host, drill.plan, drill.verdict, drill.rto_measured_s)


@dataclass(frozen=True, slots=True)
class FleetToday:
    """What tells how the hosts of a fleet stand.

    Attributes:
        hosts: by name.
        points: the newest proven recovery point of each plan of each host.
        drills: the newest drill of each plan of each host.
    """

    hosts: tuple[HostToday, ...]
    points: tuple[NewestPoint, ...]
    drills: tuple[NewestDrill, ...]


@dataclass(frozen=True, slots=True)
class SilentHost:
    """A host that has told nothing since `seen`."""

    name: str
    seen: datetime
