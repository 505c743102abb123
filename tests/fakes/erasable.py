"""Live stores with points of several people, whose texts and vectors can be told anywhere."""

from __future__ import annotations

import json
import random
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.fakes.stores import run_apart
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from chromadb.api.client import Client

COUNT = 60
DIMENSION = 16
PEOPLE = ("gone", "kept", "other")


def person(index: int) -> str:
    """Return whom a point is about."""
    return PEOPLE[index % len(PEOPLE)]


def text(index: int) -> str:
    """Return the text of a point."""
    return f"canary-{person(index)}-{index:03} of a passage"


def values(index: int) -> list[float]:
    """Return the vector of a point: values of no other point, of length 1 as cosine keeps them."""
    some = random.Random(index)
    found = [some.uniform(-1, 1) for _ in range(DIMENSION)]
    length = sum(one * one for one in found) ** 0.5
    return [one / length for one in found]


def packed(index: int) -> bytes:
    """Return the vector of a point as float32, little endian."""
    return struct.pack(f"<{DIMENSION}f", *values(index))


def ids_of(who: str) -> list[int]:
    """Return the points that are about a person."""
    return [index for index in range(COUNT) if person(index) == who]


def fill_sqlite(path: Path) -> None:
    """Make a database in WAL mode with vectors and an index of full text."""
    connection = opened_sqlite(path)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute(
        f"CREATE VIRTUAL TABLE points USING vec0(id TEXT PRIMARY KEY, embedding float[{DIMENSION}],"
        " who TEXT, +body TEXT)"
    )
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(body, who UNINDEXED)")
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, who TEXT, body TEXT)")
    with connection:
        for index in range(COUNT):
            row = (f"p{index}", packed(index), person(index), text(index))
            connection.execute("INSERT INTO points VALUES (?, ?, ?, ?)", row)
            connection.execute("INSERT INTO words VALUES (?, ?)", (text(index), person(index)))
            connection.execute(
                "INSERT INTO notes VALUES (?, ?, ?)", (index, person(index), text(index))
            )
    connection.close()


def opened_sqlite(path: Path) -> Any:  # noqa: ANN401
    """Open a database with sqlite-vec, with deletion as most builds of SQLite have it."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def delete_in_sqlite(path: Path) -> None:
    """Delete a person's rows, and nothing else."""
    connection = opened_sqlite(path)
    for table in ("points", "words", "notes"):
        connection.execute(f"DELETE FROM {table} WHERE who = 'gone'")
    connection.close()


def fill_postgres(server: PostgresServer, name: str) -> str:
    """Make a database; return its URL."""
    url = server.create(name)
    with server.connect(name) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(
            f"CREATE TABLE points (id int PRIMARY KEY, who text, body text, v vector({DIMENSION}))"
        )
        connection.execute("CREATE TABLE loose (who text, body text)")
        for index in range(COUNT):
            row = (index, person(index), text(index), str(values(index)))
            connection.execute("INSERT INTO points VALUES (%s, %s, %s, %s::vector)", row)
            connection.execute("INSERT INTO loose VALUES (%s, %s)", row[1:3])
        connection.execute("CREATE INDEX ON points USING hnsw (v vector_l2_ops)")
        connection.execute("CREATE INDEX ON points (body)")
        connection.execute("ANALYZE")
        connection.execute("CHECKPOINT")
    return url


def delete_in_postgres(server: PostgresServer, name: str) -> None:
    """Delete a person's rows, and have them written."""
    with server.connect(name) as connection:
        connection.execute("DELETE FROM points WHERE who = 'gone'")
        connection.execute("DELETE FROM loose WHERE who = 'gone'")
        connection.execute("VACUUM")
        connection.execute("CHECKPOINT")


