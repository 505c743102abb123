"""A process that keeps changing a Chroma directory: adds, upserts, updates, deletes.

    python chroma_writer.py DIRECTORY SEED

Every record says in its document which version of it this is, and its vector follows from id and
version, so that anyone can see whether the two belong together. Prints a line per operation.
"""

from __future__ import annotations

import hashlib
import random
import struct
import sys
from collections.abc import Sequence

DIMENSION = 16
SYNC_THRESHOLD = 40
COLLECTIONS = ("alpha", "beta")

Vector = Sequence[float] | Sequence[int]


def vector_of(key: str, version: int) -> Vector:
    """Return the vector that belongs to a version of a record, exact in float32."""
    seed = hashlib.sha512(f"{key}:{version}".encode()).digest()
    return [value / 65536 + 0.001953125 for value in struct.unpack(f"<{DIMENSION}H", seed[:32])]


def document_of(key: str, version: int) -> str:
    """Return the document that belongs to a version of a record."""
    return f"{key}:{version}"


def main(directory: str, seed: int) -> None:
    """Write until killed."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(directory, settings=Settings(anonymized_telemetry=False))
    handles = [
        client.get_or_create_collection(
            name,
            embedding_function=None,
            configuration={"hnsw": {"sync_threshold": SYNC_THRESHOLD, "batch_size": 10}},
        )
        for name in COLLECTIONS
    ]
    choice = random.Random(seed)
    live: dict[str, dict[str, int]] = {handle.name: {} for handle in handles}
    for step in range(1_000_000):
        handle = choice.choice(handles)
        known = live[handle.name]
        kind = choice.choice(("add", "add", "upsert", "update", "delete"))
        if kind == "add" or len(known) < 50:
            keys = [f"{seed}-{step}-{index}" for index in range(choice.randint(1, 30))]
        else:
            keys = choice.sample(sorted(known), choice.randint(1, 20))
        if kind == "delete" and keys[0] in known:
            handle.delete(ids=keys)
            for key in keys:
                del known[key]
        else:
            known |= {key: known.get(key, 0) + 1 for key in keys}
            write = handle.update if kind == "update" and keys[0] in known else handle.upsert
            if known[keys[0]] == 1:
                write = handle.add
            write(
                ids=keys,
                embeddings=[vector_of(key, known[key]) for key in keys],
                documents=[document_of(key, known[key]) for key in keys],
                metadatas=[{"version": known[key]} for key in keys],
            )
        print(step, kind, len(keys), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
