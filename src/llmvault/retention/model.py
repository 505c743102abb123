"""What is kept, what goes and why, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.spans import Span
from llmvault.core.units import format_time, parse_time
from llmvault.holds.model import Hold

FORMAT = "llmvault/retention-plan/1"
UNLIMITED = -1
UNKNOWN, NEVER = "unknown", "never"
MANIFEST = ""
INSTALLATION = "installation"

COUNTED = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
WITHIN = ("within_hourly", "within_daily", "within_weekly", "within_monthly", "within_yearly")


class Rank(IntEnum):
    """How much is known of a recovery point; more outranks less, whatever is newer."""

    FAILED = 0
    UNPROVEN = 1
    PROVEN = 2
    DRILLED = 3

    @property
    def words(self) -> str:
        """What it means, for people."""
        return {
            Rank.FAILED: "failed",
            Rank.UNPROVEN: "unproven",
            Rank.PROVEN: "backup proven",
            Rank.DRILLED: "proven by a drill",
        }[self]


@dataclass(frozen=True, slots=True)
class KeepRules:
    """Keep rules: see ``policy.retention.Keep``.

    Attributes:
        counts: rule of `COUNTED` -> how many, or `UNLIMITED`.
        within: everything this long before the newest; None for no such rule.
        within_by: rule of `WITHIN` -> span.
        tags: each a set of tags that a point must have all of.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    within: Span | None = None
    within_by: Mapping[str, Span] = field(default_factory=dict)
    tags: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What the policy says of one retention class: see ``policy.retention.RetentionClass``."""

    name: str
    basis: str
    keep: KeepRules
    minimum: int
    approval: str
    accept_newer: bool
    wait_for_lock: timedelta
    copies: KeepRules = field(default_factory=KeepRules)
    locked_for: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point in one repository: all its snapshots stay or go together.

    Attributes:
        time: when its manifest was stored; without one, its newest snapshot.
        snapshots: snapshot id -> name of the source, `MANIFEST` for the manifest's.
        complete: whether its manifest is there.
        rank: what is known of it.
        rank_reason: how that is known.
        sources: name -> kind of every source, as far as known.
        bytes_added: bytes that its snapshots added to the repository when they were taken.
    """

    id: str
    plan: str
    host: str
    time: datetime
    tags: tuple[frozenset[str], ...]
    snapshots: Mapping[str, str]
    complete: bool
    rank: Rank
    rank_reason: str
    sources: Mapping[str, str]
    bytes_added: int


@dataclass(frozen=True, slots=True)
class InstallationCopy:
    """A whole copy of an installation, one snapshot: all but its keys is recovered from the newest.

    Attributes:
        point: the snapshot, as what takes part in rules; of no plan.
        origin: names the ledger of the installation.
        entries: how many entries of the ledger it has.
    """

    point: Point
    origin: str
    entries: int


