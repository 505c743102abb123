"""A recovery point and what a host remembers of it, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmvault.core.verdict import Check, Verdict
from llmvault.sources.interface import Observation


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One name in a captured source, as it must be after a restore.

    Attributes:
        path: relative; text with surrogate escapes when it is not UTF-8.
        kind: ``file``, ``dir``, ``symlink``, ``fifo`` or ``device``.
        sha256: 64 hex digits for a file; empty otherwise.
        target: of a symlink.
    """

    path: str
    kind: str
    size: int
    mode: int
    sha256: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source in a recovery point.

    Attributes:
        location: where it was (path or URL without secrets).
        layout: ``tree`` (files as they were) or ``stream`` (one file made while it was read).
        snapshots: repository name -> restic snapshot id; a repository that failed is absent.
        captured_from, captured_to: the window in which its bytes were read.
        files, bytes: regular files and their bytes.
        files_sha256: digest over the canonical lines of its files, in order.
    """

    name: str
    kind: str
    location: str
    layout: str
    verdict: Verdict
    reason: str
    snapshots: Mapping[str, str]
    captured_from: datetime
    captured_to: datetime
    files: int
    bytes: int
    files_sha256: str
    observation: Observation


@dataclass(frozen=True, slots=True)
class Manifest:
    """A recovery point: what was taken together, with everything needed to prove it later.

    Attributes:
        captured_from, captured_to: the window in which the bytes of all sources were read: they are
            consistent with each other as far as nothing was written in it.
        goldens: recorded golden sets, as ``docs/formats/goldens.md`` specifies them.
        files: source name -> its names, in the order of the manifest's lines.
    """

    id: str
    plan: str
    host: str
    started: datetime
    finished: datetime
    verdict: Verdict
    versions: Mapping[str, str]
    policy_digest: str
    rto_seconds: float
    rpo_seconds: float
    sources: tuple[SourceRecord, ...]
    checks: tuple[Check, ...]
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    goldens: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, tuple[FileRecord, ...]] = field(default_factory=dict, repr=False)

    def source(self, name: str) -> SourceRecord:
        """Return the record of a source.

        Raises:
            KeyError: when the recovery point has no such source.
        """
        for record in self.sources:
            if record.name == name:
                return record
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class FileState:
    """How a file looked when its digest was taken.

    Attributes:
        sample: digest of samples of a large file's content; empty for small files.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str
    sample: str = ""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest recovery point of a plan on this host.

    Attributes:
        parents: source name -> repository name -> snapshot id.
        repositories: repository name -> restic repository id.
    """

    recovery_point: str = ""
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    repositories: Mapping[str, str] = field(default_factory=dict)
