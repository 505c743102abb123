"""Rows of SQLite tables as points, in the process that has the database open.

A row's id is the text of its key; of a key of several columns, each as an SQL literal, joined by
commas; without a key, of its rowid. Columns ``float[N]`` of sqlite-vec are vectors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import check_dimension, from_json, to_json
from llmvault.sources.sqlite.tables import Table, quoted, typed

KIND = "sqlite"
_METRICS = ("l2", "cosine", "l1")
_ODD = re.compile(r"[^A-Za-z0-9_]")
_OWN = ("document", "payload", "native")
_PACKED = {"int8": "vec_int8(?)", "i8": "vec_int8(?)", "bit": "vec_bit(?)"}
_FETCHED = 200


class Database(Protocol):
    """What points are read from and written to."""

    def tables(self) -> tuple[Table, ...]:
        """Return the user's tables."""

    def unreadable(self, table: Table) -> str:
        """Return why a table cannot be read; empty when it can."""

    def columns(self, table: Table) -> list[str]:
        """Return the names of a table's columns that are written to."""

    def rows(self, statement: str, given: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a statement and yield its rows."""

    def execute(self, statement: str) -> None:
        """Run a statement that changes the database."""

    def insert(self, rows: Iterable[tuple[str, Sequence[object]]]) -> None:
        """Run statements with what is bound to them, in one transaction."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest rows."""


class SqlitePoints:
    """The tables of an open database (a ``RecordsTarget``; the live one is only read)."""

    at_one_moment = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sets: dict[str, RecordSet] = {}
        self._later: dict[str, list[str]] = {}

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every table that can be read, sorted by name."""
        tables = [one for one in self._database.tables() if not self._database.unreadable(one)]
        return tuple(self._record_set(one) for one in sorted(tables, key=lambda t: t.name))

    def _record_set(self, table: Table) -> RecordSet:
        names = self._names(table)
        vectors = tuple(
            VectorField(names[one.name], one.dimension, one.metric) for one in table.vectors
        )
        made = self._is_made(table)
        indexes = self._database.rows(
            "SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') "
            "AND tbl_name = ? AND sql IS NOT NULL ORDER BY name",
            (table.name,),
        )
        return RecordSet(
            name=table.name,
            kind=KIND,
            id_type="text" if made or table.key else "integer",
            vectors=vectors,
            native={"sql": table.sql, "later": [str(row[0]) for row in indexes]},
        )

    def count(self, name: str) -> int:
        """Return how many rows there are."""
        table = self._table(name)
        ((found,),) = self._database.rows(f"SELECT count(*) FROM {quoted(table.name)}")  # noqa: S608
        return int(found)

    def points(self, name: str) -> Iterator[Point]:
        """Yield every row in the order of its key."""
        table = self._table(name)
        yield from self._read(table, f"ORDER BY {table.order}", ())

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the rows with these ids; reads the table once for each 200 of them."""
        table = self._table(name)
        for start in range(0, len(ids), _FETCHED):
            some = [one.encode("utf-8", "surrogateescape") for one in ids[start : start + _FETCHED]]
            marks = ", ".join("?" for _ in some)
            yield from self._read(table, f"WHERE {point_id(table)} IN ({marks})", tuple(some))

    def _read(self, table: Table, rest: str, given: tuple[object, ...]) -> Iterator[Point]:
        columns = self._database.columns(table)
        names = self._names(table)
        told = ", ".join(typed(quoted(column)) for column in columns)
        statement = f"SELECT {point_id(table)}, {told} FROM {quoted(table.name)} {rest}"  # noqa: S608
        made = self._is_made(table)
        for row in self._database.rows(statement, given):
            values = {
                column: _value(kind, value)
                for column, kind, value in zip(columns, row[1::2], row[2::2], strict=True)
            }
            kept = {name: values.pop(column) for column, name in names.items()}
            found = {name: bytes(one) for name, one in kept.items() if one is not None}
            key = bytes(row[0] or b"").decode("utf-8", "surrogateescape")
            yield _made_point(key, found, values) if made else Point(key, found, values)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest rows; sqlite-vec compares each."""
        for table in self._database.tables():
            for column, name in self._names(table).items():
                label = f"{table.name}.{name}" if name else table.name
                if collection in (label, f"{table.name}.{column}", table.name):
                    return self._database.search(f"{table.name}.{column}", vector, k)
        return self._database.search(collection, vector, k)

    def create(self, wanted: RecordSet) -> str:
        """Make a table as its definition says; of another kind's, one of our own form.

        Raises:
            RefusedError: when there is one of that name.
            UnprovenError: when sqlite-vec cannot hold such vectors.
        """
        if wanted.name in {one.name for one in self._database.tables()}:
            cause = f"it already has a table {wanted.name!r}; nothing was written"
            raise RefusedError("the SQLite database", cause, "give a new file")
        native = wanted.native if wanted.kind == KIND else {}
        self._database.execute(str(native["sql"]) if native else _statement(wanted))
        self._later[wanted.name] = [str(one) for one in native.get("later", ())]
        self._sets[wanted.name] = wanted
        return wanted.name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write rows, in one transaction."""
        table = self._table(name)
        wanted = self._sets[name]
        columns = self._database.columns(table)
        made = self._is_made(table)
        names = self._names(table)

        def rows() -> Iterator[tuple[str, Sequence[object]]]:
            for point in points:
                _check(wanted, point)
                values = _made_values(point) if made else dict(point.payload)
                values.update((column, point.vectors.get(one)) for column, one in names.items())
                given = [_bound(values.get(column)) for column in columns]
                if not table.key:
                    given.insert(0, int(point.id))
                yield (
                    _insertion(table, columns, given),
                    [one.content if isinstance(one, _OddText) else one for one in given],
                )

        self._database.insert(rows())

    def kept_form(self, name: str, point: Point) -> Point:
        """Return the point: nothing of it is lost."""
        return point

    def finish(self, name: str) -> None:
        """Make indexes and triggers."""
        for statement in self._later.get(name, ()):
            self._database.execute(statement)

    def _table(self, name: str) -> Table:
        for table in self._database.tables():
            if table.name == name:
                return table
        raise UnavailableError(f"table {name}", "the database has no such table")

    def _names(self, table: Table) -> dict[str, str]:
        """Return column -> name of its vectors, which in a table made here is the one wanted."""
        wanted = self._sets.get(table.name)
        if wanted is None or wanted.kind == KIND:
            return {one.name: one.name for one in table.vectors}
        return {_column(wanted, one.name): one.name for one in wanted.vectors}

    def _is_made(self, table: Table) -> bool:
        """Whether a table has the form that :meth:`create` gives to points of other stores."""
        columns = self._database.columns(table)
        vectors = [one.name for one in table.vectors]
        return table.key == ("id",) and columns == ["id", *vectors, *_OWN]


def point_id(table: Table) -> str:
    """Return an expression for the id of a row, as bytes."""
    if len(table.key) > 1:
        text = " || ',' || ".join(f"quote({quoted(column)})" for column in table.key)
    else:
        text = f"CAST({quoted(table.key[0]) if table.key else 'rowid'} AS TEXT)"
    return f"CAST({text} AS BLOB)"


def _value(kind: str, value: Any) -> Any:  # noqa: ANN401  any value of a column
    # text that is not UTF-8 keeps its bytes as lone surrogates
    return bytes(value).decode("utf-8", "surrogateescape") if kind == "text" else value


@dataclass(frozen=True, slots=True)
class _OddText:
    """Text that is not UTF-8, as its bytes."""

    content: bytes


def _bound(value: Any) -> Any:  # noqa: ANN401  any value of a column
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return _OddText(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    return canonical_bytes(to_json(value)).decode()


def _insertion(table: Table, columns: Sequence[str], given: Sequence[object]) -> str:
    elements = {one.name: one.element for one in table.packed}
    names = list(columns) if table.key else ["rowid", *columns]
    marks = [
        "CAST(? AS TEXT)" if isinstance(one, _OddText) else _PACKED.get(elements.get(name, ""), "?")
        for name, one in zip(names, given, strict=True)
    ]
    return (
        f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, names))}) "  # noqa: S608
        f"VALUES ({', '.join(marks)})"
    )


