"""A bucket whose listing and locks are in memory, for lists that take a server minutes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from llmvault.objectstore.model import Head, LockMode, Retention, Version
from llmvault.objectstore.s3 import Bucket


@dataclass
class ListedBucket(Bucket):
    """Answers from memory what S3 would, so that what is measured is what llmvault does itself."""

    names: tuple[str, ...] = ()
    until: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(days=1))

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield the objects, counting a request for each page of a thousand."""
        for at, name in enumerate(self.names):
            self.requests["list_object_versions"] += at % 1_000 == 0
            yield Version(prefix + name, "version", True, False, self.until)

    def head(self, key: str, version: str = "") -> Head:
        """Return a lock that is about to lapse."""
        with self._lock:
            self.requests["head_object"] += 1
        return Head(version, 4, Retention(LockMode.COMPLIANCE, self.until), False)
