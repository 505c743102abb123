"""This machine as a scratch host.

A scratch directory is named by a fixed prefix and random hex digits, and holds a marker file that
its drill keeps locked. Only a directory that has both the name and the marker is ever destroyed;
one whose marker nobody locks belongs to a drill that died.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.core.files import private_directory, remove_tree
from llmvault.core.ids import Ids
from llmvault.restore.plan import overlaps

PREFIX = "llmvault-scratch-"
MARKER = ".llmvault-scratch"


@dataclass(frozen=True, slots=True)
class LocalHost:
    """Scratch directories below `base`.

    Attributes:
        live: label -> path of everything that a drill must never touch.
    """

    base: Path
    ids: Ids
    live: Mapping[str, Path]
    name: str = "local"

    def sweep(self) -> tuple[str, ...]:
        """Destroy what drills that died have left behind, and return the names."""
        if not self.base.is_dir():
            return ()
        removed = []
        for place in sorted(self.base.glob(f"{PREFIX}*")):
            descriptor = _lock_marker(place)
            if descriptor is None:
                continue
            try:
                _destroy(place)
            finally:
                os.close(descriptor)
            removed.append(place.name)
        return tuple(removed)

    def free_bytes(self) -> int:
        """Return how many bytes can be restored to."""
        self._prepare()
        return shutil.disk_usage(self.base).free

    @contextmanager
    def scratch(self, drill: str) -> Iterator[Path]:
        """Yield a fresh private directory that is destroyed when the context is left."""
        self._prepare()
        place = self.base / f"{PREFIX}{self.ids.token()}"
        descriptor = _create(place, drill)
        try:
            yield place
        finally:
            try:
                _destroy(place)
            finally:
                os.close(descriptor)

    def _prepare(self) -> None:
        for label, path in self.live.items():
            if overlaps(self.base.resolve(), path.resolve()):
                raise RefusedError(
                    f"scratch directory {self.base}",
                    f"it overlaps with {label} at {path}",
                    "set LLMVAULT_SCRATCH to a place of its own",
                )
        try:
            private_directory(self.base)
        except OSError as error:
            raise _unwritable(self.base, error) from error


def _create(place: Path, drill: str) -> int:
    """Make the directory with its locked marker; it gets its name last, so no sweep sees it before.

    Returns the descriptor that holds the lock.
    """
    unnamed = place.with_name(f".new-{place.name}")
    descriptor = -1
    try:
        unnamed.mkdir(mode=0o700)
        descriptor = os.open(unnamed / MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, f"scratch of drill {drill}, process {os.getpid()}\n".encode())
        unnamed.rename(place)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        shutil.rmtree(unnamed, ignore_errors=True)
        raise _unwritable(place, error) from error
    return descriptor


def _unwritable(place: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"scratch directory {place}",
        error.strerror or str(error),
        "free space or set LLMVAULT_SCRATCH",
    )


def _lock_marker(place: Path) -> int | None:
    """Return the locked marker of a directory nobody uses; None when it is in use or not ours."""
    marker = place / MARKER
    try:
        if place.is_symlink() or not stat.S_ISREG(marker.lstat().st_mode):
            return None
        descriptor = os.open(marker, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _destroy(place: Path) -> None:
    """Remove a scratch directory; its marker goes last, so that a crash here can be swept too."""
    if not (place / MARKER).is_file() or not place.name.startswith(PREFIX):
        raise RefusedError(f"{place}", "it has no marker of a drill; it is not removed")
    try:
        for child in place.iterdir():
            if child.name != MARKER:
                _remove(child)
        (place / MARKER).unlink()
        place.rmdir()
    except OSError as error:
        raise UnavailableError(
            f"scratch directory {place}", f"cannot be removed: {error}", "remove it by hand"
        ) from error


def _remove(child: Path) -> None:
    if child.is_dir() and not child.is_symlink():
        remove_tree(child)
    else:
        child.unlink()
