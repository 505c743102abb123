"""Writing one stream into several repositories at once: dumps, and the manifest itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from llmvault.core.errors import VaultError
from llmvault.restic.command import BackupOptions
from llmvault.restic.repo import BackupOutcome, Repository, StreamBackup


@dataclass(frozen=True, slots=True)
class StreamReading:
    """What came of reading a stream."""

    size: int
    sha256: str
    outcomes: Mapping[str, BackupOutcome | VaultError]


@dataclass(slots=True)
class Fan:
    """Running stream backups, one per repository; one that fails does not stop the others."""

    running: dict[str, StreamBackup]
    failed: dict[str, VaultError] = field(default_factory=dict)

    def write(self, chunk: bytes) -> None:
        """Hand the next bytes to every repository that is still there."""
        for name, stream in tuple(self.running.items()):
            try:
                stream.write(chunk)
            except VaultError as error:
                self.failed[name] = error
                del self.running[name]

    def keep_only(self, names: Collection[str]) -> None:
        """Write to these repositories alone; the others are stopped when the fan is left."""
        self.running = {name: one for name, one in self.running.items() if name in names}

    def finish(self) -> dict[str, BackupOutcome | VaultError]:
        """Say that the stream is complete; return what each repository made of it."""
        outcomes: dict[str, BackupOutcome | VaultError] = dict(self.failed)
        for name, stream in self.running.items():
            try:
                outcomes[name] = stream.finish()
            except VaultError as error:
                outcomes[name] = error
        return outcomes


@contextmanager
def open_fan(
    repositories: Mapping[str, Repository], filename: str, options: BackupOptions
) -> Iterator[Fan]:
    """Start restic for every repository; leaving early stops them and no snapshot is made."""
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(
                repository.open_stream(
                    filename, replace(options, pack_size_mib=repository.pack_size_mib)
                )
            )
            for name, repository in repositories.items()
        }
        yield Fan(running)


def read_stream(
    repositories: Mapping[str, Repository],
    filename: str,
    options: BackupOptions,
    chunks: Iterator[bytes],
    on_bytes: Callable[[int], None],
) -> StreamReading:
    """Write the chunks into every repository and take their digest on the way.

    Raises:
        VaultError: what the producer raised; no snapshot is made then.
    """
    hasher = hashlib.sha256()
    size = 0
    with open_fan(repositories, filename, options) as fan:
        for chunk in chunks:
            hasher.update(chunk)
            size += len(chunk)
            fan.write(chunk)
            on_bytes(size)
            if not fan.running:
                break
        return StreamReading(size, hasher.hexdigest(), fan.finish())
