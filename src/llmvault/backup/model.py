"""What a backup decides and how it went, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmvault.core.verdict import Check, Verdict


@dataclass(frozen=True, slots=True)
class Reading:
    """How one source will be read: the decision for restic.

    Attributes:
        parents: repository name -> snapshot to compare with; absent reads everything.
        ignore_inode: whether size and modification time alone decide what is unchanged.
        reason: why that rule was chosen.
        snapshot: the snapshotter that the source is to be read through; ``none`` for no one.
        can: capabilities of the source's driver, in words; one that is not there, it lacks.
    """

    source: str
    kind: str
    parents: Mapping[str, str]
    compression: str
    ignore_inode: bool
    reason: str
    snapshot: str = "none"
    can: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What one run will do."""

    plan: str
    recovery_point: str
    repositories: tuple[str, ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class RepositoryResult:
    """How writing to one repository went."""

    name: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class SourceResult:
    """How one source went, as the command line reports it."""

    name: str
    kind: str
    snapshot: str
    verdict: Verdict
    bytes_processed: int
    bytes_added: int
    files: int
    sha256_verified: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class BackupResult:
    """How a run went."""

    recovery_point: str
    plan: str
    verdict: Verdict
    sources: tuple[SourceResult, ...]
    repositories: tuple[RepositoryResult, ...]
    checks: tuple[Check, ...]
    seconds: float
