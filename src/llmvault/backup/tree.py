"""Reading a tree into repositories: list, judge, let restic and the hasher read it, look again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from llmvault.backup.digests import Digest, TreeHasher, same_content, sample_of
from llmvault.backup.listing import Listing, changed_since, list_capture, literal_pattern
from llmvault.backup.model import Reading
from llmvault.backup.plan import Judgement, judge
from llmvault.core.clock import Clock
from llmvault.core.entries import Entry
from llmvault.core.errors import VaultError
from llmvault.core.files import has_holes, write_durably
from llmvault.packs.model import HeadStart, Written, large_files
from llmvault.recovery_points.model import FileRecord, FileState
from llmvault.restic.command import BackupOptions
from llmvault.restic.errors import snapshot_is_gone
from llmvault.restic.repo import BackupOutcome, Repository
from llmvault.sources.interface import TreeCapture

_LAST_STRETCH = 1 << 30


class _InterruptedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class TreeReading:
    """What came of reading a tree.

    Attributes:
        outcomes: repository name -> what restic did, or why it made no snapshot.
        unread: path -> cause, for what is not in the snapshot or has no digest.
        changed: paths that changed while they were read.
        claims_broken: paths whose content does not have the digest that the source claims for it.
    """

    records: tuple[FileRecord, ...]
    outcomes: Mapping[str, BackupOutcome | VaultError]
    states: Mapping[str, FileState]
    unread: Mapping[str, str]
    changed: tuple[str, ...]
    claims_broken: tuple[str, ...]
    rule: str


def judge_tree(root: Path, files: Sequence[Entry], before: Mapping[str, FileState]) -> Judgement:
    """Return which files are unchanged; a moved tree is believed only after looking inside."""
    judgement = judge(files, before, trust_moved=True)
    if judgement.rule != "moved":
        return judgement
    known = {path: Digest(state.sha256, state.sample) for path, state in judgement.known.items()}
    if same_content(root, [entry for entry in files if entry.path in known], known):
        return judgement
    return judge(files, before, trust_moved=False)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be read.

    Attributes:
        starts: repository name -> what was written into it ahead of restic.
        to_read: bytes that were not.
    """

    reading: Reading
    judgement: Judgement
    starts: Mapping[str, HeadStart]
    to_read: int


