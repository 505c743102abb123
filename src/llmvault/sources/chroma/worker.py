"""The process that opens persist directories: the engine is native code, and a damaged index can
crash it.

    python -P -m llmvault.sources.chroma.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``directory``, ``databases``
(tenant and name of each) and ``sample``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmvault.sources.chroma.client import open_directory
from llmvault.sources.chroma.opened import OpenChroma
from llmvault.sources.chroma.points import ChromaPoints
from llmvault.sources.chroma.records import Database
from llmvault.sources.interface import Observation
from llmvault.sources.stores.points_worker import point_questions
from llmvault.sources.stores.worker import serve


@contextmanager
def open_store(opening: Mapping[str, Any]) -> Iterator[ServedChroma]:
    """Open (or create) a persist directory with its databases."""
    databases = [Database(*names) for names in opening["databases"]]
    directory = Path(opening["directory"])
    with open_directory(directory, databases, sample=opening["sample"]) as store:
        yield ServedChroma(store)


class ServedChroma:
    """A directory that is open (:class:`llmvault.sources.stores.worker.ServedStore`)."""

    def __init__(self, store: OpenChroma) -> None:
        self._store = store
        self._points = ChromaPoints(store, at_one_moment=True)

    def observe(self) -> Observation:
        """Return every collection with its count, settings and samples."""
        return Observation(collections=self._store.describe())

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first, equal distances by id."""
        return self._store.search(collection, vector, k)

    def as_points(self) -> ChromaPoints:
        """Return its records as points."""
        return self._points


if __name__ == "__main__":
    serve(open_store, point_questions())
