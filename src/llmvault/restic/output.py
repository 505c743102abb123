"""What restic prints, as types. Pure.

The shapes follow restic's scripting documentation (``doc/075_scripting.rst``); every key may be
absent and then counts as zero, because restic omits empty values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmvault.core.units import parse_size, parse_time

_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Status:
    """How far a backup or restore has come."""

    bytes_done: int
    files_done: int


@dataclass(frozen=True, slots=True)
class FileDone:
    """One name was restored completely; `item` is relative, without a leading slash."""

    item: str


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """The last line of a backup.

    Attributes:
        files: regular files processed, whether read or unchanged.
        bytes_processed: their bytes.
        bytes_added: bytes added to the repository, as stored (compressed, encrypted).
        files_unmodified: files not read because the parent has them.
    """

    snapshot: str
    files: int
    bytes_processed: int
    bytes_added: int
    files_unmodified: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """The last line of a restore."""

    files: int
    bytes_restored: int


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """An error about one item, or about the run."""

    message: str
    item: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of a repository.

    Attributes:
        bytes_added: bytes it added to the repository, as stored; 0 where restic does not tell.
    """

    id: str
    time: datetime
    host: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    original: str = ""
    bytes_added: int = 0

    @property
    def origin(self) -> str:
        """The id of the snapshot that this is a copy of; its own when it is none."""
        return self.original or self.id

    def tag(self, key: str) -> str:
        """Return the value of the tag ``KEY=value``, empty when there is none."""
        prefix = f"{key}="
        for tag in self.tags:  # a loop, since this is asked of tens of thousands
            if tag.startswith(prefix):
                return tag[len(prefix) :]
        return ""


Message = Status | FileDone | BackupSummary | RestoreSummary | ErrorMessage


def parse_line(line: str) -> Message | None:
    """Return the message of one line of restic's JSON output; None for lines of no interest."""
    try:
        raw = json.loads(line)
    except ValueError:
        return None
    if not isinstance(raw, dict):
        return None
    parser = _PARSERS.get(str(raw.get("message_type")))
    try:
        return parser(raw) if parser else None
    except (TypeError, ValueError, OverflowError):
        return None  # not the documented shape; a summary that is missing is an error elsewhere


def parse_errors(stderr: tuple[str, ...]) -> tuple[ErrorMessage, ...]:
    """Return the errors on standard error; plain text lines (old restic, Go panics) count too."""
    found: list[ErrorMessage] = []
    for line in stderr:
        message = parse_line(line)
        if isinstance(message, ErrorMessage):
            found.append(message)
        elif message is None and line.strip() and not line.startswith("{"):
            found.append(ErrorMessage(line.strip()))
    return tuple(found)


def parse_snapshots(text: str) -> tuple[Snapshot, ...]:
    """Return the snapshots that ``restic snapshots --json`` listed, oldest first.

    Raises:
        ValueError: when the text is not that listing.
    """
    listed = [_snapshot(raw) for raw in json.loads(text or "[]") or []]
    return tuple(sorted(listed, key=lambda snapshot: (snapshot.time, snapshot.id)))


def parse_check(text: str) -> int | None:
    """Return the number of errors that ``restic check --json`` counted; None without a summary."""
    for line in text.splitlines():
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and raw.get("message_type") == "summary":
            return int(raw.get("num_errors") or 0)
    return None


@dataclass(frozen=True, slots=True)
class LockFile:
    """What a lock says of who holds it."""

    time: datetime
    host: str
    process: int
    exclusive: bool


def parse_lock(text: str) -> LockFile:
    """Return what a lock says.

    Raises:
        ValueError: when the text is no lock.
    """
    raw = json.loads(text)
    return LockFile(
        time=parse_time(_microseconds(str(raw["time"]))),
        host=str(raw.get("hostname", "")),
        process=int(raw.get("pid") or 0),
        exclusive=bool(raw.get("exclusive")),
    )


def parse_ids(text: str) -> tuple[str, ...]:
    """Return the ids of ``restic list``, one a line."""
    return tuple(line.strip() for line in text.splitlines() if _ID.fullmatch(line.strip()))


