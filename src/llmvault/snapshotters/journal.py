"""Which snapshots a run made, written down before each is made, so that a dead run's can be found.

A run holds the kernel's lock on its journal for as long as it lives. A journal that can be locked
belongs to a run that died.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmvault.core.errors import UnavailableError
from llmvault.core.files import private_directory, sync_directory

_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run.

    Attributes:
        place: the run's private directory, for mount points.
    """

    path: Path
    stream: IO[str]

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.stem

    @property
    def place(self) -> Path:
        """The run's private directory."""
        return self.path.with_suffix("")

    def intend(self, snapshotter: str, handle: str) -> None:
        """Write down that a snapshot is about to be made; durable on return.

        Raises:
            UnavailableError: when it cannot be written: then it must not be made.
        """
        try:
            self.stream.write(json.dumps([snapshotter, handle]) + "\n")
            self.stream.flush()
            os.fsync(self.stream.fileno())
        except OSError as error:
            raise UnavailableError(
                str(self.path), f"cannot be written: {error.strerror}", "free space"
            ) from error

    def intended(self) -> list[tuple[str, str]]:
        """Return (snapshotter, handle) of what was intended, oldest first.

        A line that was cut short is of a snapshot that was not made yet.
        """
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                snapshotter, handle = json.loads(line)
            except ValueError:
                continue
            found.append((str(snapshotter), str(handle)))
        return found

    def finish(self) -> None:
        """Remove what the run needed; its snapshots are gone.

        Raises:
            OSError: when a mount point is still in use.
        """
        if self.place.exists():
            for inner in self.place.iterdir():
                inner.rmdir()
            self.place.rmdir()
        self.path.unlink()


@contextmanager
def new_journal(directory: Path, run: str) -> Iterator[Journal]:
    """Open the journal of a run that begins; it is locked before others can see it."""
    private_directory(directory)
    path = directory / f"{run}{_SUFFIX}"
    unseen = path.with_suffix(".new")
    with open(unseen, "w", encoding="utf-8", opener=_private) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseen.rename(path)
        sync_directory(directory)
        journal = Journal(path, stream)
        journal.place.mkdir(mode=0o700)
        yield journal


@contextmanager
def dead_journals(directory: Path) -> Iterator[tuple[Journal, ...]]:
    """Yield the journals of runs that died; nobody else can have them meanwhile."""
    opened: list[Journal] = []
    try:
        for path in sorted(directory.glob(f"*{_SUFFIX}")):
            journal = _locked(path)
            if journal is not None:
                opened.append(journal)
        yield tuple(opened)
    finally:
        for journal in opened:
            journal.stream.close()


def _locked(path: Path) -> Journal | None:
    try:
        stream = path.open("a", encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    if not path.exists():  # its run finished while we looked
        stream.close()
        return None
    return Journal(path, stream)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
