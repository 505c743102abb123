"""Fresh directories of FAISS indexes that points are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.stores.files import copying, emptied_on_error, refuse_address, refuse_place
from llmvault.sources.stores.points import ServedPoints
from llmvault.sources.stores.process import store_process

WORKER = "llmvault.sources.faiss.worker"


class FaissImporter:
    """Makes directories of FAISS indexes (an ``ImportsRecords``).

    Args:
        live: the directory of the live indexes, which is never written to.
    """

    def __init__(self, ports: SourcePorts, live: Path | None = None) -> None:
        self._ports = ports
        self._live = live

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh directory below `scratch`, removed when the context is left."""
        with (
            tempfile.TemporaryDirectory(prefix="faiss-", dir=scratch) as private,
            self._open(Path(private)) as points,
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
        nothing: dict[str, object] = {"indexes": [], "ids": {}, "id_maps": {}, "docstores": {}}
        opening = {"path": str(path), "sample": 1, **nothing}
        thing = f"FAISS indexes {path}"
        with store_process(self._ports.runner, WORKER, thing, opening) as store:
            yield ServedPoints(store, at_one_moment=True)
