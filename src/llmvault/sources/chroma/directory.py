"""A consistent copy of a persist directory that another process may be writing.

Chroma writes in this order: an operation is committed to the log in SQLite; the metadata tables are
brought up to it in a second transaction; once enough operations came together, the index files of
the collection are rewritten in place, the id map last; only then a third transaction moves the
index's watermark, and a fourth purges the log up to it. When a store is opened, operations above
the watermark are applied to the index again; doing so twice gives the same.

So under SQLite's write lock, index files are never older than the watermark in the tables and never
newer than the log: what is copied then can be opened, provided that no file is copied half written.
The lock does not stop a save that is under way, but once that one is done its writer waits for the
lock. Hence: a set of files is taken when its id map is its newest file and ends as a pickle does,
and nothing changed while it was copied; else the copying waits for the save to end.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmvault.core.clock import Clock
from llmvault.sources.chroma.layout import (
    DATABASE,
    ID_MAP,
    Layout,
    connect,
    read_layout,
    reading,
    sqlite_errors,
)
from llmvault.sources.interface import Finding
from llmvault.sources.stores.files import clone_file

_log = logging.getLogger(__name__)
_SETTLE_SECONDS = 15.0
_PAUSE_SECONDS = 0.02
_RACY_NS = 2_000_000_000
_PICKLE_STOP = b"."


@dataclass(frozen=True, slots=True)
class DirectoryCopy:
    """What a copy holds."""

    layout: Layout
    findings: tuple[Finding, ...]


def copy_store(store: Path, target: Path, clock: Clock) -> DirectoryCopy:
    """Copy a persist directory into the empty directory `target` at one moment in its life.

    Writers, and clients that open a collection for the first time, wait while the database and
    whatever changed since a first, unlocked pass are copied; Chroma waits patiently for the lock.
    SQLite's backup keeps every page where it is, so that an unchanged store gives the same bytes
    and a changed one mostly the same; ``VACUUM INTO`` would move pages, and take longer under the
    lock. Indexes of deleted collections are not copied.

    Raises:
        UnavailableError: when the store is not there or stays locked.
        IntegrityError: when its database is damaged.
    """
    copier = _IndexCopier(store, target, clock)
    # opened read-write so that SQLite rolls back what a killed writer left, as Chroma itself would
    with sqlite_errors(store), closing(connect(store, "mode=rw")) as connection:
        copier.copy_ahead(read_layout(connection))
    started = clock.monotonic()
    with sqlite_errors(store), _write_lock(store):
        # POSIX drops a process's locks on a file when any descriptor of it is closed: from here on
        # the live database is touched through SQLite only.
        with reading(store) as connection:
            layout = read_layout(connection)
            _copy_database(connection, target / DATABASE)
        findings = copier.copy_settled(layout)
        _copy_attributes(store / DATABASE, target / DATABASE, clock)
    _log.info("%s: writers waited at most %.3f s", store, clock.monotonic() - started)
    copier.drop_others(layout)
    return DirectoryCopy(layout, findings)


def clone_tree(source: Path, target: Path) -> None:
    """Copy what is in a directory, with owners, modes and times; share blocks where possible."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        copy = target / entry.name
        if entry.is_symlink():
            continue  # neither Chroma nor we make any
        if entry.is_dir():
            clone_tree(entry, copy)
        else:
            clone_file(entry, copy)
        shutil.copystat(entry, copy)
        _copy_owner(entry, copy)