@dataclass(frozen=True, slots=True)
class LockDates:
    """Until when the storage of a repository keeps bytes that were deleted, as it says itself.

    A lock does not stop a deletion: what is locked is hidden, and its bytes stay until the lock has
    lapsed and the store removes old versions.

    Attributes:
        until: snapshot id -> time at the latest; a snapshot that is absent is not locked.
        known: whether the dates could be looked at; if not, nobody can say when bytes are gone.
        basis: how they are known, or why they are not, in words.
        stays_days: how long the store keeps what was replaced or hidden; None: for ever.
        demanded: whether the policy declares a lock.
        earliest: when the first lock of an object that is needed lapses; None when one has none.
        lapsed, unlocked: how many objects have a lock that has ended, or none.
    """

    until: Mapping[str, datetime]
    known: bool
    basis: str
    stays_days: int | None = 0
    demanded: bool = False
    earliest: datetime | None = None
    lapsed: int = 0
    unlocked: int = 0


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What was seen in one repository.

    Attributes:
        foreign: snapshots that are not llmvault's; they are never touched.
    """

    name: str
    points: tuple[Point, ...]
    copies: tuple[InstallationCopy, ...]
    foreign: int
    locks: LockDates


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """A retention class: its rules and its repositories."""

    rules: ClassRules
    repositories: tuple[RepositoryFacts, ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a retention plan depends on."""

    now: datetime
    classes: tuple[ClassFacts, ...]
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a recovery point stays or goes.

    Attributes:
        rule: ``last`` … ``yearly``, ``oldest …``, ``within …``, ``tag``; ``last-proven``,
            ``minimum``, ``needed``, ``hold``, ``running``, ``clock``; ``no-rule``, ``dead``,
            ``lock``; of copies of the installation also ``recovery`` and ``superseded``.
        text: in a sentence.
        until: when the reason ends, where that is known.
    """

    rule: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided of one recovery point in one repository.

    Attributes:
        gone: by then no lock is in the way of any of its bytes, whoever deletes them; before it
            some may be. None: no lock is. Only of points that go. What the store keeps of old
            versions comes on top: ``RepositoryPlan.stays_days``.
        gone_known: whether that could be found out.
    """

    point: Point
    keep: bool
    reasons: tuple[Reason, ...]
    gone: datetime | None
    gone_known: bool

    @property
    def why(self) -> str:
        """All reasons in one line."""
        return "; ".join(reason.text for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class CopyDecision(Decision):
    """What is decided of one copy of an installation.

    Attributes:
        origin, entries: of the copy.
    """

    origin: str
    entries: int


@dataclass(frozen=True, slots=True)
class RepositoryPlan:
    """What is decided of one repository."""

    name: str
    decisions: tuple[Decision, ...]
    copies: tuple[CopyDecision, ...]
    foreign: int
    locks_basis: str
    stays_days: int | None

    @property
    def going(self) -> tuple[Decision, ...]:
        """What goes, oldest first: recovery points, then copies of installations."""
        return tuple(one for one in (*self.decisions, *self.copies) if not one.keep)


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """What is decided of one class."""

    rules: ClassRules
    repositories: tuple[RepositoryPlan, ...]


@dataclass(frozen=True)
class RetentionPlan:
    """What stays and what goes, with reasons; its digest is what people approve.

    Attributes:
        findings: locks that are shorter than they must be; no part of the document.
    """

    classes: tuple[ClassPlan, ...]
    findings: tuple[str, ...] = ()

    @cached_property
    def document(self) -> dict[str, Any]:
        """The plan as JSON values: ``docs/formats/retention-plan.md``."""
        return plan_json(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes of the document."""
        return digest(self.document)

    @property
    def going(self) -> tuple[tuple[ClassPlan, RepositoryPlan, Decision], ...]:
        """Everything that goes."""
        return tuple(
            (kept, repository, decision)
            for kept in self.classes
            for repository in kept.repositories
            for decision in repository.going
        )


def rules_json(rules: ClassRules) -> dict[str, Any]:
    """Return a class's rules as JSON values."""
    return {
        "name": rules.name,
        "basis": rules.basis,
        "keep": _keep_json(rules.keep),
        "installation_copies": _keep_json(rules.copies),
        "minimum": rules.minimum,
        "approval": rules.approval,
        "accept_newer": rules.accept_newer,
    } | ({"locked_for": _seconds(rules.locked_for)} if rules.locked_for else {})


def _keep_json(keep: KeepRules) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: "unlimited" if count == UNLIMITED else count for name, count in keep.counts.items()
    }
    if keep.within:
        told["within"] = str(keep.within)
    told |= {name: str(span) for name, span in keep.within_by.items()}
    if keep.tags:
        told["tags"] = [",".join(sorted(tags)) for tags in keep.tags]
    return told


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def rules_words(rules: ClassRules) -> str:
    """Return what a class keeps, in words."""
    words = keep_words(rules.keep)
    words.append(f"at least {rules.minimum} sound ones of each plan")
    if rules.locked_for:
        words.append(f"each locked for {rules.locked_for.total_seconds() / 86400:g} days")
    return ", ".join(words)


def keep_words(keep: KeepRules) -> list[str]:
    """Return what each rule keeps, in words."""
    words = []
    for name, count in keep.counts.items():
        amount = "all" if count == UNLIMITED else f"{count}"
        words.append(f"the last {amount}" if name == "last" else f"{amount} {name}")
    if keep.within:
        words.append(f"all within {keep.within}")
    for name, span in keep.within_by.items():
        words.append(f"{name.removeprefix('within_')} within {span}")
    words.extend(f"tagged {' and '.join(sorted(tags))}" for tags in keep.tags)
    return words


def plan_json(plan: RetentionPlan) -> dict[str, Any]:
    """Return a plan as JSON values."""
    return {
        "format": FORMAT,
        "classes": [
            rules_json(kept.rules)
            | {"repositories": [_repository_json(one) for one in kept.repositories]}
            for kept in plan.classes
        ],
    }


def _repository_json(repository: RepositoryPlan) -> dict[str, Any]:
    return {
        "name": repository.name,
        "others": repository.foreign,
        "locks": repository.locks_basis,
        "old_versions_days": repository.stays_days,
        "recovery_points": [
            decision_json(decision, repository.stays_days) for decision in repository.decisions
        ],
        "installation_copies": copies_json(repository),
    }


def copies_json(repository: RepositoryPlan) -> list[dict[str, Any]]:
    """Return what is decided of copies of installations as JSON values."""
    return [
        {
            name: value
            for name, value in decision_json(one, repository.stays_days).items()
            if name not in ("plan", "rank")
        }
        | {"origin": one.origin, "entries": one.entries}
        for one in repository.copies
    ]


def decision_json(decision: Decision, stays_days: int | None) -> dict[str, Any]:
    """Return a decision as JSON values; `stays_days` as in :class:`LockDates`."""
    point = decision.point
    return {
        "id": point.id,
        "plan": point.plan,
        "host": point.host,
        "time": format_time(point.time),
        "rank": point.rank.words,
        "action": "keep" if decision.keep else "delete",
        "reasons": [
            {"rule": reason.rule, "text": reason.text}
            | ({"until": format_time(reason.until)} if reason.until else {})
            for reason in decision.reasons
        ],
        "snapshots": dict(point.snapshots),
        "bytes_added": point.bytes_added,
        "gone_not_before": None if decision.keep else gone_words(decision, stays_days),
    }


def gone_words(decision: Decision, stays_days: int | None) -> str:
    """Return when the bytes of what goes can be gone; the same whenever it is asked."""
    if not decision.gone_known:
        return UNKNOWN
    if stays_days is None:
        return NEVER
    if decision.gone:
        return format_time(decision.gone)
    return f"{stays_days} days after applied" if stays_days else "when applied"


def gone_after(
    snapshots: Mapping[str, str], locks: LockDates, deleted: datetime
) -> datetime | str | None:
    """Return before when the bytes of what was deleted cannot be gone; None: they are gone."""
    if not locks.known:
        return UNKNOWN
    if locks.stays_days is None:
        return NEVER
    dates = [locks.until[one] for one in snapshots if one in locks.until]
    dates.append(deleted + timedelta(days=locks.stays_days))
    return latest if (latest := max(dates)) > deleted else None


@dataclass(frozen=True, slots=True)
class Target:
    """One recovery point, or copy of an installation, that an approved plan deletes.

    Attributes:
        plan: empty for a copy of an installation.
        snapshots: snapshot id -> name of the source, `MANIFEST` for the manifest's.
    """

    repository: str
    point: str
    plan: str
    host: str
    time: datetime
    snapshots: Mapping[str, str]
    why: str
    bytes_added: int


def copies_of(repository: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the copies of installations in a repository of a plan's document."""
    return list(repository.get("installation_copies", ()))


@dataclass(frozen=True, slots=True)
class Approved:
    """A plan as it was approved, read back from its document."""

    digest: str
    document: Mapping[str, Any]

    def classes(self) -> tuple[Mapping[str, Any], ...]:
        """Return the classes of the document."""
        return tuple(self.document["classes"])

    def targets(self, of_class: str) -> tuple[Target, ...]:
        """Return what goes, of one class."""
        return tuple(
            Target(
                repository=repository["name"],
                point=point["id"],
                plan=point.get("plan", ""),
                host=point["host"],
                time=parse_time(point["time"]),
                snapshots=dict(point["snapshots"]),
                why="; ".join(reason["text"] for reason in point["reasons"]),
                bytes_added=point["bytes_added"],
            )
            for kept in self.classes()
            if kept["name"] == of_class
            for repository in kept["repositories"]
            for point in (*repository["recovery_points"], *copies_of(repository))
            if point["action"] == "delete"
        )
