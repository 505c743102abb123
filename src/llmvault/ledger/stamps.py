"""Checkpoints with time stamps (RFC 3161), in the ledger's directory: that it was so by a time.

``stamps/SIZE.checkpoint`` is a checkpoint as it was stamped, ``stamps/SIZE.tsr`` the authority's
response over the SHA-256 of that file. ``stamps/state.json`` remembers the newest, and since when a
stamp is being waited for. A stamp covers every entry before its size, so only the newest checkpoint
is ever asked for: one that could not be stamped is covered by the next that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from llmvault.core.errors import IntegrityError, UnavailableError, VaultError
from llmvault.core.files import write_durably
from llmvault.core.units import format_seconds, format_time, parse_time
from llmvault.core.verdict import Check, Verdict
from llmvault.keys.note import VerifierKey, signers_of
from llmvault.ledger.checkpoint import parse_checkpoint
from llmvault.ledger.files import LedgerFiles
from llmvault.ledger.merkle import tree_root
from llmvault.ledger.model import Checkpoint

NAME = "time-stamp"
_CHECKPOINT, _RESPONSE = ".checkpoint", ".tsr"


class Authority(Protocol):
    """A time stamp authority."""

    @property
    def name(self) -> str:
        """Names it for people."""

    def stamp(self, message: bytes) -> tuple[bytes, datetime]:
        """Return the response over a message, verified, and the time that it states.

        Raises:
            UnavailableError: when it cannot be reached.
            IntegrityError: when it answers with something else.
        """

    def time_of(self, response: bytes, message: bytes) -> datetime:
        """Return the time of a response that was kept; needs no network.

        Raises:
            IntegrityError: when it does not verify.
            UnavailableError: when it cannot be verified here.
        """


@dataclass(frozen=True, slots=True)
class Stamped:
    """The newest stamp."""

    size: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stamp that could not be had yet.

    Attributes:
        since: of the first attempt that failed.
        reason: of the last.
    """

    since: datetime
    size: int
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class StampState:
    """Where stamping stands."""

    stamped: Stamped | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class StampFiles:
    """The stamps of a ledger."""

    ledger: Path

    @property
    def directory(self) -> Path:
        """Where they are."""
        return self.ledger / "stamps"

    @property
    def state_path(self) -> Path:
        """Where it is remembered where stamping stands."""
        return self.directory / "state.json"

    def files(self) -> Iterator[tuple[int, tuple[Path, Path]]]:
        """Yield size, and checkpoint and response, of each stamp, oldest first."""
        for path in sorted(self.directory.glob(f"*{_RESPONSE}")):
            if path.stem.isdigit():
                yield int(path.stem), (path.with_suffix(_CHECKPOINT), path)

    def state(self) -> StampState:
        """Return where stamping stands; what cannot be read counts as nothing."""
        try:
            raw = json.loads(self.state_path.read_bytes())
            return StampState(_stamped(raw.get("stamped")), _waiting(raw.get("waiting")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return StampState()

    def remember(self, state: StampState) -> None:
        """Write where stamping stands."""
        document = {"stamped": _stamped_json(state.stamped), "waiting": _waiting_json(state)}
        write_durably(self.state_path, json.dumps(document).encode())

    def keep(self, checkpoint: Checkpoint, response: bytes) -> None:
        """Write a stamp; the response last, so that none is without its checkpoint."""
        stem = f"{checkpoint.head.size:012}"
        write_durably(self.directory / f"{stem}{_CHECKPOINT}", checkpoint.note.encode())
        write_durably(self.directory / f"{stem}{_RESPONSE}", response)

    def kept(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield name, checkpoint and response of each stamp, oldest first.

        Raises:
            IntegrityError: when a stamp's checkpoint is missing.
            UnavailableError: when one cannot be read.
        """
        for path in sorted(self.directory.glob(f"*{_RESPONSE}")):
            try:
                yield path.stem, path.with_suffix(_CHECKPOINT).read_bytes(), path.read_bytes()
            except FileNotFoundError as error:
                raise IntegrityError(f"stamp {path.stem}", "its checkpoint is missing") from error
            except OSError as error:
                raise UnavailableError(f"stamp {path.stem}", error.strerror or "") from error


def stamp_if_due(
    stamps: StampFiles,
    authority: Authority,
    checkpoint: Checkpoint,
    *,
    now: datetime,
    every: timedelta,
) -> Check | None:
    """Have a checkpoint stamped, and return what came of it; None when it is not due.

    It is due when the last stamp is as old as `every`, or when one is being waited for. No trouble
    of the authority is raised: it is remembered, and the next call tries again.
    """
    state, size = stamps.state(), checkpoint.head.size
    if size == 0 or not _due(state, size, now, every):
        return None
    try:
        response, at = authority.stamp(checkpoint.note.encode())
        stamps.keep(checkpoint, response)
    except (VaultError, OSError) as error:
        reason = error.diagnostics() if isinstance(error, VaultError) else str(error)
        waiting = _still_waiting(state.waiting, now, size, reason)
        stamps.remember(StampState(state.stamped, waiting))
        return Check(NAME, authority.name, Verdict.UNPROVEN, _waiting_words(waiting, now))
    stamps.remember(StampState(Stamped(size, at)))
    detail = f"the checkpoint of {size} entries was stamped at {format_time(at)}"
    return Check(NAME, authority.name, Verdict.PROVEN, detail)


def verify_stamps(
    files: LedgerFiles,
    authority: Authority,
    keys: Sequence[VerifierKey],
    *,
    now: datetime,
    every: timedelta,
) -> Check:
    """Verify every stamp that is kept against the ledger as it is; nothing is asked of a network.

    ``failed``: a stamp does not verify, is of another ledger, or the ledger's beginning is not what
    was stamped, or an entry claims to be younger than its stamp. ``unproven``: there is none yet,
    or more was entered since the newest and a stamp is overdue.
    """
    stamps = StampFiles(files.directory)
    newest: Stamped | None = None
    count = 0
    try:
        for name, note, response in stamps.kept():
            newest = _verified(files, authority, keys, name, note, response)
            count += 1
        overdue = _overdue(files, stamps.state(), newest, now, every)
    except UnavailableError as error:
        return Check(NAME, authority.name, Verdict.UNPROVEN, error.diagnostics())
    except VaultError as error:
        return Check(NAME, authority.name, Verdict.FAILED, error.diagnostics())
    if overdue:
        return Check(NAME, authority.name, Verdict.UNPROVEN, overdue)
    assert newest is not None  # noqa: S101  without one it is overdue
    detail = f"{count} verify; the first {newest.size} entries were there {format_time(newest.at)}"
    return Check(NAME, authority.name, Verdict.PROVEN, detail)


def overdue_stamp(files: LedgerFiles, *, now: datetime, every: timedelta) -> str:
    """Return why a stamp is waited for, by what is remembered; empty when none is."""
    state = StampFiles(files.directory).state()
    return _overdue(files, state, state.stamped, now, every)


def _due(state: StampState, size: int, now: datetime, every: timedelta) -> bool:
    if state.stamped is None or state.waiting is not None:
        return True
    return state.stamped.size != size and now - state.stamped.at >= every


def _overdue(
    files: LedgerFiles, state: StampState, newest: Stamped | None, now: datetime, every: timedelta
) -> str:
    size = files.checkpoint().head.size
    if newest is not None and newest.size >= size:
        return ""
    if state.waiting is not None:
        return _waiting_words(state.waiting, now)
    if newest is None:
        return "not yet stamped; run: llmvault ledger checkpoint"
    first = next(files.entries(newest.size, newest.size + 1), None)
    age = now - first.at if first else timedelta(0)
    if age <= 2 * every:
        return ""
    shown = format_seconds(age.total_seconds())
    return (
        f"entries from {newest.size} on are not yet stamped, for {shown}; "
        "run: llmvault ledger checkpoint"
    )


def _verified(
    files: LedgerFiles,
    authority: Authority,
    keys: Sequence[VerifierKey],
    name: str,
    note: bytes,
    response: bytes,
) -> Stamped:
    thing = f"stamp {name}"
    try:
        checkpoint = parse_checkpoint(note.decode())
    except UnicodeDecodeError as error:
        raise IntegrityError(thing, "its checkpoint is no text") from error
    try:
        at = authority.time_of(response, note)
    except IntegrityError as error:
        raise IntegrityError(thing, error.cause, error.next_step) from error
    head, newest = checkpoint.head, files.checkpoint().head
    if not signers_of(checkpoint.note, keys):
        raise IntegrityError(thing, "its checkpoint is signed by none of this ledger's keys")
    if head.origin != newest.origin or head.size > newest.size:
        cause = f"{head.size} entries of {head.origin} were stamped, the ledger has {newest.size}"
        raise IntegrityError(thing, f"{cause}: it was cut back, or is another one")
    if tree_root(files.tree(newest), head.size) != head.root:
        cause = f"the ledger's first {head.size} entries are not those that were stamped"
        raise IntegrityError(thing, f"{cause} at {format_time(at)}")
    _no_younger_entry(files, thing, head.size, at)
    return Stamped(head.size, at)


_TOLERANCE = timedelta(minutes=5)


def _no_younger_entry(files: LedgerFiles, thing: str, size: int, at: datetime) -> None:
    last = next(files.entries(size - 1, size), None)
    if last is not None and last.at > at + _TOLERANCE:
        cause = f"entry {last.index} says {format_time(last.at)} and was stamped {format_time(at)}"
        raise IntegrityError(thing, cause, "this host's clock was ahead: correct it")


def _still_waiting(before: Waiting | None, now: datetime, size: int, reason: str) -> Waiting:
    if before is None:
        return Waiting(now, size, 1, reason)
    return Waiting(before.since, before.size, before.attempts + 1, reason)


def _waiting_words(waiting: Waiting, now: datetime) -> str:
    age = format_seconds((now - waiting.since).total_seconds())
    since = format_time(waiting.since)
    return (
        f"not yet stamped: the checkpoint of {waiting.size} entries waits since {since} ({age}), "
        f"attempts: {waiting.attempts}, the last said: {waiting.reason}"
    )


def _stamped(raw: Any) -> Stamped | None:  # noqa: ANN401  JSON
    return None if raw is None else Stamped(int(raw["size"]), parse_time(raw["at"]))


def _waiting(raw: Any) -> Waiting | None:  # noqa: ANN401  JSON
    if raw is None:
        return None
    since, attempts = parse_time(raw["since"]), int(raw["attempts"])
    return Waiting(since, int(raw["size"]), attempts, str(raw["reason"]))


def _stamped_json(stamped: Stamped | None) -> dict[str, Any] | None:
    return {"size": stamped.size, "at": format_time(stamped.at)} if stamped else None


def _waiting_json(state: StampState) -> dict[str, Any] | None:
    one = state.waiting
    if one is None:
        return None
    since = format_time(one.since)
    return {"since": since, "size": one.size, "attempts": one.attempts, "reason": one.reason}
