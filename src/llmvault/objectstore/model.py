"""What an object store says, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Location:
    """Where a repository lies in an object store.

    Attributes:
        endpoint: ``https://host[:port]``.
        prefix: without a slash at either end; empty when the repository is the whole bucket.
    """

    endpoint: str
    bucket: str
    prefix: str = ""

    def key(self, name: str) -> str:
        """Return the key of what lies at a path of the repository."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def name(self, key: str) -> str:
        """Return the path in the repository of a key below the prefix."""
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key

    @property
    def encrypted(self) -> bool:
        """Whether requests travel through TLS."""
        return self.endpoint.startswith("https://")


class LockMode(StrEnum):
    """How firmly an object version is locked."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


@dataclass(frozen=True, slots=True)
class Retention:
    """The lock of one object version: it cannot be deleted before `until`."""

    mode: LockMode
    until: datetime


@dataclass(frozen=True, slots=True)
class DefaultLock:
    """The lock that a bucket gives to every new object version."""

    mode: LockMode
    days: int


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One lifecycle rule.

    Attributes:
        noncurrent_days: versions go this long after they were replaced or hidden; None for never.
        abort_days: unfinished uploads go after this long; None for never.
        raw: the rule as the server gave it, so that rules of others are put back as they were.
    """

    id: str
    prefix: str
    enabled: bool
    noncurrent_days: int | None
    abort_days: int | None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Everything that a bucket says of itself.

    Attributes:
        versioning: ``Enabled``, ``Suspended``, or empty when it never was on.
        lock_enabled: whether Object Lock is on at all.
        encryption: algorithm of the default encryption, empty when there is none.
        statements: of the bucket policy; empty without one.
        unknown: setting -> why the server could not be asked for it.
        clock_skew_s: the server's clock minus ours, in seconds; None when it did not tell.
    """

    exists: bool
    versioning: str = ""
    lock_enabled: bool = False
    lock_default: DefaultLock | None = None
    lifecycle: tuple[LifecycleRule, ...] = ()
    encryption: str = ""
    statements: tuple[Mapping[str, Any], ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker on top of it.

    Attributes:
        id: empty where the bucket has no versions.
    """

    key: str
    id: str
    latest: bool
    marker: bool
    modified: datetime
    size: int = 0
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and not finished."""

    key: str
    id: str
    begun: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """What one HEAD request tells of an object version."""

    version: str
    size: int
    retention: Retention | None
    legal_hold: bool
    storage_class: str = "STANDARD"
