"""Fresh Qdrant stores that points are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from llmvault.core.secrets import Secret
from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.qdrant.embedded import embedded_engine
from llmvault.sources.qdrant.points import QdrantPoints, undone_on_error
from llmvault.sources.qdrant.server import open_server
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.files import emptied_on_error, refuse_place


class QdrantImporter:
    """Makes Qdrant stores (an ``ImportsRecords``).

    Args:
        token: API key of the server, where it demands one.
    """

    def __init__(self, ports: SourcePorts, token: Secret | None = None) -> None:
        self._ports = ports
        self._token = token

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make fresh shards below `scratch`, removed when the context is left."""
        with (
            tempfile.TemporaryDirectory(prefix="qdrant-", dir=scratch) as private,
            embedded_engine(
                self._ports.runner, "Qdrant shards", {}, root=Path(private) / "store"
            ) as engine,
        ):
            yield QdrantPoints(engine, at_one_moment=True)

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory of Edge shards, or a server (``http://`` or ``https://``).

        Raises:
            RefusedError: when the directory is not empty.
        """
        if urlsplit(address).scheme in ("http", "https"):
            with (
                open_server(plain_url(address, "the Qdrant server"), self._token) as server,
                undone_on_error(QdrantPoints(server, at_one_moment=False)) as target,
            ):
                yield target
            return
        directory = Path(address)
        refuse_place(directory, None, directory=True)
        with (
            emptied_on_error(directory),
            embedded_engine(
                self._ports.runner, f"Qdrant shards in {directory}", {}, root=directory
            ) as engine,
        ):
            yield QdrantPoints(engine, at_one_moment=True)
