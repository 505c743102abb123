"""What a bucket is declared to be, and how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmvault.core.canonical import digest
from llmvault.objectstore.model import BucketSettings, DefaultLock, LifecycleRule, Location


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a bucket policy speaks of; empty for one that is not declared."""

    owner: str = ""
    backup: str = ""
    read_only: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a bucket must be, from all repositories of the policy that lie in it.

    Attributes:
        location: without a prefix.
        lock_default: what new versions get; None when there is no lock, or it is set per object.
        encryption: None when it is not looked at.
        statements: of ours in the bucket policy, by id.
    """

    location: Location
    repositories: tuple[str, ...]
    versioning: bool
    lock: bool
    lock_default: DefaultLock | None
    lifecycle: tuple[LifecycleRule, ...]
    encryption: str | None
    statements: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that is not as declared.

    Attributes:
        setting: ``bucket``, ``versioning``, ``lock``, ``lifecycle``, ``encryption``, ``policy``.
    """

    setting: str
    declared: str
    actual: str

    def __str__(self) -> str:
        return f"{self.setting} is {self.actual}, declared is {self.declared}"


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What would make one bucket what it is declared to be."""

    declared: Declared
    actual: BucketSettings
    differences: tuple[Difference, ...]

    @property
    def digest(self) -> str:
        """Names this plan: SHA-256 over bucket and differences."""
        where = self.declared.location
        rows = [[d.setting, d.declared, d.actual] for d in self.differences]
        return digest([where.endpoint, where.bucket, rows])
