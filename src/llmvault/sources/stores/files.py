"""Copies of a store's files, and the places that a restored store may be loaded into."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmvault.core.errors import RefusedError, UnavailableError

_NO_CLONE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def clone_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file inside the kernel, sharing blocks where the filesystem can.

    Holes stay holes: stores that map files into memory make them far longer than what is in them.
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        try:
            for start, end in _data(reader.fileno(), size):
                _copy_range(reader.fileno(), writer.fileno(), start, end)
            writer.truncate(size)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer, 4 << 20)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where the data of an open file begins and ends, holes left out."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(reader: int, writer: int, start: int, end: int) -> None:
    while start < end:
        done = os.copy_file_range(reader, writer, end - start, start, start)
        if done == 0:
            return  # it was cut off meanwhile
        start += done


@contextmanager
def copying(thing: str) -> Iterator[None]:
    """Turn what the file system raises while files are copied into our errors."""
    try:
        yield
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "free some space there" if full else "look at permissions"
        raise UnavailableError(thing, f"it cannot be copied: {what}", step) from error


def refuse_place(target: Path, live: Path | None, *, directory: bool) -> None:
    """Refuse a place that is in use, or that is or lies in the live store.

    Args:
        directory: whether the store is a directory; an empty one may be there already.

    Raises:
        RefusedError: nothing was written.
    """
    thing = f"target {target}"
    if live is not None and _touches(target.resolve(), live.resolve()):
        raise RefusedError(thing, "it is, or lies in, the live store", "give a new place")
    if not os.path.lexists(target):
        return
    if not directory:
        raise RefusedError(thing, "there is a file of that name", "give a new name")
    if not target.is_dir() or any(target.iterdir()):
        raise RefusedError(thing, "it is not an empty directory", "give a new directory")


def _touches(target: Path, live: Path) -> bool:
    return target.is_relative_to(live) or live.is_relative_to(target)


def refuse_address(address: str) -> Path:
    """Return the path that an address names.

    Raises:
        RefusedError: when it is the URL of a server.
    """
    if "://" in address:
        raise RefusedError(
            f"target {address.partition('://')[0]}://…",
            "this store is restored into a place on this host",
            "give a path",
        )
    return Path(address)


def clone_tree(source: Path, target: Path) -> None:
    """Copy directories and files below a directory, with modes and times; links are left out."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entry in sorted(source.iterdir()):
        copy = target / entry.name
        if entry.is_symlink():
            continue
        if entry.is_dir():
            clone_tree(entry, copy)
        elif entry.is_file():
            clone_file(entry, copy)
        else:
            continue
        shutil.copystat(entry, copy)


def place_tree(source: Path, target: Path) -> None:
    """Copy a directory to a new place, or leave nothing there.

    Raises:
        UnavailableError: when it cannot be copied, e.g. because the disk is full.
    """
    with copying(f"target {target}"), emptied_on_error(target):
        clone_tree(source, target)


@contextmanager
def emptied_on_error(place: Path) -> Iterator[None]:
    """Leave a directory as it was, absent or empty, when the context is left with an error."""
    was_there = place.exists()
    try:
        yield
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        if was_there:
            place.mkdir(exist_ok=True)
        raise


def hand_over(place: Path) -> None:
    """Give what was put into a server's directory to that directory's owner, who must read it."""
    if os.geteuid() != 0:
        return
    owner = place.parent.stat()
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
