"""What this host knows of locks and index files, kept so that nothing is asked for twice.

A lock in compliance mode only ever gets longer, and an index file never changes, so what was seen
once stays true. Losing these files costs requests, nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmvault.core.files import private_directory, write_durably
from llmvault.locks.model import Lock
from llmvault.objectstore.model import LockMode


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files of one repository; `identity` is restic's id of it, so that none is mixed up."""

    directory: Path
    identity: str

    @property
    def _locks(self) -> Path:
        return self.directory / self.identity[:16] / "locks.jsonl"

    def locks(self) -> dict[str, Lock]:
        """Return path in the repository -> lock; what cannot be read is not known."""
        found: dict[str, Lock] = {}
        try:
            lines = self._locks.read_bytes().splitlines()
        except OSError:
            return found
        for line in lines:
            try:
                name, version, mode, until = json.loads(line)
                found[str(name)] = Lock(
                    str(version), LockMode(mode) if mode else None,
                    datetime.fromtimestamp(until, UTC) if until else None,
                )  # fmt: skip
            except (ValueError, TypeError, OverflowError):
                continue  # the last line of a run that was killed
        return found

    def add(self, locks: Mapping[str, Lock]) -> None:
        """Keep what was seen or set; durable on return."""
        private_directory(self._locks.parent)
        with open(self._locks, "ab", opener=_private) as stream:
            # a line that was cut off must not swallow the first of these
            stream.write(b"\n" + b"\n".join(_line(*one) for one in locks.items()) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def replace(self, locks: Mapping[str, Lock]) -> None:
        """Keep these and forget the others."""
        write_durably(self._locks, b"".join(_line(*one) + b"\n" for one in locks.items()))

    def packs_of(self, index: str) -> tuple[str, ...] | None:
        """Return the packs that an index file names; None when it was not read yet."""
        try:
            packs = json.loads(self._index(index).read_bytes())
        except (OSError, ValueError):
            return None
        return tuple(map(str, packs)) if isinstance(packs, list) else None

    def add_index(self, index: str, packs: Iterable[str]) -> None:
        """Keep which packs an index file names."""
        write_durably(self._index(index), json.dumps(list(packs)).encode())

    def _index(self, index: str) -> Path:
        return self.directory / self.identity[:16] / "index" / f"{index}.json"


def _line(name: str, lock: Lock) -> bytes:
    until = lock.until.timestamp() if lock.until else None
    mode = lock.mode.value if lock.mode else None
    return json.dumps([name, lock.version, mode, until], separators=(",", ":")).encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
