"""What a run asks of snapshots and what it got, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.core.errors import VaultError

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Wish:
    """A source that is to be read from a snapshot.

    Attributes:
        path: its live directory.
        snapshotter: which one, or ``auto``.
    """

    source: str
    path: Path
    snapshotter: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How a source is to be read.

    Attributes:
        place: the directory that shows what the live one held; None to read the live one.
        snapshotter: which one took it; ``none`` when no one could.
        facts: JSON values for the manifest.
        missing: what is below the live directory and not in the snapshot, and why.
        reason: why there is none, in a sentence; empty when there is one.
        error: why one that was asked for could not be taken.
    """

    place: Path | None = None
    snapshotter: str = "none"
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    reason: str = ""
    error: VaultError | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The snapshots of one run.

    Attributes:
        seen: source name -> how it is to be read; sources that asked for none are absent.
        problems: what went wrong beside the sources, in sentences; complete when the snapshots are
            no longer held.
    """

    seen: Mapping[str, Seen] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