@dataclass(frozen=True, slots=True)
class TreeReader:
    """Reads one captured tree into several repositories at once.

    Attributes:
        staging: private directory for the lists handed to restic.
        journal: names what is written ahead of restic until it is no longer needed.
        older_parent: returns the snapshot to compare with in a repository in which the last run
            made none; empty when there is none.
        parent_lost: the same for a repository in which the named snapshot is gone; raises
            VaultError when it is not the repository it was.
        on_bytes: hears how many bytes restic has behind it.
        on_start: hears how many bytes must be read, before they are.
        on_nearly_read: called in the reading thread when less than 1 GiB is left to read.
    """

    repositories: Mapping[str, Repository]
    host: str
    tags: tuple[str, ...]
    staging: Path
    journal: Path
    clock: Clock
    older_parent: Callable[[Repository], str]
    parent_lost: Callable[[Repository, str], str]
    on_bytes: Callable[[int], None]
    on_start: Callable[[int], None]
    on_nearly_read: Callable[[], None]

    def read(
        self, capture: TreeCapture, reading: Reading, before: Mapping[str, FileState]
    ) -> TreeReading:
        """Read everything once: restic into each repository, the hasher into digests."""
        listing = list_capture(capture)
        judgement = judge_tree(capture.root, listing.files, before)
        self.on_start(sum(entry.size for entry in judgement.changed))
        with self._written_ahead(capture.root, reading, judgement) as written:
            left = tuple(e for e in judgement.changed if e.path not in written.sha256)
            hasher = TreeHasher(capture.root, left, starts=_starts(listing.files))
            hasher.digests.update(_digests(capture.root, judgement.changed, written))
            hasher.start()
            work = _Work(reading, judgement, written.starts, sum(entry.size for entry in left))
            try:
                outcomes = self._read_into_all(capture, listing, work, hasher)
                if all(isinstance(outcome, VaultError) for outcome in outcomes.values()):
                    hasher.cancel()
                hasher.finish()
            except BaseException:
                hasher.cancel()
                raise
        states = _states(listing.files, judgement, hasher.digests)
        # our own words for a cause are shorter than restic's
        unread = {**_unread(capture.root, outcomes), **listing.unreadable, **hasher.unreadable}
        if any(isinstance(outcome, BackupOutcome) for outcome in outcomes.values()):
            missing = [entry.path for entry in listing.files if entry.path not in states]
            unread = {**dict.fromkeys(missing, "no digest was taken"), **unread}
        changed = changed_since(capture, listing)
        return TreeReading(
            records=tuple(_record(entry, states) for entry in listing.entries),
            outcomes=outcomes,
            states={path: state for path, state in states.items() if path not in {*changed}},
            unread=unread,
            changed=changed,
            claims_broken=_broken_claims(capture.known_sha256, states),
            rule=judgement.rule,
        )

    def _read_into_all(
        self,
        capture: TreeCapture,
        listing: Listing,
        work: _Work,
        hasher: TreeHasher,
    ) -> dict[str, BackupOutcome | VaultError]:
        exclude, paths = self._exclude_file(capture, listing), self._paths_file(capture, listing)

        interrupted, nearly_read = Event(), Event()
        size = sum(entry.size for entry in listing.files)

        def heard(count: int) -> None:
            if interrupted.is_set():
                raise _InterruptedError  # leaving the call stops restic
            if count + _LAST_STRETCH >= size:
                nearly_read.set()
            hasher.follow(count)
            self.on_bytes(count)

        def read_into(repository: Repository) -> BackupOutcome | VaultError:
            def attempt(options: BackupOptions) -> BackupOutcome:
                return repository.backup_tree(
                    capture.root, options, files_from=paths, exclude_file=exclude, on_bytes=heard
                )

            try:
                return self._compared(repository, work, attempt)
            except VaultError as error:
                return error

        with ThreadPoolExecutor(len(self.repositories)) as pool:
            try:
                running = {name: pool.submit(read_into, r) for name, r in self.repositories.items()}
                for future in running.values():
                    future.add_done_callback(lambda _: nearly_read.set())
                if work.to_read > _LAST_STRETCH:
                    nearly_read.wait()
                self.on_nearly_read()
                return {name: future.result() for name, future in running.items()}
            except BaseException:
                interrupted.set()
                raise

    def _compared(
        self,
        repository: Repository,
        work: _Work,
        attempt: Callable[[BackupOptions], BackupOutcome],
    ) -> BackupOutcome:
        """Back up, compared with the last snapshot that there is.

        Only the last run's own snapshot is of the very files that the judgement speaks of, so any
        other is compared by restic's strict rule. A head start holds that snapshot's other files.
        """
        options = BackupOptions(
            host=self.host,
            tags=self.tags,
            parent=work.reading.parents.get(repository.name, ""),
            ignore_inode=work.judgement.rule == "moved",
            compression=work.reading.compression,
            pack_size_mib=repository.pack_size_mib,
        )
        start = work.starts.get(repository.name)
        if start:
            return _with_added(attempt(replace(options, parent=start.snapshot)), start.added)
        if not options.parent:
            older = self.older_parent(repository)
            return attempt(replace(options, parent=older, ignore_inode=False))
        try:
            return attempt(options)
        except VaultError as error:
            if not snapshot_is_gone(error):
                raise
            older = self.parent_lost(repository, options.parent)
            return attempt(replace(options, parent=older, ignore_inode=False))

    @contextmanager
    def _written_ahead(
        self, root: Path, reading: Reading, judgement: Judgement
    ) -> Iterator[Written]:
        """Write what is large and changed ahead of restic, where that is possible."""
        large = self._large_files(root, reading, judgement)
        if not large:
            yield Written({}, {})
            return
        from llmvault.packs.run import Ahead, written_ahead  # only where something is large

        ahead = Ahead(self.clock, self.host, self.journal, self.on_bytes)
        with written_ahead(ahead, self.repositories, reading.parents, root, large) as written:
            yield written

    def _large_files(self, root: Path, reading: Reading, judgement: Judgement) -> tuple[Entry, ...]:
        """Return the files to be written ahead of restic.

        None where restic is to compare with a snapshot that is older than what is remembered of the
        files: it may hold them all.
        """
        repositories = self.repositories.values()
        if reading.compression != "off" or not all(
            one.written_ahead and one.directory() for one in repositories
        ):
            return ()
        large = large_files(judgement.changed, lambda entry: has_holes(root / entry.path))
        if not large or not all(self._has_parent_or_nothing(one, reading) for one in repositories):
            return ()
        return large

    def _has_parent_or_nothing(self, repository: Repository, reading: Reading) -> bool:
        try:
            return bool(reading.parents.get(repository.name)) or not self.older_parent(repository)
        except VaultError:
            return False

    def _exclude_file(self, capture: TreeCapture, listing: Listing) -> Path | None:
        if not listing.omitted or capture.paths is not None:
            return None
        path = self.staging / "exclude"
        lines = (literal_pattern(capture.root, omitted) for omitted in listing.omitted)
        write_durably(path, b"".join(line + b"\n" for line in lines))
        return path

    def _paths_file(self, capture: TreeCapture, listing: Listing) -> Path | None:
        if capture.paths is None:
            return None
        path = self.staging / "paths"
        write_durably(path, b"".join(os.fsencode(e.path) + b"\0" for e in listing.entries))
        return path


