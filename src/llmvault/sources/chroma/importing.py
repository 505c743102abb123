"""Fresh Chroma stores that points are written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from llmvault.core.errors import RefusedError
from llmvault.core.secrets import Secret
from llmvault.sources.chroma.client import open_server
from llmvault.sources.chroma.engine import engine_on
from llmvault.sources.chroma.points import ChromaPoints, undone_on_error
from llmvault.sources.interface import RecordsTarget, SourcePorts
from llmvault.sources.stores.address import plain_url
from llmvault.sources.stores.files import emptied_on_error
from llmvault.sources.stores.points import ServedPoints

_SAMPLE = 16


class ChromaImporter:
    """Makes Chroma stores (an ``ImportsRecords``).

    Args:
        token: of the server, where it demands one.
    """

    def __init__(self, ports: SourcePorts, token: Secret | None = None) -> None:
        self._ports = ports
        self._token = token

    @contextmanager
    def private_target(self, scratch: Path) -> Iterator[RecordsTarget]:
        """Make a fresh persist directory below `scratch`, removed when the context is left."""
        with (
            tempfile.TemporaryDirectory(prefix="chroma-", dir=scratch) as private,
            self._directory(Path(private) / "store") as points,
        ):
            yield points

    @contextmanager
    def target(self, address: str) -> Iterator[RecordsTarget]:
        """Open a new directory, or a server (``http://`` or ``https://``).

        Raises:
            RefusedError: when the directory is not empty.
        """
        if urlsplit(address).scheme in ("http", "https"):
            url = plain_url(address, "the Chroma server")
            with (
                open_server(url, self._token, sample=_SAMPLE) as store,
                undone_on_error(ChromaPoints(store, at_one_moment=False)) as target,
            ):
                yield target
            return
        directory = Path(address)
        refuse_used_directory(directory)
        with emptied_on_error(directory), self._directory(directory) as points:
            yield points

    @contextmanager
    def _directory(self, path: Path) -> Iterator[ServedPoints]:
        with engine_on(path, (), sample=_SAMPLE, runner=self._ports.runner) as engine:
            yield ServedPoints(engine, at_one_moment=True)


def refuse_used_directory(target: Path) -> None:
    """Raise unless a directory is new or empty.

    Raises:
        RefusedError: when it is not.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RefusedError(
            f"target {target}", "it is not an empty directory", "give a new directory"
        )
