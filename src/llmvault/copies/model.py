"""What is known of the copies of a recovery point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from llmvault.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PartRead:
    """One part of a repository that was read back.

    Attributes:
        part: 1 to `parts`; which packs it holds follows from their ids, so it stays the same.
        errors: that restic found.
    """

    part: int
    parts: int
    at: datetime
    verdict: Verdict
    errors: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a repository was read back within the declared time.

    Attributes:
        read: parts that were read without errors within that time.
        oldest: when the part that waits longest was read; None when one never was.
        overdue: parts that were read once, and not within that time.
        next: the part to be read next.
        errors: found by the newest reading of every part.
    """

    parts: int
    read: int
    oldest: datetime | None
    overdue: tuple[int, ...]
    next: int
    errors: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a copy is, as declared; empty where the policy does not say."""

    site: str
    account: str
    media: str
    offline: bool = False


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What was observed of one copy.

    Attributes:
        holds: whether it has the newest recovery point; None when that is not known.
        immutable: whether its lock was attacked in vain and has not lapsed; None when not known.
        why: why it is not immutable, or why that is not known.
    """

    repository: str
    place: Placed
    holds: bool | None
    immutable: bool | None
    why: str
    coverage: Coverage
