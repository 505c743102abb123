"""The files of a local repository: read, written so that a crash leaves all or nothing, locked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_IMODE

import zstandard

from llmvault.core.clock import Clock
from llmvault.core.errors import UnavailableError
from llmvault.core.files import private_directory, sync_directory
from llmvault.keys.containers import ContainerKey, Sealer
from llmvault.packs.format import is_compressed, is_exclusive, lock_document
from llmvault.packs.journal import announce, remove

_LARGEST_FILE = 64 << 20
TEMPORARY = "llmvault-"
_RENEWED_EVERY = timedelta(minutes=4)  # restic takes a lock for stale after 30 minutes


@dataclass(frozen=True, slots=True)
class RepositoryFiles:
    """A repository in a directory, and the key that opens it."""

    directory: Path
    key: ContainerKey = field(repr=False)

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the ids of all files of a kind: ``index``, ``locks``, ``snapshots``."""
        return tuple(sorted(os.listdir(self.directory / kind)))  # noqa: PTH208

    def size(self, kind: str) -> int:
        """Return the bytes of all files of a kind."""
        with os.scandir(self.directory / kind) as found:
            return sum(entry.stat().st_size for entry in found)

    def read(self, kind: str, name: str) -> bytes:
        """Return the plaintext of a file.

        Raises:
            OSError: when it cannot be read.
            IntegrityError: when it was changed.
            ValueError: when it cannot be unpacked.
        """
        plain = self.key.open((self.directory / kind / name).read_bytes())
        return unpacked(plain[1:], _LARGEST_FILE) if is_compressed(plain) else plain

    def read_part(self, pack: str, offset: int, length: int) -> bytes:
        """Return what is sealed at a place of a pack."""
        with (self.directory / "data" / pack[:2] / pack).open("rb") as stream:
            stream.seek(offset)
            return self.key.open(stream.read(length))

    def save(self, kind: str, plain: bytes, *, marks: Path | None = None) -> Path:
        """Seal and write a file durably; return where it is.

        With `marks` it is there for a while only, and noted in that journal before.
        """
        sealed = bytes(Sealer(self.key, len(plain)).seal(plain))
        final = self.directory / kind / hashlib.sha256(sealed).hexdigest()
        if marks:
            announce(marks, final)
        temporary = self.temporary(kind)
        try:
            with temporary.open("xb") as stream:
                stream.write(sealed)
            self.put(temporary, final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            if marks:
                remove(marks, final)
            raise
        return final

    def temporary(self, kind: str) -> Path:
        """Return a new name for a file that is not complete; restic looks at none such."""
        place = self.directory / "data" if kind == "data" else self.directory
        return place / f"{TEMPORARY}{os.urandom(8).hex()}.tmp"

    def put(self, temporary: Path, final: Path) -> None:
        """Give a complete file its name, durably, with the modes that restic gives."""
        mode = S_IMODE((self.directory / "config").stat().st_mode)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(mode & 0o440)
        if not final.parent.exists():
            private_directory(final.parent)
        temporary.rename(final)
        sync_directory(final.parent)

    def sweep(self, now: datetime) -> None:
        """Remove the incomplete files of dead runs: those that nobody wrote to for a day."""
        oldest = (now - timedelta(days=1)).timestamp()
        for place in (self.directory, self.directory / "data"):
            for left in place.glob(f"{TEMPORARY}*.tmp"):
                if left.stat().st_mtime < oldest:
                    left.unlink(missing_ok=True)


def unpacked(data: bytes, largest: int) -> bytes:
    """Return what zstd packed.

    Raises:
        ValueError: when it cannot be unpacked.
    """
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)[: largest + 1]
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


class SharedLock:
    """A lock that keeps ``prune`` away; to be renewed now and then while it is held.

    restic finds out whether a lock's process lives by sending it SIGHUP, if the lock names this
    host. Ours would be ended by that, so a lock names no host that there is. It is stale when it
    was not renewed for 30 minutes; a killed run's is removed by the journal before.
    """

    def __init__(self, files: RepositoryFiles, clock: Clock, marks: Path) -> None:
        self._files = files
        self._clock = clock
        self._marks = marks
        self._place: Path | None = None
        self._written = 0.0

    def renew(self) -> None:
        """Write it anew if it has grown old."""
        if self._clock.monotonic() - self._written > _RENEWED_EVERY.total_seconds():
            self._write()

    def _write(self) -> None:
        document = lock_document(
            time=self._clock.now(),
            host=f"{os.uname().nodename}/llmvault",
            process=os.getpid(),
            uid=os.getuid(),
            gid=os.getgid(),
        )
        before, self._written = self._place, self._clock.monotonic()
        self._place = self._files.save("locks", document, marks=self._marks)
        if before:
            remove(self._marks, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        Raises:
            UnavailableError: when another process has the repository for itself.
        """
        try:
            self._write()
            for other in self._files.names("locks"):
                if is_exclusive(self._read(other)):
                    raise UnavailableError(
                        "the repository", "another process has it for itself", "wait for it"
                    )
            yield
        finally:
            if self._place:
                remove(self._marks, self._place)

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read("locks", name)
        except FileNotFoundError:
            return b'{"exclusive": false}'  # released meanwhile
