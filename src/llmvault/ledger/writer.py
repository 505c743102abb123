"""Appending to a ledger in a directory, durable on return, by several threads and processes.

Entries and tiles are written first, the signed checkpoint last: an append counts from the moment
the checkpoint is there. What a process that died had written beyond it was never acknowledged and
is written over. Threads that append at the same time share one commit; processes take turns by a
lock on a file, which the kernel releases when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.files import private_directory, sync_directory, write_durably
from llmvault.keys.note import SigningKey, VerifierKey, sign_note, signers_of
from llmvault.ledger.checkpoint import head_text
from llmvault.ledger.entries import entry_bytes
from llmvault.ledger.files import CHECKPOINT, LedgerFiles, read_tile
from llmvault.ledger.growth import Growth, grow
from llmvault.ledger.merkle import EMPTY_ROOT, HASH_SIZE
from llmvault.ledger.model import Checkpoint, Head
from llmvault.ledger.tiles import LEVELS_PER_TILE, LONGEST_ENTRY, WIDTH, parse_bundle, tile_path

_LOCK = "lock"


@dataclass(slots=True)
class _Waiting:
    """Entries that wait for their commit.

    Attributes:
        woken: set when they are committed, or when their thread is to commit for all.
    """

    entries: Sequence[bytes]
    first: int | None = None
    error: Exception | None = None
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> bool:
        """Whether their commit has ended."""
        return self.first is not None or self.error is not None


@dataclass
class TileLedger:
    """The ledger of this installation; see :class:`llmvault.ledger.interface.Ledger`.

    Attributes:
        key: returns the key that signs; asked at every commit, so that a rotated one is taken up.
        verifiers: returns every public key so far; one of them must have signed what is there.
    """

    directory: Path
    key: Callable[[], SigningKey]
    verifiers: Callable[[], Sequence[VerifierKey]]
    clock: Clock
    host: str
    _queue: list[_Waiting] = field(default_factory=list, repr=False)
    _mutex: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _committing: bool = field(default=False, repr=False)
    _known: Growth | None = field(default=None, repr=False)
    _known_note: str = field(default="", repr=False)

    @property
    def files(self) -> LedgerFiles:
        """The same ledger, for reading."""
        return LedgerFiles(self.directory)

    def append(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Append an entry and return its index; it is durable on return.

        Raises:
            UnavailableError: when it could not be written.
            IntegrityError: when the ledger is damaged, or its checkpoint is not signed by our key.
            ValueError: when the entry is longer than 65,535 bytes.
        """
        return self.append_all([(kind, facts)])

    def append_all(self, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
        """Append entries one after the other, in one commit; return the first one's index."""
        now = self.clock.now()
        waiting = _Waiting(
            [entry_bytes(kind, facts, at=now, host=self.host) for kind, facts in entries]
        )
        for data in waiting.entries:
            if len(data) > LONGEST_ENTRY:
                raise ValueError(f"an entry has {len(data)} bytes, 65,535 at most can be kept")
        with self._mutex:
            self._queue.append(waiting)
            leads, self._committing = not self._committing, True
        if not leads:
            waiting.woken.wait()
        if not waiting.done:
            self._commit_queue()
        if waiting.error is not None:
            raise waiting.error
        assert waiting.first is not None  # noqa: S101  set with every commit that did not fail
        return waiting.first

    def begin(self, origin: str) -> Checkpoint:
        """Begin an empty ledger of that name, or return the checkpoint of the one that is there."""
        with self._exclusive():
            if not self.files.exists():
                self._sign(Head(origin, 0, EMPTY_ROOT))
            return self.files.checkpoint()

    def sign_over(self, old: SigningKey | None) -> Checkpoint:
        """Sign the newest head anew by the present key, and by the one whose place it took."""
        with self._exclusive():
            self._present()
            checkpoint = self._sign(self.files.checkpoint().head, *([old] if old else []))
            self._known_note = checkpoint.note
            return checkpoint

    def _commit_queue(self) -> None:
        """Commit for all that wait, and hand over to one of those that came meanwhile."""
        with self._mutex:
            batch, self._queue = self._queue, []
        try:
            first = self._commit([data for one in batch for data in one.entries])
            for one in batch:
                one.first = first
                first += len(one.entries)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else _interrupted(self.directory)
            for one in batch:
                one.error = failure
            if failure is not error:
                raise
        finally:
            with self._mutex:
                self._committing = bool(self._queue)
                for one in (*batch, *self._queue[:1]):
                    one.woken.set()

    def _commit(self, entries: Sequence[bytes]) -> int:
        with self._exclusive():
            before, origin = self._present()
            after = grow(before, entries)
            try:
                self._write(after)
                self._sign(Head(origin, after.size, after.root()))
            except OSError as error:
                self._known = None
                cause = error.strerror or str(error)
                raise UnavailableError(
                    f"ledger {self.directory}", f"it cannot be written: {cause}", "free space"
                ) from error
            self._known, self._known_note = after, self.files.checkpoint().note
            self._remove_outgrown(before, after)
            return before.size

    def _write(self, after: Growth) -> None:
        """Write tiles and bundles in place: what is torn lies beyond the checkpoint."""
        folders = set()
        for relative, data in after.written.items():
            path = self.directory / relative
            private_directory(path.parent)
            with open(path, "wb", opener=_private) as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            folders.add(path.parent)
        for folder in folders:
            sync_directory(folder)

    def _present(self) -> tuple[Growth, str]:
        """Return the ledger's right edge and its origin, read again if another process wrote."""
        checkpoint = self.files.checkpoint()
        if self._known is None or checkpoint.note != self._known_note:
            if not signers_of(checkpoint.note, self.verifiers()):
                raise IntegrityError(
                    "ledger checkpoint",
                    "it is not signed by this installation's key",
                    "look at: llmvault ledger verify, llmvault keys status",
                )
            self._known = right_edge(self.directory, checkpoint.head)
            self._known_note = checkpoint.note
        return self._known, checkpoint.head.origin

    def _sign(self, head: Head, *others: SigningKey) -> Checkpoint:
        note = sign_note(head_text(head), [self.key(), *others])
        write_durably(self.directory / CHECKPOINT, note.encode())
        return Checkpoint(head, note)

    def _remove_outgrown(self, before: Growth, after: Growth) -> None:
        """Remove partial tiles that wider ones have taken the place of; readers take those."""
        for level, hashes in enumerate(before.tiles):
            number, width = (before.size >> LEVELS_PER_TILE * level) // WIDTH, len(hashes)
            now = after.width(level, number)
            if not width or width == now:
                continue
            for name in (level, "entries") if level == 0 else (level,):
                (self.directory / tile_path(name, number, width)).unlink(missing_ok=True)
                if now == WIDTH:
                    partials = self.directory / f"{tile_path(name, number)}.p"
                    shutil.rmtree(partials, ignore_errors=True)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            private_directory(self.directory)
            stream = (self.directory / _LOCK).open("a")
        except OSError as error:
            cause = error.strerror or str(error)
            thing = f"ledger {self.directory}"
            raise UnavailableError(thing, f"cannot be opened: {cause}") from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _interrupted(directory: Path) -> UnavailableError:
    return UnavailableError(f"ledger {directory}", "the thread that wrote for all was interrupted")


def right_edge(directory: Path, head: Head) -> Growth:
    """Return what the next entries are appended to.

    Raises:
        IntegrityError: when it does not lead to the head's root.
    """
    tiles: list[tuple[bytes, ...]] = []
    count = head.size
    while count:
        number, width = divmod(count, WIDTH)
        data = read_tile(directory, len(tiles), number, width) if width else b""
        tiles.append(tuple(data[i * HASH_SIZE : (i + 1) * HASH_SIZE] for i in range(width)))
        count = number
    number, width = divmod(head.size, WIDTH)
    bundle = read_tile(directory, "entries", number, width) if width else b""
    entries = parse_bundle(bundle, width, tile_path("entries", number, width or WIDTH))
    edge = Growth(head.size, tuple(tiles), tuple(entries))
    if edge.root() != head.root:
        raise IntegrityError(
            "ledger", "its tiles do not lead to its checkpoint", "look at: llmvault ledger verify"
        )
    return edge
