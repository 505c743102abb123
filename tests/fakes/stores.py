"""Small live stores of every kind, with the same passages in each."""

from __future__ import annotations

import json
import pickle
import sqlite3
import struct
import subprocess
import sys
import uuid
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COUNT = 60
SUBJECTS = 6


def vector(index: int) -> tuple[float, ...]:
    """Return the vector of a passage."""
    return (1.0 + index, float(index % 7), float(index % 11), 0.1)


def key(index: int) -> str:
    """Return the id of a passage."""
    return f"p{index:03}"


def packed(index: int) -> bytes:
    """Return the vector of a passage as float32, little endian."""
    return struct.pack("<4f", *vector(index))


class Bomb:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self._path, "w"))


def fill_sqlite(path: Path, *, journal: str = "delete") -> None:
    """Make a database with a table of sqlite-vec and plain ones with awkward content."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(
        "CREATE VIRTUAL TABLE passages USING vec0(id TEXT PRIMARY KEY, "
        "embedding float[4] distance_metric=cosine, subject_id TEXT, +body TEXT)"
    )
    with connection:
        for index in range(COUNT):
            row = (key(index), packed(index), f"s{index % SUBJECTS}", f"passage {index}")
            connection.execute("INSERT INTO passages VALUES (?, ?, ?, ?)", row)
    connection.execute(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, score REAL, data BLOB)"
    )
    connection.execute("CREATE INDEX notes_by_score ON notes (score)")
    connection.execute(
        "INSERT INTO notes VALUES (1, CAST(x'ff00fe' AS TEXT), 0.1, x'00ff'), (2, 'é', NULL, NULL)"
    )
    connection.execute("CREATE TABLE pairs (a TEXT, b INT, c, PRIMARY KEY (a, b)) WITHOUT ROWID")
    connection.execute("INSERT INTO pairs VALUES ('x', 1, 2.5), ('x', 2, 'y')")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5(body)")
    connection.execute("INSERT INTO texts VALUES ('a passage')")
    connection.close()


def fill_lancedb(path: Path) -> None:
    """Make a database with one table of vectors, with deletions and an index, and one without."""
    import lancedb
    import pyarrow as pa

    rows = range(COUNT + 1)
    passages = pa.table(
        {
            "id": [key(index) for index in rows],
            "body": [f"passage {index}" for index in rows],
            "subject_id": [f"s{index % SUBJECTS}" for index in rows],
            "vector": pa.array([vector(index) for index in rows], pa.list_(pa.float32(), 4)),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = lancedb.connect(path)
        table = connection.create_table("passages", passages)
        table.create_scalar_index("id")
        table.delete(f"id = '{key(COUNT)}'")
        table.tags.create("release", 1)
        connection.create_table("notes", pa.table({"n": [1, 2, 3], "t": ["a", None, "c"]}))


def fill_faiss(path: Path) -> None:
    """Make a flat, an HNSW, an IVF and an id-mapped index, an id map, a docstore and a pickle."""
    import faiss
    import numpy as np

    (path / "more").mkdir(parents=True)
    vectors = np.array([vector(index) for index in range(COUNT)], dtype=np.float32)
    flat = faiss.IndexFlatL2(4)
    hnsw = faiss.IndexHNSWFlat(4, 8)
    mapped = faiss.IndexIDMap2(faiss.IndexFlatIP(4))
    quantizer = faiss.IndexFlatL2(4)
    ivf = faiss.IndexIVFFlat(quantizer, 4, 1)
    ivf.train(vectors)
    for index in (flat, hnsw, ivf):
        index.add(vectors)
    mapped.add_with_ids(vectors, np.arange(COUNT, dtype=np.int64) + 1000)
    faiss.write_index(flat, str(path / "flat.faiss"))
    faiss.write_index(hnsw, str(path / "hnsw.faiss"))
    faiss.write_index(mapped, str(path / "mapped.faiss"))
    faiss.write_index(ivf, str(path / "more" / "ivf.index"))
    (path / "ids.json").write_text(json.dumps([key(index) for index in range(COUNT)]))
    (path / "docstore.json").write_text(json.dumps({key(i): f"passage {i}" for i in range(COUNT)}))
    with closing(sqlite3.connect(path / "docstore.db")) as connection, connection:
        connection.execute("CREATE TABLE docs (id TEXT PRIMARY KEY, body TEXT, page INT)")
        rows = [(key(i), f"passage {i}", i) for i in range(COUNT)]
        connection.executemany("INSERT INTO docs VALUES (?, ?, ?)", rows)
    (path / "index.pkl").write_bytes(pickle.dumps({0: "p000"}))


def fill_milvus(path: Path) -> None:
    """Make a milvus-lite database: two collections, a deletion, an alias, rows in its log."""
    program = f"""
