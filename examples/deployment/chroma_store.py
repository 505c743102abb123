"""Keep the passages in a Chroma collection on disk, with vectors computed here."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from examples.deployment import facts
from examples.deployment.documents import Passage

if TYPE_CHECKING:
    import chromadb
    import numpy as np

# small, so that the example has index files on disk and not only a write-ahead log
_BATCH, _SYNC_THRESHOLD = 50, 100


def fill(
    folder: Path, passages: Sequence[Passage], vectors: "Callable[[], NDArray[np.float32]]"
) -> bool:
    """Bring every passage into the collection; return False if nothing was missing.

    `vectors` is called only if passages are missing, and returns one vector per passage.
    """
    if folder.exists() and not (folder / "chroma.sqlite3").exists():
        shutil.rmtree(folder)  # index files whose database is gone belong to nothing
    with _collection(folder) as collection:
        if collection.count() >= len(passages):
            return False
        collection.upsert(
            ids=[passage.id for passage in passages],
            documents=[passage.text for passage in passages],
            embeddings=vectors(),
            metadatas=[_metadata(passage) for passage in passages],
        )
        return True


@contextmanager
def _collection(folder: Path) -> "Iterator[chromadb.Collection]":
    import chromadb
    from chromadb.api.client import Client
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
    try:
        yield client.get_or_create_collection(
            facts.COLLECTION,
            embedding_function=None,
            configuration={
                "hnsw": {
                    "space": "cosine",
                    "batch_size": _BATCH,
                    "sync_threshold": _SYNC_THRESHOLD,
                }
            },
        )
    finally:
        if isinstance(client, Client):
            client.close()


def _metadata(passage: Passage) -> dict[str, str]:
    return {"source": passage.source, "title": passage.title, "section": passage.section}
