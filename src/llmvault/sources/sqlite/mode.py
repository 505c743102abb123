"""How a live SQLite database is opened for reading, so that nothing of it changes."""

from __future__ import annotations

import os
from pathlib import Path

_WAL = b"\x02\x02"  # write and read version in the header, https://sqlite.org/fileformat.html


def reading_mode(path: Path) -> str:
    """Return SQLite's open mode, ``ro`` or ``rw``.

    Where nobody has a database in WAL mode open, its reader makes the side files ``-wal`` and
    ``-shm``, and only a writable connection takes them away again. Likewise only a writable one may
    roll back what a killed writer left in its journal, as any user of the database would.
    """
    with path.open("rb") as stream:
        versions = stream.read(20)[18:]
    alone = versions == _WAL and not path.with_name(f"{path.name}-wal").exists()
    needs_writing = alone or path.with_name(f"{path.name}-journal").exists()
    return "rw" if needs_writing and os.access(path, os.W_OK) else "ro"