def parse_index(text: str) -> tuple[str, ...]:
    """Return the packs that an index file names.

    Raises:
        ValueError: when the text is no index.
    """
    packs = json.loads(text).get("packs") or []
    return tuple(str(pack["id"]) for pack in packs)


@dataclass(frozen=True, slots=True)
class PruneSummary:
    """What a prune did, as far as restic told; its figures are rounded to three places or so.

    Attributes:
        bytes_freed: bytes that are no longer in the repository; None when it did not say.
        bytes_remaining: bytes that are; None when it did not say.
    """

    bytes_freed: int | None
    bytes_remaining: int | None


_PRUNED = re.compile(r"^(total prune|remaining):\s+\d+ blobs / ([\d.]+) ([KMGT]?i?B)", re.MULTILINE)


def parse_prune(text: str) -> PruneSummary:
    """Return what ``restic prune`` printed, as text (up to 0.19.1, whatever ``--json`` says)."""
    found = {name: parse_size(f"{size} {unit}") for name, size, unit in _PRUNED.findall(text)}
    return PruneSummary(found.get("total prune"), found.get("remaining"))


def parse_version(text: str) -> tuple[int, ...]:
    """Return restic's version as numbers from its JSON or (before 0.17) its plain text.

    Raises:
        ValueError: when no version is found.
    """
    word = json.loads(text)["version"] if text.lstrip().startswith("{") else text.split()[1]
    return tuple(int(part) for part in str(word).split("-")[0].split("+")[0].split("."))


def _snapshot(raw: Mapping[str, Any]) -> Snapshot:
    identity = str(raw["id"])
    summary = raw.get("summary") or {}
    return Snapshot(
        id=identity,
        time=parse_time(_microseconds(str(raw["time"]))),
        host=str(raw.get("hostname", "")),
        tags=tuple(raw.get("tags") or ()),
        paths=tuple(raw.get("paths") or ()),
        original=str(raw.get("original") or ""),
        bytes_added=int(summary.get("data_added_packed", summary.get("data_added", 0))),
    )


def _microseconds(text: str) -> str:
    """Cut Go's nanoseconds to the microseconds that Python's parser accepts."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6]}{tail[digits:]}"


def _status(raw: Mapping[str, Any]) -> Status:
    done = raw.get("bytes_done", raw.get("bytes_restored", 0))
    return Status(int(done), int(raw.get("files_done", raw.get("files_restored", 0))))


def _verbose(raw: Mapping[str, Any]) -> FileDone | None:
    if raw.get("action") not in ("restored", "updated", "unchanged"):
        return None
    return FileDone(str(raw.get("item", "")).lstrip("/"))


def _summary(raw: Mapping[str, Any]) -> BackupSummary | RestoreSummary:
    if "snapshot_id" not in raw and "files_new" not in raw:
        return RestoreSummary(int(raw.get("files_restored", 0)), int(raw.get("bytes_restored", 0)))
    return BackupSummary(
        snapshot=str(raw.get("snapshot_id", "")),
        files=int(raw.get("total_files_processed", 0)),
        bytes_processed=int(raw.get("total_bytes_processed", 0)),
        bytes_added=int(raw.get("data_added_packed", raw.get("data_added", 0))),
        files_unmodified=int(raw.get("files_unmodified", 0)),
        seconds=float(raw.get("total_duration", 0.0)),
    )


def _error(raw: Mapping[str, Any]) -> ErrorMessage:
    error = raw.get("error")
    text = error.get("message", "") if isinstance(error, dict) else error
    return ErrorMessage(str(text or raw.get("message", "")), str(raw.get("item", "")))


def _exit_error(raw: Mapping[str, Any]) -> ErrorMessage:
    return ErrorMessage(str(raw.get("message", "")), code=int(raw.get("code", 1)))


_PARSERS = {
    "status": _status,
    "verbose_status": _verbose,
    "summary": _summary,
    "error": _error,
    "exit_error": _exit_error,
}
