"""Bringing back what was hidden or overwritten in a bucket with versions.

A deletion without a version only puts a marker on top; where versions are locked, nothing else can
be done to them. What the repository was at a moment is told by the times of versions and markers:
markers of restic's own prune are older and stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from llmvault.core.canonical import digest
from llmvault.core.units import format_time
from llmvault.ledger.interface import Ledger
from llmvault.objectstore.model import Version
from llmvault.objectstore.s3 import Bucket


@dataclass(frozen=True, slots=True)
class Return:
    """How one object comes back.

    Attributes:
        markers: delete markers to be removed; empty when the object was overwritten.
        version: which version comes back.
    """

    key: str
    version: str
    markers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UndeletePlan:
    """What makes a repository what it was at a moment.

    Attributes:
        first, last: when the first and last of the undone deletions happened; None without any.
    """

    before: datetime
    returns: tuple[Return, ...]
    first: datetime | None
    last: datetime | None

    @property
    def digest(self) -> str:
        """Names this plan."""
        rows = [[one.key, one.version, list(one.markers)] for one in self.returns]
        return digest([self.before.isoformat(), rows])


def plan_undelete(versions: Iterable[Version], before: datetime, locks: str) -> UndeletePlan:
    """Return what brings objects back to where they were at a moment.

    Args:
        versions: by key.
        locks: prefix of restic's lock files, which are left as they are.
    """
    returns: list[Return] = []
    times: list[datetime] = []
    for key, group in groupby(versions, key=lambda one: one.key):
        if key.startswith(locks):
            continue
        for one, moments in _returning(key, list(group), before):
            returns.append(one)
            times.extend(moments)
    return UndeletePlan(before, tuple(returns), min(times, default=None), max(times, default=None))


def _returning(
    key: str, group: Sequence[Version], before: datetime
) -> Iterator[tuple[Return, list[datetime]]]:
    then = [one for one in group if one.modified <= before]
    since = [one for one in group if one.modified > before]
    if not then or not since:
        return
    was = max(then, key=lambda one: one.modified)
    if was.marker:
        return
    overwritten = any(not one.marker for one in since)
    markers = () if overwritten else tuple(one.id for one in since)
    yield Return(key, was.id, markers), [one.modified for one in since]


def undelete(bucket: Bucket, plan: UndeletePlan, repository: str, ledger: Ledger) -> int:
    """Carry a plan out; return how many objects came back. Running it again goes on.

    Raises:
        VaultError: when the server cannot be reached or refuses.
    """
    facts = {
        "repository": repository,
        "plan": plan.digest,
        "before": format_time(plan.before),
        "objects": len(plan.returns),
    }
    ledger.append("undelete.started", facts)
    done = 0
    try:
        for one in plan.returns:
            for marker in one.markers:
                bucket.delete(one.key, marker)
            if not one.markers:
                bucket.copy_version(one.key, one.version)
            done += 1
    finally:
        ledger.append("undelete.ended", {**facts, "done": done})
    return done
