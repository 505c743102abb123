"""Until when the storage of the policy's repositories keeps what retention deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmvault.app.buckets import MAINTENANCE, open_bucket
from llmvault.app.installation import Installation
from llmvault.core.errors import VaultError
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import Lock
from llmvault.locks.observe import known_locks
from llmvault.objectstore.clocks import refuse_skew
from llmvault.objectstore.model import BucketSettings
from llmvault.policy.model import Repository as Declared
from llmvault.restic.repo import Repository
from llmvault.retention.model import LockDates

_SNAPSHOTS = "snapshots/"


@dataclass(frozen=True, slots=True)
class StorageLocks:
    """Lock dates as object stores tell them; a directory on this host locks nothing."""

    app: Installation
    repositories: Mapping[str, Repository]

    def dates(self, snapshots: Mapping[str, Sequence[str]]) -> Mapping[str, LockDates]:
        """Return the lock dates of each repository; see ``retention.locks.Locks``."""
        return {name: self._dates(name, ids) for name, ids in snapshots.items()}

    def _dates(self, name: str, snapshots: Sequence[str]) -> LockDates:
        declared = self.app.policy.repositories[name]
        if declared.local_path is not None:
            return LockDates({}, True, "a directory on this host, which locks nothing")
        if declared.object_store is None:
            return LockDates(
                {}, False, "the policy declares no object_store for it, so it cannot be asked"
            )
        try:
            return self._asked(name, declared, snapshots)
        except VaultError as error:
            return LockDates(
                {}, False, f"its storage could not be asked: {error.cause}",
                demanded=declared.object_store.lock is not None,
            )  # fmt: skip

    def _asked(self, name: str, declared: Declared, snapshots: Sequence[str]) -> LockDates:
        bucket = open_bucket(self.app, name, MAINTENANCE)
        settings = bucket.settings()
        refuse_skew(str(bucket), settings.clock_skew_s)
        demanded = declared.object_store is not None and declared.object_store.lock is not None
        if missing := settings.unknown.keys() & {"versioning", "lock", "lifecycle"}:
            told = ", ".join(f"{one}: {settings.unknown[one]}" for one in sorted(missing))
            return LockDates({}, False, f"its bucket does not tell {told}", demanded=demanded)
        stays = stays_days(settings, bucket.location.key(""))
        if not settings.lock_enabled:
            return LockDates(
                {}, True, "its bucket locks nothing", stays, demanded, None, 0, int(demanded)
            )
        repository = self.repositories[name]
        inventory = Inventory(
            self.app.memory.directory / "inventory" / name, repository.config_id()
        )
        objects, locks = known_locks(repository, bucket, inventory)
        return lock_dates(
            {one: locks[one] for one in objects.current},
            snapshots,
            self.app.clock.now(),
            stays=stays,
            demanded=demanded,
        )


def stays_days(settings: BucketSettings, prefix: str) -> int | None:
    """Return how many days a bucket keeps what was replaced or hidden below a prefix.

    None: for ever, since no lifecycle rule removes it. 0: it keeps no versions.
    """
    if not settings.versioning:
        return 0
    days = [
        rule.noncurrent_days
        for rule in settings.lifecycle
        if rule.enabled and rule.noncurrent_days is not None and prefix.startswith(rule.prefix)
    ]
    return min(days, default=None)


def lock_dates(
    locks: Mapping[str, Lock],
    snapshots: Sequence[str],
    now: datetime,
    *,
    stays: int | None,
    demanded: bool,
) -> LockDates:
    """Return the dates of a repository from the locks of its objects.

    Which packs a snapshot alone uses cannot be told from outside, so that its bytes count as locked
    until the last lock of any pack or index ends, or that of its own file.
    """
    shared = [
        one.until for name, one in locks.items() if one.until and not name.startswith(_SNAPSHOTS)
    ]
    until = {}
    for snapshot in snapshots:
        own = locks.get(f"{_SNAPSHOTS}{snapshot}")
        dates = [*shared, *filter(None, [own.until if own else None])]
        if dates:
            until[snapshot] = max(dates)
    unlocked = sum(one.until is None for one in locks.values())
    dates = [one.until for one in locks.values() if one.until]
    return LockDates(
        until=until,
        known=True,
        basis="read from every object of the bucket; which packs a recovery point alone uses cannot"
        " be told from outside, so its date is that of the last lock of any: the latest it can be",
        stays_days=stays,
        demanded=demanded,
        earliest=None if unlocked else min(dates, default=None),
        lapsed=sum(date <= now for date in dates),
        unlocked=unlocked,
    )
