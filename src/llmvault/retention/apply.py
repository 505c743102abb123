"""Deleting what an approved plan says, and nothing else. The only place that forgets and prunes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from llmvault.core.units import format_time
from llmvault.restic.repo import Repository
from llmvault.retention.model import MANIFEST, Target


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A recovery point that was to go and is still there."""

    repository: str
    recovery_point: str
    why: str


@dataclass(slots=True)
class Emptied:
    """What was done to one repository.

    Attributes:
        freed: bytes; None when restic did not say, or when nothing was pruned.
    """

    repository: str
    deleted: list[Target] = field(default_factory=list)
    left: list[NotDeleted] = field(default_factory=list)
    pruned: bool = False
    freed: int | None = None


def empty_repository(
    repository: Repository,
    targets: Sequence[Target],
    *,
    allowed: Callable[[Target], str],
    lock_wait: timedelta,
) -> Emptied:
    """Forget the targets that are allowed and still there, then prune.

    The manifests go first: from then on the recovery points are not listed any more, and a death in
    between leaves nothing that looks as if it could be restored.

    Args:
        allowed: returns why a target must not go; empty when it may. Asked right before.

    Raises:
        VaultError: when restic could not do it; doing it again is safe.
    """
    done = Emptied(repository.name)
    going = []
    for target in targets:
        if why := allowed(target):
            done.left.append(NotDeleted(repository.name, target.point, why))
        else:
            going.append(target)
    for manifests in (True, False):
        there = {snapshot.id for snapshot in repository.snapshots()}
        named = [
            identity
            for target in going
            for identity, source in target.snapshots.items()
            if identity in there and (source == MANIFEST) is manifests
        ]
        if named:
            repository.forget(named, lock_wait=lock_wait)
    there = {snapshot.id for snapshot in repository.snapshots()}
    for target in going:
        if left := there & target.snapshots.keys():
            why = f"restic did not remove {len(left)} of its snapshots"
            done.left.append(NotDeleted(repository.name, target.point, why))
        else:
            done.deleted.append(target)
    done.freed = repository.prune(lock_wait=lock_wait).bytes_freed
    done.pruned = True
    return done


def facts_of(of_class: str, targets: Sequence[Target]) -> list[Mapping[str, object]]:
    """Return what the ledger is told of the targets of a class."""
    return [
        {
            "recovery_point": target.point,
            "class": of_class,
            "repository": target.repository,
            "plan": target.plan,
            "taken": format_time(target.time),
            "why": target.why,
            "snapshots": sorted(target.snapshots),
            "bytes_added": target.bytes_added,
        }
        for target in targets
    ]
