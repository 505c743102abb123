"""Rows of LanceDB tables as points, in the process that has the database open.

A row's id is the text of the key column; in a table without it, the row's position. Columns of
fixed-size lists of floats are vectors.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Protocol

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import check_dimension, from_json, to_json
from llmvault.sources.stores.worker import engine_errors

KIND = "lancedb"
_METRICS = {"l2": "l2", "cosine": "cosine", "ip": "dot"}
_DISTANCES = {stated: word for word, stated in _METRICS.items()}
_OWN = ("document", "payload", "native")
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_MARK = b"llmvault/records/1"
_ROWS_A_WRITE = 20_000
_BYTES_A_WRITE = 64 << 20


class Database(Protocol):
    """What points are read from and written to."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the tables."""

    def table(self, name: str) -> Any:  # noqa: ANN401
        """Return the engine's object of a table."""

    def make(self, name: str, schema: Any) -> None:  # noqa: ANN401
        """Make an empty table."""

    def metric(self, table: Any, column: str) -> str:  # noqa: ANN401
        """Return the distance that a column's index was made for."""

    def key_of(self, table: Any) -> str:  # noqa: ANN401
        """Return the column that names a row; ``_rowid`` where there is none."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest rows."""


class LancePoints:
    """The tables of an open database (a ``RecordsTarget``; the live one is only read)."""

    at_one_moment = True

    def __init__(self, database: Database, vectors_of: Callable[[Any], list[str]]) -> None:
        self._database = database
        self._vectors_of = vectors_of
        self._sets: dict[str, RecordSet] = {}
        self._waiting: dict[str, list[Any]] = {}

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every table, sorted by name."""
        with engine_errors("the LanceDB database"):
            return tuple(self._record_set(name) for name in sorted(self._database.names()))

    def _record_set(self, name: str) -> RecordSet:
        table = self._database.table(name)
        schema = table.schema
        made = _made(schema)
        columns = self._vectors_of(schema)
        vectors = tuple(
            VectorField(
                name=made.get(column, {}).get("name", column),
                dimension=int(schema.field(column).type.list_size),
                distance=self._distance(table, column, made),
            )
            for column in columns
        )
        exact = all(str(schema.field(one).type.value_type) == "float" for one in columns)
        indexes = [
            {"column": one.columns[0], "type": str(one.index_type)}
            for one in table.list_indices()
            if len(one.columns) == 1
        ]
        return RecordSet(
            name=name,
            kind=KIND,
            id_type="text" if self._has_key(table) else "integer",
            vectors=vectors,
            exact=exact,
            native={"schema": _packed_schema(schema), "indexes": indexes},
        )

    def _distance(self, table: Any, column: str, made: Mapping[str, Any]) -> str:  # noqa: ANN401
        stated = made.get(column, {}).get("distance")
        return str(stated or _DISTANCES.get(self._database.metric(table, column), "l2"))

    def _has_key(self, table: Any) -> bool:  # noqa: ANN401
        return self._database.key_of(table) in table.schema.names

    def count(self, name: str) -> int:
        """Return how many rows there are."""
        with engine_errors(f"table {name}"):
            return int(self._table(name).count_rows())

    def points(self, name: str) -> Iterator[Point]:
        """Yield every row as the engine scans them, which is the order of insertion."""
        with engine_errors(f"table {name}"):
            yield from self._read(self._table(name))

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the rows with these ids; reads the whole table."""
        wanted = set(ids)
        return (point for point in self.points(name) if point.id in wanted)

    def _read(self, table: Any) -> Iterator[Point]:  # noqa: ANN401
        import pyarrow as pa

        schema = table.schema
        key, keyed = self._database.key_of(table), self._has_key(table)
        vectors, made = self._vectors_of(schema), _made(schema)
        others = [name for name in schema.names if name not in vectors]
        position = 0
        for batch in table.search().select(list(schema.names)).to_batches(batch_size=1_000):
            rows = pa.RecordBatch.from_arrays([batch.column(one) for one in others], others)
            columns = {one: _float32(batch.column(one)) for one in vectors}
            for place, row in enumerate(rows.to_pylist()):
                kept = {
                    str(made.get(one, {}).get("name", one)): vector
                    for one, data in columns.items()
                    if (vector := data[place]) is not None
                }
                identity = str(row[key]) if keyed else str(position)
                position += 1
                if made:
                    yield _made_point(identity, kept, row)
                else:
                    yield Point(identity, kept, {one: _plain(row[one]) for one in others})

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest rows, each compared."""
        for one in self.record_sets():
            columns = self._vectors_of(self._table(one.name).schema)
            for column, field in zip(columns, one.vectors, strict=True):
                labels = (one.name, f"{one.name}.{field.name}", f"{one.name}.{column}")
                if collection in labels:
                    return self._database.search(f"{one.name}.{column}", vector, k)
        return self._database.search(collection, vector, k)

    def create(self, wanted: RecordSet) -> str:
        """Make a table as its schema says; of another kind's points, one of our own form.

        Raises:
            RefusedError: when there is one of that name.
            UnprovenError: when LanceDB cannot hold such vectors.
        """
        name = _ODD.sub("_", wanted.name)
        if name in self._database.names():
            cause = f"it already has a table {name!r}; nothing was written"
            raise RefusedError("the LanceDB database", cause, "give a new directory")
        own = wanted.kind == KIND and "schema" in wanted.native
        schema = _unpacked_schema(wanted.native["schema"]) if own else _schema(wanted)
        with engine_errors(f"table {name}"):
            self._database.make(name, schema)
        self._sets[name] = wanted
        return name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write rows; some wait in memory so that not every page becomes files of its own."""
        schema = self._table(name).schema
        waiting = self._waiting.setdefault(name, [])
        waiting.append(self._batch(name, schema, list(points)))
        rows = sum(one.num_rows for one in waiting)
        if rows >= _ROWS_A_WRITE or sum(one.nbytes for one in waiting) >= _BYTES_A_WRITE:
            self._flush(name)

    def _flush(self, name: str) -> None:
        import pyarrow as pa

        batches = self._waiting.pop(name, [])
        if batches:
            with engine_errors(f"table {name}"):
                self._table(name).add(pa.Table.from_batches(batches))

    def _batch(self, name: str, schema: Any, points: Sequence[Point]) -> Any:  # noqa: ANN401
        import pyarrow as pa

        made, wanted = _made(schema), self._sets[name]
        for point in points:
            for one in wanted.vectors:
                where = f"{wanted.name}: record {point.id!r}"
                check_dimension(where, one, point.vectors.get(one.name))
        vectors = self._vectors_of(schema)
        arrays = []
        for field in schema:
            if field.name in vectors:
                given = made.get(field.name, {}).get("name", field.name)
                arrays.append(_vectors([point.vectors.get(given) for point in points], field.type))
            else:
                values = (
                    [_made_value(point, field.name) for point in points]
                    if made
                    else [point.payload.get(field.name) for point in points]
                )
                arrays.append(_array(f"{name}.{field.name}", values, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return the point: nothing of it is lost."""
        return point

    def finish(self, name: str) -> None:
        """Write what waits, and make the indexes."""
        self._flush(name)
        wanted = self._sets[name]
        table = self._table(name)
        vectors = self._vectors_of(table.schema)
        distances = dict(zip(vectors, (one.distance for one in wanted.vectors), strict=True))
        with engine_errors(f"table {name}"):
            for index in wanted.native.get("indexes", ()) if wanted.kind == KIND else ():
                column, kind = index["column"], _index_type(index["type"])
                if column in vectors:
                    metric = _METRICS[distances[column]]
                    table.create_index(metric=metric, vector_column_name=column, index_type=kind)
                elif kind in ("BTREE", "BITMAP", "LABEL_LIST"):
                    table.create_scalar_index(column, index_type=kind)

    def _table(self, name: str) -> Any:  # noqa: ANN401
        if name not in self._database.names():
            raise UnavailableError(f"table {name}", "the database has no such table")
        return self._database.table(name)


def _index_type(stated: str) -> str:
    """Return a type as it is asked for: ``IvfPq`` and ``IVF_PQ`` are both stated."""
    if "_" in stated or stated.isupper():
        return stated.upper()
    words = "".join(f"_{one}" if one.isupper() else one for one in stated).strip("_")
    return {"B_TREE": "BTREE"}.get(words.upper(), words.upper())


def _made(schema: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return column -> name and distance of vectors, of a table that :func:`_schema` made."""
    stated = (schema.metadata or {}).get(_MARK)
    found = json.loads(stated) if stated else {}
    return found if isinstance(found, dict) else {}


def made_distance(schema: Any, column: str) -> str:  # noqa: ANN401
    """Return what the engine calls the distance of a column that was made here; else nothing."""
    return _METRICS.get(_made(schema).get(column, {}).get("distance", ""), "")


def _schema(wanted: RecordSet) -> Any:  # noqa: ANN401
    import pyarrow as pa

    fields = [pa.field("id", pa.string(), nullable=False)]
    stated: dict[str, dict[str, str]] = {"id": {}}
    for place, one in enumerate(wanted.vectors):
        if one.dimension is None or one.distance not in _METRICS:
            cause = f"LanceDB has no vectors of distance {one.distance}"
            if one.dimension is None:
                cause = "its vectors have no one dimension"
            raise UnprovenError(f"collection {wanted.name}", cause)
        taken = one.name in ("id", *_OWN) or not one.name.isidentifier()
        column = f"vector_{place}" if one.name and taken else one.name or "vector"
        fields.append(pa.field(column, pa.list_(pa.float32(), one.dimension)))
        stated[column] = {"name": one.name, "distance": one.distance}
    fields += [pa.field(name, pa.string()) for name in _OWN]
    return pa.schema(fields, metadata={_MARK: canonical_bytes(stated)})


def _packed_schema(schema: Any) -> str:  # noqa: ANN401
    return base64.b64encode(bytes(schema.serialize())).decode()


def _unpacked_schema(text: str) -> Any:  # noqa: ANN401
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _float32(column: Any) -> list[bytes | None]:  # noqa: ANN401
    import numpy as np

    size = column.type.list_size
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), "<f4")
    rows = iter(flat.reshape(-1, size))
    return [next(rows).tobytes() if valid else None for valid in column.is_valid().to_pylist()]


