"""Files: durable writes, tree listings and digests.

Paths relative to a tree are ``str`` with surrogate escapes, as Python reads them from the kernel,
so names that are not UTF-8 survive.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmvault.core.entries import Entry

_READ_SIZE = 256 << 10  # fits the second-level cache, so that hashing reads no memory twice


def private_directory(path: Path) -> None:
    """Create a directory and what is missing above it, each for its owner alone."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a directory, also where restored modes forbid it; no symbolic link is followed.

    Raises:
        OSError: when something cannot be removed even so.
    """
    path.chmod(0o700)
    for above, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(above, name)  # noqa: PTH118  names may hold surrogate escapes
            if not os.path.islink(inner):  # noqa: PTH114
                os.chmod(inner, 0o700)  # noqa: PTH101
    shutil.rmtree(path)


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the old bytes or the new ones, never a mixture."""
    private_directory(path.parent)
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock by a file, waiting for whoever has it; the kernel frees it when we die."""
    private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def entry_of(root: Path, relative: str) -> Entry:
    """Return the entry of one name below `root`.

    Raises:
        OSError: when it does not exist or cannot be read.
    """
    return _entry(f"{root}/{relative}", relative)


def _entry(full: str, relative: str) -> Entry:
    seen = os.lstat(full)
    kind = _KINDS[stat.S_IFMT(seen.st_mode)]
    return Entry(
        path=relative,
        kind=kind,
        size=seen.st_size if kind == "file" else 0,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        ctime_ns=seen.st_ctime_ns,
        inode=seen.st_ino,
        device=seen.st_dev,
        links=seen.st_nlink,
        target=os.readlink(full) if kind == "symlink" else "",  # noqa: PTH115
    )


def has_holes(path: Path) -> bool:
    """Whether a file takes less space than its size because parts of it were never written.

    A file of which that cannot be found out is taken for one.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            return size > 0 and os.lseek(stream.fileno(), 0, os.SEEK_HOLE) < size
    except OSError:
        return True


def list_tree(root: Path, *, on_error: Callable[[str, OSError], None]) -> Iterator[Entry]:
    """Yield every name below `root`, depth first and sorted by name in each directory.

    The order is restic's: an entry comes before what is in it. A name that cannot be read is handed
    to `on_error` with its relative path, and the walk goes on.
    """
    yield from _list_below(str(root), "", on_error)


def _list_below(
    root: str, prefix: str, on_error: Callable[[str, OSError], None]
) -> Iterator[Entry]:
    try:
        names = sorted(os.listdir(f"{root}/{prefix}"), key=os.fsencode)  # noqa: PTH208
    except OSError as error:
        on_error(prefix, error)
        return
    for name in names:
        relative = f"{prefix}/{name}" if prefix else name
        try:
            entry = _entry(f"{root}/{relative}", relative)
        except OSError as error:
            on_error(relative, error)
            continue
        yield entry
        if entry.kind == "dir":
            yield from _list_below(root, relative, on_error)


def sha256_file(path: Path | str, *, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 (64 hex digits) of a file, read once in pieces.

    Raises:
        OSError: when it cannot be read.
    """
    hasher = hashlib.sha256()
    buffer = bytearray(_READ_SIZE)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
        while count := stream.readinto(buffer):
            hasher.update(view[:count])
            if on_bytes is not None:
                on_bytes(count)
    return hasher.hexdigest()
