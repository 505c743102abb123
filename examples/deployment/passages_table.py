"""Keep the passages in PostgreSQL, in a table with a pgvector column and its HNSW index."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from examples.deployment import database, facts
from examples.deployment.documents import Passage

if TYPE_CHECKING:
    import numpy as np
    import psycopg

_SCHEMA = (
    "create extension if not exists vector",
    f"""create table if not exists {facts.TABLE} (
        id text primary key,
        document text not null,
        body text not null,
        embedding vector({facts.EMBEDDING_DIMENSIONS}) not null
    )""",
    f"""create index if not exists {facts.TABLE}_embedding
        on {facts.TABLE} using hnsw (embedding vector_cosine_ops)""",
)
_UPSERT = f"""
    insert into {facts.TABLE} (id, document, body, embedding) values (%s, %s, %s, %s)
    on conflict (id) do update
    set document = excluded.document, body = excluded.body, embedding = excluded.embedding"""


def fill(
    deployment: Path, passages: Sequence[Passage], vectors: "Callable[[], NDArray[np.float32]]"
) -> bool:
    """Bring every passage into the table; return False if nothing was missing.

    Starts the server if need be and leaves it as it was found. `vectors` is called only if passages
    are missing, and returns one vector per passage.
    """
    import psycopg

    was_running = database.is_running(deployment)
    try:
        with psycopg.connect(database.start(deployment)) as connection:
            if count(connection) >= len(passages):
                return False
            for statement in _SCHEMA:
                connection.execute(statement)
            with connection.cursor() as cursor:
                cursor.executemany(_UPSERT, _rows(passages, vectors()))
            connection.execute(f"analyze {facts.TABLE}")
            return True
    finally:
        if not was_running:
            database.stop(deployment)


def count(connection: "psycopg.Connection[tuple[object, ...]]") -> int:
    """Return the number of passages in the table, 0 if there is no table."""
    exists = connection.execute("select to_regclass(%s)", [facts.TABLE]).fetchone()
    if exists is None or exists[0] is None:
        return 0
    row = connection.execute(f"select count(*) from {facts.TABLE}").fetchone()
    assert row is not None and isinstance(row[0], int)
    return row[0]


def _rows(
    passages: Sequence[Passage], vectors: "NDArray[np.float32]"
) -> list[tuple[str, str, str, str]]:
    return [
        (passage.id, passage.source, passage.text, str(vector.tolist()))
        for passage, vector in zip(passages, vectors, strict=True)
    ]