def _vectors(values: Sequence[bytes | None], kind: Any) -> Any:  # noqa: ANN401
    import numpy as np
    import pyarrow as pa

    lists = [None if one is None else np.frombuffer(one, "<f4").tolist() for one in values]
    return pa.array(lists, kind)


def _array(where: str, values: Sequence[Any], kind: Any) -> Any:  # noqa: ANN401
    import pyarrow as pa

    try:
        if any(isinstance(one, str) for one in values) and not _is_text(kind):
            return pa.array(values, pa.string()).cast(kind)
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError) as error:
        cause = f"values of type {kind} cannot be brought back: {error}"
        raise IntegrityError(f"column {where}", cause) from error


def _is_text(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _plain(value: Any) -> Any:  # noqa: ANN401  any value of a column
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _made_value(point: Point, column: str) -> str | None:
    if column == "id":
        return point.id
    if column == "document":
        return point.document
    if column == "native" and not point.native:
        return None
    return canonical_bytes(to_json(point.payload if column == "payload" else point.native)).decode()


def _made_point(key: str, vectors: Mapping[str, bytes], row: Mapping[str, Any]) -> Point:
    try:
        payload = from_json(json.loads(row["payload"] or "{}"))
        native = from_json(json.loads(row["native"] or "{}"))
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"record {key!r}", f"its payload is no JSON: {error}") from error
    return Point(key, vectors, payload, row["document"], native)
