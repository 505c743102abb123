"""Fresh Milvus stores that points are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from llmvault.core.errors import RefusedError
from llmvault.core.process import Runner
from llmvault.core.secrets import Secret
from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.milvus.points import MilvusPoints, undone_on_error
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.files import emptied_on_error, refuse_place
from llmvault.sources.stores.process import StoreProcess, store_process

_WORKER = "llmvault.sources.milvus.worker"
LITE = "milvus.db"
"""A name of a directory that pymilvus takes for one of milvus-lite."""


class MilvusImporter:
    """Makes Milvus stores (an ``ImportsRecords``).

    Args:
        token: of the server, where it demands one.
        database: of the server; its default one if empty.
    """

    def __init__(self, ports: SourcePorts, token: Secret | None = None, database: str = "") -> None:
        self._ports = ports
        self._token = token
        self._database = database

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh directory of milvus-lite below `scratch`, removed in the end."""
        with (
            tempfile.TemporaryDirectory(prefix="milvus-", dir=scratch) as private,
            open_milvus(self._ports.runner, str(Path(private) / LITE)) as client,
        ):
            yield MilvusPoints(client, at_one_moment=True)

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory of milvus-lite, or a server (``http://`` or ``https://``).

        Raises:
            RefusedError: when the directory is not new.
        """
        if urlsplit(address).scheme in ("http", "https"):
            url = plain_url(address, "the Milvus server")
            with (
                open_milvus(self._ports.runner, url, self._token, self._database) as client,
                undone_on_error(MilvusPoints(client, at_one_moment=False)) as target,
            ):
                yield target
            return
        directory = lite_directory(address)
        refuse_place(directory, None, directory=True)
        with (
            emptied_on_error(directory),
            open_milvus(self._ports.runner, str(directory)) as client,
        ):
            yield MilvusPoints(client, at_one_moment=True)


def lite_directory(address: str) -> Path:
    """Return the directory that an address names.

    Raises:
        RefusedError: when pymilvus would not take it for one of milvus-lite.
    """
    if not address.endswith(".db"):
        raise RefusedError(
            f"target {address}",
            "Milvus opens a directory only where its name ends in .db",
            "give a path that ends in .db, or http://host:port",
        )
    return Path(address)


@contextmanager
def open_milvus(
    runner: Runner, address: str, token: Secret | None = None, database: str = ""
) -> Iterator[StoreProcess]:
    """Open a directory of milvus-lite or a server, in a process of its own.

    Raises:
        VaultError: when it cannot be opened.
    """
    opening = {
        "address": address,
        "token": token.reveal() if token is not None else "",
        "database": database,
    }
    with store_process(runner, _WORKER, f"Milvus {address}", opening) as client:
        yield client
