"""The process that opens LanceDB databases: the engine is native code with threads of its own.

    python -P -m llmvault.sources.lancedb.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``path``, ``sample``, ``key``.
Further questions: ``pin`` tags the newest version of every table and returns table -> version;
``unpin`` removes those tags.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.interface import CollectionFacts, Finding, Observation
from llmvault.sources.lancedb.directory import TAG_PREFIX, table_names
from llmvault.sources.lancedb.erasing import forget, go_to, purge, versions_of
from llmvault.sources.lancedb.points import LancePoints, made_distance
from llmvault.sources.stores.points_worker import point_questions
from llmvault.sources.stores.samples import VectorTally, float32_bytes, record_digest
from llmvault.sources.stores.worker import engine_errors, one_line, required, serve

_ROW = "_rowid"
_BATCH = 1024
_METRICS = {"l2": "l2", "cosine": "cosine", "dot": "dot", "hamming": "hamming"}


@contextmanager
def open_database(opening: Mapping[str, Any]) -> Iterator[OpenDatabase]:
    """Connect to a directory; reading writes nothing."""
    os.environ.setdefault("RUST_LOG", "error")  # noqa: TID251  of this process alone
    try:
        import lancedb
    except ImportError as error:
        raise required("lancedb", "lancedb", error) from error
    path = Path(opening["path"])
    with engine_errors(f"LanceDB database {path}"):
        connection = lancedb.connect(path)
    yield OpenDatabase(connection, path, int(opening["sample"]), str(opening["key"]))


class OpenDatabase:
    """A database that is open (:class:`llmvault.sources.stores.worker.ServedStore`)."""

    def __init__(self, connection: Any, path: Path, sample: int, key: str) -> None:  # noqa: ANN401
        self._connection = connection
        self.path = path
        self._sample = sample
        self._key = key
        self._tables: dict[str, Any] = {}
        self._points = LancePoints(self, _vector_columns)

    def observe(self) -> Observation:
        """Return every table, and every column of vectors, which is read in full."""
        collections: list[CollectionFacts] = []
        findings: list[Finding] = []
        versions = {}
        for name in table_names(self.path):
            with engine_errors(f"LanceDB table {name}"):
                table = self.table(name)
                versions[name] = int(table.version)
                for tally, column in self._tallies(table):
                    label = f"{name}.{column}"
                    collections.append(tally.facts(label, {"metric": self.metric(table, column)}))
                    findings.extend(tally.findings(label))
                collections.append(self._facts(name, table))
        ordered = tuple(sorted(collections, key=lambda facts: facts.name))
        return Observation(tuple(findings), collections=ordered, details={"tables": versions})

    def _facts(self, name: str, table: Any) -> CollectionFacts:  # noqa: ANN401
        indexes = {
            f"index {each.name}": f"{each.index_type} on {', '.join(each.columns)}"
            for each in table.list_indices()
        }
        settings = {"schema": str(table.schema.to_string(show_schema_metadata=False)), **indexes}
        count = int(table.count_rows())
        return CollectionFacts(name, count, sample_digests=self._samples(table), settings=settings)

    def _samples(self, table: Any) -> dict[str, str]:  # noqa: ANN401
        keys = (
            str(key)
            for batch in self._batches(table, [])
            for key in batch.column(self.key_of(table)).to_pylist()
        )
        lowest = set(heapq.nsmallest(self._sample, keys))
        found = {}
        if lowest:
            names = [field.name for field in table.schema]
            for batch in self._batches(table, names, self._filter(table, lowest)):
                for row in batch.to_pylist():
                    key = str(row[self.key_of(table)])
                    if key in lowest:
                        content = {name: value for name, value in row.items() if name != _ROW}
                        found[key] = record_digest(content)
        return dict(sorted(found.items()))

    def _filter(self, table: Any, keys: set[str]) -> str:  # noqa: ANN401
        """Return a condition that at least these rows meet; empty where it cannot be written."""
        column = self.key_of(table)
        kind = "" if column == _ROW else str(table.schema.field(column).type)
        if kind not in ("string", "large_string"):
            return ""
        listed = ", ".join("'" + key.replace("'", "''") + "'" for key in sorted(keys))
        return f"`{column}` IN ({listed})"

    def _tallies(self, table: Any) -> Iterator[tuple[VectorTally, str]]:  # noqa: ANN401
        for column in _vector_columns(table.schema):
            tally = VectorTally(self._sample)
            for batch in self._batches(table, [column]):
                keys = batch.column(self.key_of(table)).to_pylist()
                for key, vector in zip(keys, batch.column(column), strict=True):
                    if vector.is_valid:
                        tally.add(str(key), _vector(vector))
            yield tally, column

    def _batches(self, table: Any, columns: list[str], where: str = "") -> Iterator[Any]:  # noqa: ANN401
        key = self.key_of(table)
        wanted = list(dict.fromkeys([*columns, *([] if key == _ROW else [key])]))
        query = table.search()
        if wanted:
            query = query.select(wanted)
        if key == _ROW:
            query = query.with_row_id(True)
        if where:
            query = query.where(where)
        yield from query.to_batches(batch_size=_BATCH)

    def key_of(self, table: Any) -> str:  # noqa: ANN401
        """Return the column that names a row; ``_rowid`` where there is none."""
        return self._key if self._key in table.schema.names else _ROW

    def table(self, name: str) -> Any:  # noqa: ANN401
        """Return the engine's object of a table."""
        if name not in self._tables:
            self._tables[name] = self._connection.open_table(name)
        return self._tables[name]

    def metric(self, table: Any, column: str) -> str:  # noqa: ANN401
        """Return the distance that a column was made for: by its index, or by our own mark."""
        if stated := made_distance(table.schema, column):
            return stated
        for index in table.list_indices():
            if list(index.columns) == [column]:
                stated = str(getattr(table.index_stats(index.name), "distance_type", None) or "")
                return _METRICS.get(stated.lower(), "l2")
        return "l2"

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the keys of the k nearest rows, compared one by one: no index is used."""
        name, _, column = collection.rpartition(".")
        if name not in table_names(self.path):
            raise UnavailableError(
                f"collection {collection}",
                "the database has no such table",
                "name table.column of a column of vectors",
            )
        with engine_errors(f"collection {collection}"):
            table = self.table(name)
            query = table.search(list(vector), vector_column_name=column, query_type="vector")
            query = query.bypass_vector_index().distance_type(self.metric(table, column)).limit(k)
            key = self.key_of(table)
            query = query.with_row_id(True) if key == _ROW else query.select([key, "_distance"])
            rows = query.to_list()
        nearest = sorted((row["_distance"], str(row[key])) for row in rows)
        return tuple(found for _, found in nearest)

    def names(self) -> tuple[str, ...]:
        """Return the names of the tables."""
        return table_names(self.path)

    def make(self, name: str, schema: Any) -> None:  # noqa: ANN401
        """Make an empty table."""
        self._tables[name] = self._connection.create_table(name, schema=schema)

    def as_points(self) -> LancePoints:
        """Return its tables as points."""
        return self._points

    def pin(self) -> dict[str, int]:
        """Tag the newest version of every table; return table -> version.

        Raises:
            UnavailableError: when tags cannot be written.
        """
        self.unpin()
        pinned = {}
        for name in table_names(self.path):
            with _tagging(self.path):
                table = self.table(name)
                table.checkout_latest()
                version = int(table.version)
                table.tags.create(f"{TAG_PREFIX}{version}", version)
            pinned[name] = version
        return pinned

    def unpin(self) -> None:
        """Remove our tags, those of a killed run too."""
        for name in table_names(self.path):
            with _tagging(self.path):
                table = self.table(name)
                for tag in list(table.tags.list()):
                    if tag.startswith(TAG_PREFIX):
                        table.tags.delete(tag)


@contextmanager
def _tagging(path: Path) -> Iterator[None]:
    thing = f"LanceDB database {path}"
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        told = one_line(error)
        if "PermissionDenied" in told or "Read-only" in told or "ermission denied" in told:
            raise UnavailableError(
                thing,
                "its versions cannot be tagged: permission denied",
                "run the backup as a user who may write there",
            ) from error
        raise IntegrityError(thing, f"its engine says: {told}") from error


def _vector_columns(schema: Any) -> list[str]:  # noqa: ANN401
    import pyarrow.types as types

    return [
        field.name
        for field in schema
        if types.is_fixed_size_list(field.type) and types.is_floating(field.type.value_type)
    ]


def _vector(value: Any) -> bytes:  # noqa: ANN401
    import pyarrow as pa

    values = value.values
    if values.type == pa.float32():
        return cast("bytes", values.to_numpy(zero_copy_only=False).astype("<f4").tobytes())
    return float32_bytes([float(number) for number in values.to_pylist()])


def _pin(store: OpenDatabase) -> dict[str, int]:
    return store.pin()


def _unpin(store: OpenDatabase) -> None:
    store.unpin()


QUESTIONS = {
    **point_questions(),
    "pin": _pin,
    "unpin": _unpin,
    "forget": forget,
    "purge": purge,
    "versions": versions_of,
    "go_to": go_to,
}

if __name__ == "__main__":
    serve(open_database, QUESTIONS)
