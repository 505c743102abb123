"""Writing large files into local repositories ahead of restic: the only thing that backups call.

Weights are large, do not compress, and are replaced whole: they need none of the cutting that
restic's speed goes to. They are written here in pieces of 8 MiB, together with a snapshot that
names them, the head start. restic then takes its own snapshot with that one as its parent, finds
the large files unchanged, and reads the rest. The result is an ordinary snapshot of restic's.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

from llmvault.core.clock import Clock
from llmvault.core.entries import Entry
from llmvault.core.errors import UnavailableError, VaultError
from llmvault.core.files import entry_of
from llmvault.keys.containers import parse_master_key
from llmvault.packs import journal
from llmvault.packs.files import RepositoryFiles, SharedLock
from llmvault.packs.format import (
    Pack,
    directory_node,
    file_node,
    index_document,
    is_plain,
    snapshot_document,
    tree_document,
)
from llmvault.packs.known import Known, read_known, tree_of
from llmvault.packs.model import TAG, HeadStart, Written
from llmvault.packs.writing import BLOB_SIZE, PackWriter
from llmvault.restic.repo import Repository

_PIECE = 256 << 10  # fits the second-level cache, in which two digests are taken of it
_THREADS = 2
_INDEX_EVERY = 1 << 30  # bytes of packs after which a killed run need not write them again

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ahead:
    """Where and for whom is written.

    Attributes:
        journal: names snapshots until they are removed, so that a killed run's are too.
        on_bytes: hears how many bytes are behind.
    """

    clock: Clock
    host: str
    journal: Path
    on_bytes: Callable[[int], None]


class _ChangedError(Exception):
    """A file is not what it was when it was listed."""


class _Target:
    """One repository that is written to."""

    def __init__(self, repository: Repository, ahead: Ahead, parent: str) -> None:
        directory = repository.directory()
        if directory is None:
            raise UnavailableError(f'repository "{repository.name}"', "is not a directory here")
        self.name = repository.name
        self.files = RepositoryFiles(directory, parse_master_key(repository.master_key()))
        self.lock = SharedLock(self.files, ahead.clock, ahead.journal)
        self.added = 0
        self._pack_size = repository.pack_size_mib << 20
        self._parent = parent
        self._base = ""
        self._known = Known()
        self._guard = Lock()
        self._packs: list[Pack] = []
        self._unnamed = 0

    def look(self, root: Path, files: Sequence[Entry]) -> None:
        """Read what is there already, and see that the files can be named beside it."""
        self._known = read_known(self.files)
        self._base = tree_of(self.files, self._parent) if self._parent else ""
        self._plant(root, "", self._base, {e.path: file_node(e, ()) for e in files}, [])

    def claim(self, blob: bytes) -> bool:
        """Whether a blob is still to be written, by the caller then."""
        with self._guard:
            if blob in self._known.data:
                return False
            self._known.data.add(blob)
            return True

    def writer(self, kind: str, largest: int) -> PackWriter:
        return PackWriter(
            self.files, kind, largest=largest, pack_size=self._pack_size, on_pack=self._took
        )

    def _took(self, pack: Pack) -> None:
        size = sum(blob.length for blob in pack.blobs)
        with self._guard:
            self._packs.append(pack)
            self.added += size
            self._unnamed += size
            if self._unnamed >= _INDEX_EVERY:
                self._write_index()
            self.lock.renew()

    def _write_index(self) -> None:
        if self._packs:
            self.files.save("index", index_document(self._packs))
        self._packs, self._unnamed = [], 0

    def start(self, ahead: Ahead, root: Path, nodes: Mapping[str, Mapping[str, Any]]) -> HeadStart:
        """Name everything in a snapshot; return it."""
        documents: list[bytes] = []
        tree = self._plant(root, "", self._base, nodes, documents)
        writer = self.writer("tree", max(len(document) for document in documents))
        for document in documents:
            writer.add(hashlib.sha256(document).digest(), document)
        writer.finish()
        self._write_index()
        document = snapshot_document(
            time=ahead.clock.now(), tree=tree, path=str(root), host=ahead.host, tag=TAG
        )
        place = self.files.save("snapshots", document, marks=ahead.journal)
        return HeadStart(place, self.added)

    def _plant(
        self,
        root: Path,
        folder: str,
        base: str,
        nodes: Mapping[str, Mapping[str, Any]],
        documents: list[bytes],
    ) -> str:
        """Return the id of a directory's tree: the parent's, with the files that were written."""
        found = {
            str(n["name"]): n for n in (self._known.read_tree(self.files, base) if base else ())
        }
        if not all(is_plain(name) for name in found):
            raise ValueError(f"names in {folder or 'the root'} are written in restic's own way")
        for name, below in _children(folder, nodes):
            path = f"{folder}/{name}" if folder else name
            if not below:
                found[name] = {**nodes[path]}
                continue
            before = found.get(name, {})
            subtree = self._plant(root, path, str(before.get("subtree") or ""), below, documents)
            found[name] = directory_node(entry_of(root, path), subtree)
        document = tree_document(found.values())
        documents.append(document)
        return hashlib.sha256(document).hexdigest()


def _children(
    folder: str, nodes: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    """Yield each name of a folder on the way to `nodes`, with those below it; none for a file."""
    start = len(folder) + 1 if folder else 0
    below: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path, node in nodes.items():
        name, slash, _ = path[start:].partition("/")
        inner = below.setdefault(name, {})
        if slash:
            inner[path] = node
    yield from below.items()


class _Reader:
    """Reads files piece by piece and hands each blob to the targets; one per thread."""

    def __init__(self, targets: Sequence[_Target], stopped: Event) -> None:
        self._buffer = bytearray(BLOB_SIZE)
        self._blob = hashlib.sha256()
        self._writers = [(target, target.writer("data", BLOB_SIZE)) for target in targets]
        self._stopped = stopped

    def read(
        self, root: Path, entry: Entry, on_bytes: Callable[[int], None]
    ) -> tuple[dict[str, Any], str]:
        """Write a file; return its node and its SHA-256.

        Raises:
            _ChangedError: when it is not as it was listed.
            OSError: when it cannot be read, or a repository not written to.
        """
        whole, content, total = hashlib.sha256(), [], 0
        with (root / entry.path).open("rb", buffering=0) as stream:
            while size := self._fill(stream.fileno(), whole):
                piece = memoryview(self._buffer)[:size]
                blob = self._blob.digest()
                for target, writer in self._writers:
                    if target.claim(blob):
                        writer.add(blob, piece)
                content.append(blob)
                total += size
                on_bytes(size)
                if total > entry.size or self._stopped.is_set():
                    raise _ChangedError
        if total != entry.size or entry_of(root, entry.path) != entry:
            raise _ChangedError
        return file_node(entry, content), whole.hexdigest()

    def _fill(self, descriptor: int, whole: Any) -> int:  # noqa: ANN401  hashlib's type has no name
        """Fill the buffer and take both digests while the bytes are in the processor's cache."""
        self._blob = hashlib.sha256()
        view, filled = memoryview(self._buffer), 0
        while filled < BLOB_SIZE:
            count = os.readv(descriptor, [view[filled : filled + _PIECE]])
            if not count:
                break
            piece = view[filled : filled + count]
            whole.update(piece)
            self._blob.update(piece)
            filled += count
        return filled

    def finish(self) -> None:
        for _, writer in self._writers:
            writer.finish()

    def abandon(self) -> None:
        for _, writer in self._writers:
            writer.abandon()