def fill_lancedb(path: Path) -> None:
    """Make a table with indexes of its vectors and its keys."""
    import lancedb
    import pyarrow as pa

    rows = range(COUNT)
    table = lancedb.connect(path).create_table(
        "points",
        pa.table(
            {
                "id": [f"p{index}" for index in rows],
                "who": [person(index) for index in rows],
                "body": [text(index) for index in rows],
                "vector": pa.array([values(i) for i in rows], pa.list_(pa.float32(), DIMENSION)),
            }
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.create_index(
            metric="l2", num_partitions=2, vector_column_name="vector", index_type="IVF_FLAT"
        )
        table.create_scalar_index("who")


def delete_in_lancedb(path: Path) -> None:
    """Delete a person's rows, and tidy up as Lance does by default."""
    import lancedb

    table = lancedb.connect(path).open_table("points")
    table.delete("who = 'gone'")
    table.optimize()


def opened_chroma(path: Path) -> Any:  # noqa: ANN401
    """Open a persist directory."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(_env_file=None, anonymized_telemetry=False)
    return chromadb.PersistentClient(str(path), settings=settings)


def fill_chroma(path: Path) -> None:
    """Make a collection whose index is saved to files, and a file that is none of Chroma's."""
    with cast("Client", opened_chroma(path)) as client:
        collection = client.create_collection(
            "points",
            configuration={"hnsw": {"space": "l2", "sync_threshold": 20, "batch_size": 10}},
            embedding_function=None,
        )
        collection.add(
            ids=[f"p{index}" for index in range(COUNT)],
            embeddings=cast("Any", [values(index) for index in range(COUNT)]),
            documents=[text(index) for index in range(COUNT)],
            metadatas=[{"who": person(index), "n": index} for index in range(COUNT)],
        )
    (path / "README").write_text("whose store this is\n")


def delete_in_chroma(path: Path) -> None:
    """Delete a person's records."""
    with cast("Client", opened_chroma(path)) as client:
        client.get_collection("points", embedding_function=None).delete(where={"who": "gone"})


def fill_qdrant(path: Path) -> None:
    """Make an Edge shard with a log."""
    import qdrant_edge as edge

    (path / "points").mkdir(parents=True)
    config = edge.EdgeConfig(vectors={"": edge.EdgeVectorParams(DIMENSION, edge.Distance.Euclid)})
    shard = edge.EdgeShard.create(str(path / "points"), config)
    points = [
        edge.Point(index, values(index), {"who": person(index), "body": text(index)})
        for index in range(COUNT)
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.update(edge.UpdateOperation.create_field_index("who", edge.PayloadSchemaType.Keyword))
    shard.flush()
    shard.close()


def delete_in_qdrant(path: Path) -> None:
    """Delete a person's points, and have the shard optimized as far as it sees fit."""
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(path / "points"))
    shard.update(edge.UpdateOperation.delete_points(list(ids_of("gone"))))
    shard.optimize()
    shard.flush()
    shard.close()


def fill_milvus(path: Path) -> None:
    """Make a milvus-lite database with an alias."""
    run_apart(
        f"""
from pymilvus import DataType, MilvusClient
from tests.fakes.erasable import COUNT, DIMENSION, person, text, values
client = MilvusClient({str(path)!r})
schema = client.create_schema(enable_dynamic_field=True)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
indexes = client.prepare_index_params()
indexes.add_index("vector", index_type="FLAT", metric_type="L2")
client.create_collection("points", schema=schema, index_params=indexes)
client.insert("points", [
    {{"id": i, "vector": values(i), "who": person(i), "body": text(i)}} for i in range(COUNT)
])
client.flush("points")
client.create_alias("points", "current")
client.close()
"""
    )


def delete_in_milvus(path: Path) -> None:
    """Delete a person's entities, and have it compacted."""
    run_apart(
        f"""
from pymilvus import MilvusClient
from tests.fakes.erasable import ids_of
client = MilvusClient({str(path)!r})
client.delete("points", ids=ids_of("gone"))
client.flush("points")
client.compact("points")
client.close()
"""
    )


def fill_faiss(path: Path) -> None:
    """Make an HNSW index with an id map and a docstore."""
    import faiss
    import numpy as np

    path.mkdir()
    index = faiss.IndexHNSWFlat(DIMENSION, 8)
    index.add(np.array([values(place) for place in range(COUNT)], np.float32))
    faiss.write_index(index, str(path / "points"))
    (path / "ids.json").write_text(json.dumps([f"p{place}" for place in range(COUNT)]))
    documents = {f"p{i}": {"who": person(i), "body": text(i)} for i in range(COUNT)}
    (path / "documents.json").write_text(json.dumps(documents))


def delete_in_faiss(path: Path) -> None:
    """Take a person's entries out of the docstore, as far as programs can with HNSW."""
    documents = json.loads((path / "documents.json").read_text())
    kept = {key: one for key, one in documents.items() if one["who"] != "gone"}
    (path / "documents.json").write_text(json.dumps(kept))
