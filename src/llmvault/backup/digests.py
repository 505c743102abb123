"""Digests of a tree, taken while restic reads it, so that the disk is read once.

The hasher goes through the files in restic's own order and stays at most a window of bytes ahead of
it: what one of them reads from disk, the other finds in the page cache.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.entries import Entry
from llmvault.core.files import sha256_file

WINDOW = 256 << 20
_SAMPLE_SIZE = 64 << 10
SAMPLED_FROM = 1 << 20


class _CancelledError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Digest:
    """What was found in a file.

    Attributes:
        sample: digest over three pieces of a large file (see :func:`sample_file`); else empty.
    """

    sha256: str
    sample: str


class TreeHasher:
    """Hashes files in a thread of its own.

    Args:
        root: the tree.
        files: entries to hash, in restic's order.
        starts: path -> where the file begins in the bytes of the whole tree, in restic's order.
        window: bytes it may be ahead of restic.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[Entry],
        *,
        starts: Mapping[str, int],
        window: int = WINDOW,
    ) -> None:
        self._root = root
        self._files = files
        self._starts = starts
        self._window = window
        self._position = 0
        self._read_by_restic = 0
        self._changed = threading.Condition()
        self._stopped = False
        self.digests: dict[str, Digest] = {}
        self.unreadable: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin to hash."""
        self._thread.start()

    def follow(self, read_by_restic: int) -> None:
        """Hear that restic has read this many bytes from the start."""
        with self._changed:
            self._read_by_restic = max(self._read_by_restic, read_by_restic)
            self._changed.notify()

    def finish(self) -> None:
        """Hash what is left without waiting for restic, and return when all is done."""
        with self._changed:
            self._window = 1 << 62
            self._changed.notify()
        self._thread.join()

    def cancel(self) -> None:
        """Stop at the next piece of data."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        for entry in self._files:
            if self._stopped:
                return
            try:
                self._hash(entry)
            except OSError as error:
                self.unreadable[entry.path] = error.strerror or str(error)
            except _CancelledError:
                return

    def _hash(self, entry: Entry) -> None:
        path = os.path.join(self._root, entry.path)  # noqa: PTH118  names may hold surrogates
        self._position = self._starts[entry.path]
        sha256 = sha256_file(path, on_bytes=self._account)
        self.digests[entry.path] = Digest(sha256, sample_of(path, entry.size))

    def _account(self, count: int) -> None:
        self._position += count
        with self._changed:
            while self._position > self._read_by_restic + self._window and not self._stopped:
                self._changed.wait()
        if self._stopped:
            raise _CancelledError


def sample_of(path: str, size: int) -> str:
    """Return the digest over a large file's first, middle and last 64 KiB; empty for small ones.

    Raises:
        OSError: when it cannot be read.
    """
    if size < SAMPLED_FROM:
        return ""
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
        for offset in (0, (size - _SAMPLE_SIZE) // 2, size - _SAMPLE_SIZE):
            stream.seek(offset)
            hasher.update(stream.read(_SAMPLE_SIZE))
    return hasher.hexdigest()


def same_content(root: Path, files: Sequence[Entry], known: Mapping[str, Digest]) -> bool:
    """Whether files that look moved still hold what was hashed before.

    Small files are compared whole; of large ones the samples of :func:`sample_of`.
    """
    for entry in files:
        path = os.path.join(root, entry.path)  # noqa: PTH118
        before = known[entry.path]
        try:
            if before.sample:
                same = sample_of(path, entry.size) == before.sample
            else:
                same = sha256_file(path) == before.sha256
        except OSError:
            return False
        if not same:
            return False
    return True