from pymilvus import DataType, MilvusClient
from tests.fakes.stores import COUNT, SUBJECTS, key, vector
client = MilvusClient({str(path)!r})
schema = client.create_schema(enable_dynamic_field=True)
schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
schema.add_field("page", DataType.INT64)
indexes = client.prepare_index_params()
indexes.add_index("vector", index_type="HNSW", metric_type="L2", params={{"M": 8}})
client.create_collection("passages", schema=schema, index_params=indexes)
rows = [
    {{"id": key(i), "vector": list(vector(i)), "page": i, "subject_id": f"s{{i % SUBJECTS}}",
      "odd": {{"a": [1, None]}}}}
    for i in range(COUNT + 1)
]
client.insert("passages", rows)
client.delete("passages", ids=[key(COUNT)])
client.flush("passages")
client.upsert("passages", rows[:1])
client.create_alias("passages", "current")
schema = client.create_schema(auto_id=False)
schema.add_field("n", DataType.INT64, is_primary=True)
schema.add_field("title", DataType.FLOAT_VECTOR, dim=2)
schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=8)
schema.add_field("maybe", DataType.DOUBLE, nullable=True)
indexes = client.prepare_index_params()
indexes.add_index("title", index_type="FLAT", metric_type="COSINE")
indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
client.create_collection("notes", schema=schema, index_params=indexes)
client.insert("notes", [
    {{"n": n, "title": [0.25, 0.5 + n], "words": {{1: 0.5, 7: 0.1}}, "tags": [1, n], "maybe": None}}
    for n in (9, 10)
])
client.close()
"""
    run_apart(program)


def run_apart(program: str) -> None:
    """Run a program in a process of its own: milvus-lite keeps threads and locks."""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def fill_redis(port: int, password: str = "", *, vectors: bool = False) -> None:
    """Put a key of every type into two databases, awkward ones too, and a set of vectors."""
    import redis

    with redis.Redis(port=port, password=password or None) as client:
        client.flushall()
        for index in range(COUNT):
            client.set(f"cache:{index:03}", f"answer {index}")
        client.set(b"\xff\x00key", b"\xfe\x00value")
        client.set("lapses", "soon", ex=3_600)
        client.hset("session:1", mapping={"user": "s1", "é": b"\x80"})
        client.rpush("queue", "a", "b", "a")
        client.sadd("tags", "x", "y")
        client.zadd("ranks", {"a": 1.5, "b": -2})
        client.xadd("events", {"kind": "drill"}, id="1-1")
        client.xgroup_create("events", "readers", id="0")
        client.select(3)
        client.set("elsewhere", "1")
        if vectors:
            client.select(0)
            for index in range(COUNT):
                name, values = key(index), packed(index)
                attributes = json.dumps({"subject": f"s{index % SUBJECTS}"})
                client.execute_command(
                    "VADD", "passages", "FP32", values, name, "NOQUANT", "SETATTR", attributes
                )


def qdrant_points() -> list[dict[str, object]]:
    """Return the passages as Qdrant's API takes points."""
    return [
        {"id": index, "vector": list(vector(index)), "payload": {"n": index, "subject": "s1"}}
        for index in range(COUNT)
    ]


def fill_qdrant(path: Path) -> None:
    """Make two Edge shards: one with integer ids, deletions and a payload index, one with more."""
    import qdrant_edge as edge

    (path / "passages").mkdir(parents=True)
    (path / "notes").mkdir()
    change = edge.UpdateOperation
    config = edge.EdgeConfig(vectors={"": edge.EdgeVectorParams(4, edge.Distance.Euclid)})
    passages = edge.EdgeShard.create(str(path / "passages"), config)
    points = [
        edge.Point(index, list(vector(index)), {"n": index, "subject_id": f"s{index % SUBJECTS}"})
        for index in range(COUNT + 1)
    ]
    passages.update(change.upsert_points(points))
    passages.update(change.create_field_index("n", edge.PayloadSchemaType.Integer))
    passages.update(change.delete_points([COUNT]))
    passages.close()
    config = edge.EdgeConfig(
        vectors={
            "title": edge.EdgeVectorParams(2, edge.Distance.Cosine),
            "tokens": edge.EdgeVectorParams(
                2,
                edge.Distance.Dot,
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            ),
        },
        sparse_vectors={"words": edge.EdgeSparseVectorParams()},
        wal_enabled=False,
    )
    notes = edge.EdgeShard.create(str(path / "notes"), config)
    vectors: Any = {
        "title": [0.25, 0.5],
        "tokens": [[1.0, 2.0], [3.0, 4.0]],
        "words": edge.SparseVector([1, 7], [0.5, 0.1]),
    }
    payload = {"t": "é", "none": None, "nested": {"list": [1, 2.5, True]}}
    notes.update(change.upsert_points([edge.Point(uuid.UUID(int=7), vectors, payload)]))
    notes.flush()
    notes.close()
