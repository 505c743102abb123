"""The lease under which one host of those that share a catalog works for the fleet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

_KEY = 724186039
_TAKE = text("SELECT pg_try_advisory_lock(:key, :group)")


@dataclass
class Lease:
    """A PostgreSQL advisory lock on a connection of its own; the server drops it with the host.

    With SQLite there is one host, and its scheduler holds a file lock: the lease is always held.

    Attributes:
        group: whose lease it is; each group of hosts has one of its own.
    """

    engine: Engine
    group: str
    _connection: Connection | None = field(default=None, repr=False)

    def held(self) -> bool:
        """Take the lease if it is free; return whether this process has it now."""
        if self.engine.dialect.name == "sqlite":
            return True
        try:
            return self._take()
        except SQLAlchemyError:
            self.release()
            return False

    def _take(self) -> bool:
        if self._connection is not None:
            self._connection.execute(text("SELECT 1"))  # a lost connection is a lost lease
            return True
        connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        taken = connection.execute(_TAKE, {"key": _KEY, "group": _number(self.group)})
        if taken.scalar():
            self._connection = connection
            return True
        connection.close()
        return False

    def release(self) -> None:
        """Give it back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # closes it for good: a pooled one would keep the lock
            connection.close()


def _number(group: str) -> int:
    """Return the 32 bits with sign that stand for a group."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big", signed=True)
