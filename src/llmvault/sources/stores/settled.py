"""Copies of directories that another process may be writing, as they were at one moment.

Engines that write every change into a log first open such a copy as they open what a crash left.
Files are flushed before they are copied: from then on the kernel tells by a file's time that its
pages were written to, through a memory map too. What changed while it was copied is copied again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.sources.stores.files import clone_tree, copying

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2
_CANNOT_FLUSH = {errno.EINVAL, errno.EROFS, errno.EBADF}


def copy_settled(source: Path, target: Path, clock: Clock) -> bool:
    """Copy a directory to a place that does not exist yet; return whether it was of one moment.

    Raises:
        OSError: when it cannot be read, or the disk is full.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            rmtree(target)
            clock.sleep(_PAUSE_SECONDS * attempt)
        _flush(source)
        before = state_of(source)
        try:
            clone_tree(source, target)
        except FileNotFoundError:
            target.mkdir(exist_ok=True)
            continue  # a file was replaced meanwhile
        if state_of(source) == before:
            return True
    return False


def copy_still(source: Path, target: Path, clock: Clock, thing: str, what: str = "it") -> None:
    """Copy a directory as :func:`copy_settled` does, or say that it cannot be had.

    Raises:
        UnavailableError: when it cannot be copied, or is written to all the time.
    """
    with copying(thing):
        settled = copy_settled(source, target, clock)
    if not settled:
        raise UnavailableError(thing, f"{what} is written to all the time", "hold its writer")


def _flush(root: Path) -> None:
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _CANNOT_FLUSH:
                raise
        finally:
            os.close(file)


def state_of(root: Path) -> Mapping[str, tuple[int, int, int, int]]:
    """Return what tells whether a file below a directory was written to; empty when one went."""
    found = {}
    for path in sorted(root.rglob("*")):
        try:
            seen = path.stat()
        except FileNotFoundError:
            return {}
        found[str(path)] = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    return found