@contextmanager
def _write_lock(store: Path) -> Iterator[None]:
    with closing(connect(store, "mode=rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _copy_database(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        connection.backup(copy)


@dataclass(frozen=True, slots=True)
class _Stamp:
    size: int
    mtime_ns: int
    inode: int


def _stamps(directory: Path) -> Mapping[str, _Stamp]:
    """Return the files of an index, leaving out unfinished ones, which begin with a dot."""
    if not directory.is_dir():
        return {}
    found = {}
    for entry in os.scandir(directory):
        if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
            seen = entry.stat(follow_symlinks=False)
            found[entry.name] = _Stamp(seen.st_size, seen.st_mtime_ns, seen.st_ino)
    return found


@dataclass(slots=True)
class _IndexCopier:
    store: Path
    target: Path
    clock: Clock
    _copied: dict[tuple[str, str], _Stamp] = field(default_factory=dict)

    def copy_ahead(self, layout: Layout) -> None:
        """Copy what is there without a lock, so that little is left to do under it."""
        for segment in layout.segments:
            try:
                self._copy_segment(segment, _stamps(self.store / segment))
            except FileNotFoundError:
                continue  # gone meanwhile; looked at again under the lock

    def copy_settled(self, layout: Layout) -> tuple[Finding, ...]:
        """Copy every saved index as it was between two saves; the write lock is held."""
        torn = [
            segment for segment in sorted(layout.segments) if not self._copy_when_settled(segment)
        ]
        detail = "its files are newer than its id map and no save ends: a crash tore the index"
        return tuple(Finding("index-torn", segment, detail, "unproven") for segment in torn)

    def _copy_when_settled(self, segment: str) -> bool:
        give_up = self.clock.monotonic() + _SETTLE_SECONDS
        while True:
            before = _stamps(self.store / segment)
            if ID_MAP not in before:  # never saved: Chroma starts it afresh from the log
                shutil.rmtree(self.target / segment, ignore_errors=True)
                return True
            settled = _is_settled(self.store / segment, before)
            late = self.clock.monotonic() > give_up
            if settled or late:
                self._copy_segment(segment, before)
                if late or _stamps(self.store / segment) == before:
                    return settled
            self.clock.sleep(_PAUSE_SECONDS)

    def _copy_segment(self, segment: str, stamps: Mapping[str, _Stamp]) -> None:
        (self.target / segment).mkdir(mode=0o700, exist_ok=True)
        for name, stamp in stamps.items():
            if self._copied.get((segment, name)) == stamp:
                continue
            source, copy = self.store / segment / name, self.target / segment / name
            aged = _is_aged(stamp.mtime_ns, self.clock)
            clone_file(source, copy)
            _copy_attributes(source, copy, self.clock)
            if aged:
                self._copied[segment, name] = stamp
        _copy_attributes(self.store / segment, self.target / segment, self.clock)

    def drop_others(self, layout: Layout) -> None:
        """Remove what was copied ahead and no longer belongs to the store."""
        for path in self.target.iterdir():
            if path.is_dir() and path.name not in layout.segments:
                shutil.rmtree(path)


def _is_settled(directory: Path, stamps: Mapping[str, _Stamp]) -> bool:
    newest = max(stamp.mtime_ns for stamp in stamps.values())
    last = stamps[ID_MAP].size - 1
    if stamps[ID_MAP].mtime_ns < newest or last < 0:
        return False
    with (directory / ID_MAP).open("rb") as stream:
        return os.pread(stream.fileno(), 1, last) == _PICKLE_STOP


def _is_aged(mtime_ns: int, clock: Clock) -> bool:
    """Whether a further write would surely show as another modification time."""
    return mtime_ns < clock.now().timestamp() * 1e9 - _RACY_NS


def _copy_attributes(source: Path, copy: Path, clock: Clock) -> None:
    """Give a copy the owner, mode and, if it is old enough, the modification time of its source.

    With the same time restic need not read an unchanged file again. A file that changed just now
    keeps the copy's own time, for a later write could leave the same one behind.
    """
    seen = source.stat()
    copy.chmod(stat.S_IMODE(seen.st_mode))
    _copy_owner(source, copy)
    if _is_aged(seen.st_mtime_ns, clock):
        os.utime(copy, ns=(seen.st_mtime_ns, seen.st_mtime_ns))


def _copy_owner(source: Path, copy: Path) -> None:
    if os.geteuid() == 0:
        seen = source.stat()
        os.chown(copy, seen.st_uid, seen.st_gid)