def _digests(root: Path, files: Sequence[Entry], written: Written) -> dict[str, Digest]:
    found = {}
    for entry in files:
        sha256 = written.sha256.get(entry.path)
        with suppress(OSError):  # it is gone by now: then there is no digest, which is told
            if sha256:
                sample = sample_of(os.path.join(root, entry.path), entry.size)  # noqa: PTH118
                found[entry.path] = Digest(sha256, sample)
    return found


def _with_added(outcome: BackupOutcome, count: int) -> BackupOutcome:
    added = outcome.summary.bytes_added + count
    return replace(outcome, summary=replace(outcome.summary, bytes_added=added))


def _starts(files: Sequence[Entry]) -> dict[str, int]:
    starts, position = {}, 0
    for entry in files:
        starts[entry.path] = position
        position += entry.size
    return starts


def _states(
    files: Sequence[Entry], judgement: Judgement, digests: Mapping[str, Digest]
) -> dict[str, FileState]:
    states = {}
    for entry in files:
        known = judgement.known.get(entry.path) or digests.get(entry.path)
        if known is not None:
            states[entry.path] = FileState(
                entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, known.sha256, known.sample
            )
    return states


def _record(entry: Entry, states: Mapping[str, FileState]) -> FileRecord:
    state = states.get(entry.path)
    sha256 = state.sha256 if state else ""
    return FileRecord(entry.path, entry.kind, entry.size, entry.mode, sha256, entry.target)


def _unread(root: Path, outcomes: Mapping[str, BackupOutcome | VaultError]) -> dict[str, str]:
    above = f"{root.resolve()}/"
    return {
        error.item.removeprefix(above) or f"repository {name}": error.message
        for name, outcome in outcomes.items()
        if isinstance(outcome, BackupOutcome)
        for error in outcome.unread
    }


def _broken_claims(claims: Mapping[str, str], states: Mapping[str, FileState]) -> tuple[str, ...]:
    return tuple(
        path for path, sha256 in claims.items() if path in states and states[path].sha256 != sha256
    )
