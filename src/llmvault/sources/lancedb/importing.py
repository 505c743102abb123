"""Fresh LanceDB databases that points are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.stores.files import copying, emptied_on_error, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import store_process

WORKER = "llmvault.sources.lancedb.worker"


class LanceImporter:
    """Makes LanceDB directories (an ``ImportsRecords``).

    Args:
        live: the directory of the live database, which is never written to.
        key: the column that names a row.
    """

    def __init__(self, ports: SourcePorts, live: Path | None = None, key: str = "id") -> None:
        self._ports = ports
        self._live = live
        self._key = key

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh directory below `scratch`, removed when the context is left."""
        with (
            tempfile.TemporaryDirectory(prefix="lancedb-", dir=scratch) as private,
            self._open(Path(private) / "store") as points,
        ):
            yield points

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory.

        Raises:
            RefusedError: when it is not empty or touches the live one.
        """
        path = refuse_address(address)
        refuse_place(path, self._live, directory=True)
        with emptied_on_error(path):
            with copying(f"target {path}"):
                path.mkdir(parents=True, exist_ok=True)
            with self._open(path) as points:
                yield points

    @contextmanager
    def _open(self, path: Path) -> Iterator[ServedPoints]:
        opening = {"path": str(path), "sample": 1, "key": self._key}
        thing = f"LanceDB database {path}"
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield ServedPoints(store, at_one_moment=True)
