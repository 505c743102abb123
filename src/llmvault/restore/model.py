"""What a restore decides and how it went, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.verdict import Check, Verdict


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to bring back.

    Attributes:
        recovery_point: an id, or ``latest``.
        sources: names; all of the recovery point if empty.
        into: source name -> address of a fresh store to load it into.
    """

    recovery_point: str
    target: Path
    plan: str | None = None
    sources: tuple[str, ...] = ()
    into: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What was seen of the place to restore to.

    Attributes:
        entries: how many names are in it; None when it does not exist.
        live: label -> absolute path of what must not be touched (sources, repositories, state).
    """

    path: Path
    is_directory: bool
    entries: int | None
    live: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Which snapshot of which repository goes where."""

    source: str
    repository: str
    snapshot: str
    target: Path


@dataclass(frozen=True, slots=True)
class Fetched:
    """One source, restored and verified.

    Attributes:
        fetch_seconds: until restic was done.
        verify_seconds: what verification took beyond that.
    """

    source: str
    path: Path
    files: int
    bytes: int
    fetch_seconds: float
    verify_seconds: float
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """How a restore went."""

    id: str
    recovery_point: str
    target: Path
    verdict: Verdict
    fetched: tuple[Fetched, ...]
    checks: tuple[Check, ...]
    seconds: float