def _statement(wanted: RecordSet) -> str:
    for one in wanted.vectors:
        if one.dimension is None or one.distance not in _METRICS:
            cause = f"sqlite-vec has no vectors of distance {one.distance}"
            if one.dimension is None:
                cause = "its vectors have no one dimension"
            raise UnprovenError(f"collection {wanted.name}", cause)
    if not wanted.vectors:
        return (
            f"CREATE TABLE {quoted(wanted.name)} "
            "(id TEXT PRIMARY KEY NOT NULL, document TEXT, payload TEXT, native TEXT)"
        )
    columns = ", ".join(
        f"{_column(wanted, one.name)} float[{one.dimension}] distance_metric={one.distance}"
        for one in wanted.vectors
    )
    return (
        f"CREATE VIRTUAL TABLE {quoted(wanted.name)} USING vec0(id TEXT PRIMARY KEY, {columns}, "
        "+document TEXT, +payload TEXT, +native TEXT)"
    )


def _column(wanted: RecordSet, vector: str) -> str:
    """Return the column of a vector; names that vec0 does not take are made plain."""
    names = [_ODD.sub("_", one.name) or "embedding" for one in wanted.vectors]
    plain = _ODD.sub("_", vector) or "embedding"
    taken = plain in ("id", *_OWN) or names.count(plain) > 1
    place = [one.name for one in wanted.vectors].index(vector)
    return f"vector_{place}" if taken else plain


def _check(wanted: RecordSet, point: Point) -> None:
    where = f"{wanted.name}: record {point.id!r}"
    for one in wanted.vectors:
        if one.name not in point.vectors:
            raise IntegrityError(where, "it has no vector, and sqlite-vec keeps no row without")
        check_dimension(where, one, point.vectors[one.name])


def _made_values(point: Point) -> dict[str, object]:
    native = canonical_bytes(to_json(point.native)).decode() if point.native else None
    return {
        "id": point.id,
        "document": point.document,
        "payload": canonical_bytes(to_json(point.payload)).decode(),
        "native": native,
    }


def _made_point(key: str, vectors: Mapping[str, bytes], values: Mapping[str, Any]) -> Point:
    try:
        payload = from_json(json.loads(values["payload"] or "{}"))
        native = from_json(json.loads(values["native"] or "{}"))
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"record {key!r}", f"its payload is no JSON: {error}") from error
    return Point(key, vectors, payload, values["document"], native)
