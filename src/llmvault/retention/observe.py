"""Reading what a retention plan depends on: snapshots, what is known of them, holds, locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from llmvault.catalog.model import DrillEntry, KnownPoint
from llmvault.core.clock import Clock
from llmvault.core.verdict import Verdict
from llmvault.holds.store import HoldStore
from llmvault.recovery_points.find import (
    COPY_KEY,
    COPY_SIZE_KEY,
    MANIFEST_TAG,
    PLAN_KEY,
    POINT_KEY,
)
from llmvault.restic.output import Snapshot
from llmvault.restic.repo import Repository
from llmvault.retention.locks import Locks
from llmvault.retention.model import (
    INSTALLATION,
    MANIFEST,
    ClassFacts,
    ClassRules,
    InstallationCopy,
    LockDates,
    Point,
    Rank,
    RepositoryFacts,
    World,
)

SOURCE_KEY = "llmvault:source"


class KnownPoints(Protocol):
    """What the catalog is asked."""

    def known_points(self) -> tuple[KnownPoint, ...]:
        """Return what is known of every recovery point."""

    def drills(self, plan: str | None = None) -> tuple[DrillEntry, ...]:
        """Return the drills, newest first."""


@dataclass(frozen=True, slots=True)
class RetentionClassPorts:
    """One class: its rules, and its repositories in the order of the policy."""

    rules: ClassRules
    repositories: Mapping[str, Repository]


@dataclass(frozen=True, slots=True)
class ObservePorts:
    """What is looked at.

    Attributes:
        known, holds: open the catalog, which takes as long as listing a repository: so both are
            called while repositories are listed.
    """

    clock: Clock
    classes: Sequence[RetentionClassPorts]
    known: Callable[[], KnownPoints]
    holds: Callable[[], HoldStore]
    locks: Locks


def observe(ports: ObservePorts) -> World:
    """Read everything that a plan depends on; repositories at the same time.

    Raises:
        VaultError: when a repository, the catalog or a hold cannot be read: then nothing is known.
    """
    repositories = {name: one for kept in ports.classes for name, one in kept.repositories.items()}
    with ThreadPoolExecutor(max(1, len(repositories))) as pool:
        listing = {
            name: pool.submit(repository.snapshots) for name, repository in repositories.items()
        }
        known = ports.known()
        points = known.known_points()
        ranks = ranks_of(points, known.drills())
        kinds = {point.id: point.kinds for point in points}
        held = tuple(record.hold for record in ports.holds().active())
        listed = {name: found.result() for name, found in listing.items()}
    locks = ports.locks.dates(
        {name: [snapshot.id for snapshot in snapshots] for name, snapshots in listed.items()}
    )
    classes = tuple(
        ClassFacts(
            kept.rules,
            tuple(
                _repository(name, listed[name], ranks, kinds, locks[name])
                for name in kept.repositories
            ),
        )
        for kept in ports.classes
    )
    return World(ports.clock.now(), classes, held)


def ranks_of(
    points: Iterable[KnownPoint], drills: Iterable[DrillEntry]
) -> dict[str, tuple[Rank, str]]:
    """Return recovery point -> what is known of it, and how. A drill says more than a backup.

    Args:
        drills: newest first; the newest that came to a result counts.
    """
    ranks: dict[str, tuple[Rank, str]] = {}
    for drill in drills:
        if drill.verdict == Verdict.PROVEN:
            ranks.setdefault(drill.recovery_point, (Rank.DRILLED, f"{drill.id} proved it"))
        elif drill.verdict == Verdict.FAILED:
            ranks.setdefault(drill.recovery_point, (Rank.FAILED, f"{drill.id} failed"))
    by_verdict = {Verdict.PROVEN.value: Rank.PROVEN, Verdict.FAILED.value: Rank.FAILED}
    for point in points:
        rank = by_verdict.get(point.verdict, Rank.UNPROVEN)
        ranks.setdefault(point.id, (rank, f"its backup is {point.verdict}"))
    return ranks


def _repository(
    name: str,
    snapshots: Sequence[Snapshot],
    ranks: Mapping[str, tuple[Rank, str]],
    kinds: Mapping[str, Mapping[str, str]],
    locks: LockDates,
) -> RepositoryFacts:
    groups: dict[str, list[Snapshot]] = {}
    copies = []
    foreign = 0
    for snapshot in snapshots:
        if identity := snapshot.tag(POINT_KEY):
            groups.setdefault(identity, []).append(snapshot)
        elif snapshot.tag(COPY_KEY):
            copies.append(_copy(snapshot))
        else:
            foreign += 1
    points = tuple(
        _point(identity, group, ranks, kinds.get(identity, {}))
        for identity, group in groups.items()
    )
    return RepositoryFacts(name, points, tuple(copies), foreign, locks)


def _copy(snapshot: Snapshot) -> InstallationCopy:
    size = snapshot.tag(COPY_SIZE_KEY)
    point = Point(
        id=f"{INSTALLATION}-{snapshot.id[:12]}",
        plan="",
        host=snapshot.host,
        time=snapshot.time,
        tags=(frozenset(snapshot.tags),),
        snapshots={snapshot.id: INSTALLATION},
        complete=True,
        rank=Rank.UNPROVEN,
        rank_reason="",
        sources={},
        bytes_added=snapshot.bytes_added,
    )
    entries = int(size) if size.isascii() and size.isdigit() else 0
    return InstallationCopy(point, snapshot.tag(COPY_KEY), entries)


def _point(
    identity: str,
    group: Sequence[Snapshot],
    ranks: Mapping[str, tuple[Rank, str]],
    kinds: Mapping[str, str],
) -> Point:
    manifests = [snapshot for snapshot in group if MANIFEST_TAG in snapshot.tags]
    newest = max(manifests or group, key=lambda snapshot: snapshot.time)
    sources = {
        snapshot.id: MANIFEST if MANIFEST_TAG in snapshot.tags else snapshot.tag(SOURCE_KEY)
        for snapshot in group
    }
    unknown = (Rank.UNPROVEN, "the catalog does not know it: llmvault recovery-points list --scan")
    rank, reason = ranks.get(identity, unknown)
    named = {name: "" for name in sources.values() if name != MANIFEST}
    return Point(
        id=identity,
        plan=newest.tag(PLAN_KEY),
        host=newest.host,
        time=newest.time,
        tags=tuple(frozenset(snapshot.tags) for snapshot in group),
        snapshots=dict(sorted(sources.items())),
        complete=bool(manifests),
        rank=rank if manifests else Rank.FAILED,
        rank_reason=reason if manifests else "it has no manifest",
        sources={**named, **kinds},
        bytes_added=sum(snapshot.bytes_added for snapshot in group),
    )