@contextmanager
def written_ahead(
    ahead: Ahead,
    repositories: Mapping[str, Repository],
    parents: Mapping[str, str],
    root: Path,
    files: Sequence[Entry],
) -> Iterator[Written]:
    """Write large files into repositories, and remove the snapshots that name them afterwards.

    Whatever goes wrong costs only time: then nothing was written ahead, and restic does it all.

    Args:
        repositories: name -> repository; each a directory.
        parents: repository name -> snapshot whose other files the head start is to hold as well.
        root: the tree.
        files: its large files.
    """
    written, targets = Written({}, {}), []
    try:
        targets = _open(ahead, repositories, parents)
        written = _write(ahead, targets, root, files)
    except (VaultError, OSError, ValueError) as error:
        told = error.diagnostics() if isinstance(error, VaultError) else str(error)
        _log.warning("large files are left to restic: %s", told)
    try:
        yield written
    finally:
        for target in targets:
            start = written.starts.get(target.name)
            if start:
                journal.remove(ahead.journal, start.place)


def _open(
    ahead: Ahead, repositories: Mapping[str, Repository], parents: Mapping[str, str]
) -> list[_Target]:
    with ThreadPoolExecutor(len(repositories)) as pool:
        return list(
            pool.map(
                lambda one: _Target(one, ahead, parents.get(one.name, "")), repositories.values()
            )
        )


def _write(ahead: Ahead, targets: Sequence[_Target], root: Path, files: Sequence[Entry]) -> Written:
    with ExitStack() as stack:
        for target in targets:
            target.files.sweep(ahead.clock.now())
            stack.enter_context(target.lock.held())
            target.look(root, files)
        done = _read_all(ahead, targets, root, files)
        if not done:
            return Written({}, {})
        nodes = {path: node for path, (node, _) in done.items()}
        starts = {target.name: target.start(ahead, root, nodes) for target in targets}
    return Written(starts, {path: sha256 for path, (_, sha256) in done.items()})


def _read_all(
    ahead: Ahead, targets: Sequence[_Target], root: Path, files: Sequence[Entry]
) -> dict[str, tuple[dict[str, Any], str]]:
    done: dict[str, tuple[dict[str, Any], str]] = {}
    left, guard, stopped, behind = list(reversed(files)), Lock(), Event(), [0]

    def heard(count: int) -> None:
        with guard:
            behind[0] += count
            ahead.on_bytes(behind[0])

    def work() -> None:
        reader = _Reader(targets, stopped)
        try:
            while not stopped.is_set():
                with guard:
                    if not left:
                        break
                    entry = left.pop()
                try:
                    done[entry.path] = reader.read(root, entry, heard)
                except (_ChangedError, FileNotFoundError, PermissionError):
                    continue  # restic reads it, and tells what there is to tell
            reader.finish()
        except BaseException:
            stopped.set()
            raise
        finally:
            reader.abandon()

    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(work) for _ in range(min(_THREADS, len(files)))]
        try:
            for future in running:
                future.result()
        except BaseException:
            stopped.set()
            raise
    return done
