"""Fresh SQLite databases that points are written to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmvault.core.files import sync_directory
from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.stores.files import copying, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import store_process

WORKER = "llmvault.sources.sqlite.worker"
_SIDES = ("", "-journal", "-wal", "-shm")


class SqliteImporter:
    """Makes SQLite database files (an ``ImportsRecords``).

    Args:
        live: the file of the live database, which is never written to.
    """

    def __init__(self, ports: SourcePorts, live: Path | None = None) -> None:
        self._ports = ports
        self._live = live

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh file below `scratch`, removed when the context is left."""
        with (
            tempfile.TemporaryDirectory(prefix="sqlite-", dir=scratch) as private,
            self._open(Path(private) / "store.db") as points,
        ):
            yield points

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new file.

        Raises:
            RefusedError: when there is a file already, or it is the live one.
        """
        path = refuse_address(address)
        refuse_place(path, self._live, directory=False)
        with copying(f"target {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._open(path) as points:
                yield points
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            sync_directory(path.parent)
        except BaseException:
            for side in _SIDES:
                Path(f"{path}{side}").unlink(missing_ok=True)
            raise

    @contextmanager
    def _open(self, path: Path) -> Iterator[ServedPoints]:
        opening = {"path": str(path), "sample": 1, "live": False, "write": True}
        thing = f"SQLite database {path}"
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield ServedPoints(store, at_one_moment=True)
