"""What a database holds: tables, rows, indexes, vectors. Reads through one connection."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from llmvault.core.errors import UnavailableError
from llmvault.sources.interface import CollectionFacts
from llmvault.sources.postgres.connection import Connection, database_errors, value

if TYPE_CHECKING:
    from psycopg import sql

_ROW = "llmvault_row"  # an alias that no column of a user's table is likely to hide

# what an extension brings along is not dumped; system schemas begin with pg_
_TABLES = r"""
SELECT n.nspname, c.relname,
       ARRAY(SELECT a.attname::text
             FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
_INDEXES = """
SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes
ORDER BY schemaname COLLATE "C", tablename COLLATE "C", indexname COLLATE "C"
"""
_VECTORS = """
SELECT n.nspname, c.relname, a.attname, a.atttypmod, tn.nspname, t.typname,
       (SELECT o.opcname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
        JOIN pg_am am ON am.oid = ic.relam JOIN pg_opclass o ON o.oid = i.indclass[0]
        WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND am.amname IN ('hnsw', 'ivfflat')
        ORDER BY ic.relname LIMIT 1)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
WHERE c.relkind = 'r' AND NOT a.attisdropped AND t.typname IN ('vector', 'halfvec')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attnum
"""
_ROLES = """
SELECT DISTINCT pg_get_userbyid(refobjid)::text COLLATE "C" FROM pg_shdepend
WHERE refclassid = 'pg_authid'::regclass
  AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""
_EXTENSIONS = 'SELECT extname, extversion FROM pg_extension ORDER BY extname COLLATE "C"'
_OPERATORS: dict[str, LiteralString] = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the user's.

    Attributes:
        key: columns of the primary key; empty when it has none.
        indexes: name -> definition.
    """

    schema: str
    name: str
    key: tuple[str, ...]
    indexes: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """The name alone in the schema ``public``, else ``schema.name``."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column of pgvector's types ``vector`` and ``halfvec``.

    Attributes:
        dimension: as declared; None when any is allowed.
        type_schema: the schema in which the extension lives.
        distance: ``l2``, ``ip``, ``cosine`` or ``l1``, of its first index; l2 when it has none.
    """

    table: Table
    name: str
    dimension: int | None
    type_schema: str
    type_name: str
    distance: str

    @property
    def label(self) -> str:
        """The table's label and the column: ``table.column``."""
        return f"{self.table.label}.{self.name}"


def read_tables(connection: Connection) -> tuple[Table, ...]:
    """Return every table of the user's, sorted by schema and name."""
    indexes: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, name, definition in connection.execute(_INDEXES):
        indexes.setdefault((schema, table), []).append((name, definition))
    return tuple(
        Table(schema, name, tuple(key), tuple(indexes.get((schema, name), ())))
        for schema, name, key in connection.execute(_TABLES)
    )


def read_vectors(connection: Connection, tables: Sequence[Table]) -> tuple[VectorColumn, ...]:
    """Return the vector columns of these tables."""
    by_name = {(table.schema, table.name): table for table in tables}
    found = []
    for schema, name, column, typmod, type_schema, type_name, opclass in connection.execute(
        _VECTORS
    ):
        if table := by_name.get((schema, name)):
            dimension = typmod if typmod > 0 else None
            distance = _distance(opclass)
            found.append(VectorColumn(table, column, dimension, type_schema, type_name, distance))
    return tuple(found)


def _distance(opclass: str | None) -> str:
    """Return the distance of an operator class such as ``vector_cosine_ops``."""
    parts = (opclass or "").split("_")
    return parts[1] if len(parts) == 3 and parts[1] in _OPERATORS else "l2"


def read_versions(connection: Connection) -> dict[str, str]:
    """Return the versions of the server and of every extension in the database."""
    server = str(value(connection, "SHOW server_version")).split(" ")[0]
    extensions = {name: version for name, version in connection.execute(_EXTENSIONS)}
    return {"postgresql": server, **extensions}


def read_roles(connection: Connection) -> tuple[str, ...]:
    """Return the roles that own or may use something here; a dump names them and lacks them."""
    return tuple(name for (name,) in connection.execute(_ROLES))


def server_major(connection: Connection) -> int:
    """Return the server's major version."""
    return int(value(connection, "SHOW server_version_num")) // 10_000


def describe_table(connection: Connection, table: Table, *, sample: int) -> CollectionFacts:
    """Return a table with its exact number of rows and the digests of its first rows.

    First by the text of the primary key in code point order (of the row's digest where there is
    none), so that neither physical order nor collation decides. A digest is the SHA-256 of the row
    as PostgreSQL writes it as text.
    """
    from psycopg import sql

    rows: dict[str, str] = {}
    if sample:
        query = sql.SQL(
            "SELECT id, {digest} FROM (SELECT {key} AS id, {row} FROM ONLY {table} AS {row} "
            'ORDER BY {key} COLLATE "C" LIMIT {limit}) AS s'
        ).format(
            digest=_digest(),
            key=_key(table),
            row=sql.Identifier(_ROW),
            table=_name(table),
            limit=sample,
        )
        rows = dict(connection.execute(query).fetchall())
    counted = sql.SQL("SELECT count(*) FROM ONLY {}").format(_name(table))
    return CollectionFacts(
        name=table.label,
        count=_count(connection, counted),
        sample_digests=rows,
        settings={f"index {name}": definition for name, definition in table.indexes},
    )


def describe_vectors(
    connection: Connection, column: VectorColumn, *, sample: int
) -> CollectionFacts:
    """Return a vector column with the number of its vectors and the first of them by key."""
    from psycopg import sql

    parts = {
        "column": sql.Identifier(_ROW, column.name),
        "key": _key(column.table),
        "row": sql.Identifier(_ROW),
        "table": _name(column.table),
        "limit": sql.Literal(sample),
    }
    counted = sql.SQL("SELECT count({column}) FROM ONLY {table} AS {row}").format(**parts)
    chosen = sql.SQL(
        "SELECT {key}, {column}::text FROM ONLY {table} AS {row} WHERE {column} IS NOT NULL "
        'ORDER BY {key} COLLATE "C" LIMIT {limit}'
    ).format(**parts)
    vectors = {key: _vector(text) for key, text in connection.execute(chosen)} if sample else {}
    first = next(iter(vectors.values()), None)
    return CollectionFacts(
        name=column.label,
        count=_count(connection, counted),
        dimension=column.dimension or (len(first) if first else None),
        sample_vectors=vectors,
        settings={
            "type": column.type_name,
            "distance": column.distance,
            **{f"index {name}": definition for name, definition in column.table.indexes},
        },
    )


def nearest(
    connection: Connection, column: VectorColumn, vector: Sequence[float], k: int
) -> tuple[str, ...]:
    """Return the keys of the k nearest rows, nearest first, equal distances by key.

    Exact: the added zero keeps the planner from the approximate index.
    """
    from psycopg import sql

    query = sql.SQL(
        "SELECT {key} FROM ONLY {table} AS {row} WHERE {column} IS NOT NULL "
        "ORDER BY ({column} OPERATOR({schema}.{operator}) {vector}::{schema}.{type}) + 0, "
        '{key} COLLATE "C" LIMIT {limit}'
    ).format(
        key=_key(column.table),
        table=_name(column.table),
        row=sql.Identifier(_ROW),
        column=sql.Identifier(_ROW, column.name),
        schema=sql.Identifier(column.type_schema),
        operator=sql.SQL(_OPERATORS[column.distance]),
        vector=sql.Literal(json.dumps([float(each) for each in vector])),
        type=sql.Identifier(column.type_name),
        limit=sql.Literal(k),
    )
    return tuple(key for (key,) in connection.execute(query))


def _name(table: Table) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier(table.schema, table.name)


def _key(table: Table) -> sql.Composed:
    """Return an expression for the text that names a row: its key, or its digest."""
    from psycopg import sql

    columns = [sql.Identifier(_ROW, name) for name in table.key]
    if not columns:
        return _digest()
    if len(columns) == 1:
        return sql.SQL("{}::text").format(columns[0])
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in columns)
    return sql.SQL("json_build_array({})::text").format(texts)


def _digest() -> sql.Composed:
    from psycopg import sql

    return sql.SQL("encode(sha256(convert_to({}::text, 'UTF8')), 'hex')").format(
        sql.Identifier(_ROW)
    )


def _count(connection: Connection, query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _vector(text: str) -> tuple[float, ...]:
    """Return pgvector's text as float32 values."""
    numbers = [float(number) for number in text.strip("[]").split(",")]
    return struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers))


class OpenDatabase:
    """A database that answers (:class:`llmvault.sources.interface.OpenStore`).

    Args:
        sample: how many rows of each table are described in full.
        wanted: labels of the vector columns to speak of; all when empty.
    """

    def __init__(self, connection: Connection, *, sample: int, wanted: Sequence[str] = ()) -> None:
        self._connection = connection
        self._sample = sample
        self._tables = read_tables(connection)
        vectors = read_vectors(connection, self._tables)
        self.vectors = tuple(each for each in vectors if not wanted or _is_named(each, wanted))

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of the user's."""
        return self._tables

    def has_vectors(self, label: str) -> bool:
        """Whether there is a vector column ``table.column``."""
        return any(_is_named(each, (label,)) for each in self.vectors)

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every table, and every vector column as ``table.column``."""
        rows = [describe_table(self._connection, t, sample=self._sample) for t in self._tables]
        vectors = [describe_vectors(self._connection, v, sample=self._sample) for v in self.vectors]
        return (*rows, *vectors)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the keys of the k nearest rows; `collection` is ``table.column``, or a table.

        Raises:
            UnavailableError: when there is no such vector column, or the table has several.
        """
        found = [each for each in self.vectors if collection in (each.label, each.table.label)] or [
            each for each in self.vectors if _is_named(each, (collection,))
        ]
        if len(found) != 1:
            raise UnavailableError(
                f"vectors {collection}",
                f"{len(found)} vector columns have that name",
                "name one of " + (", ".join(each.label for each in self.vectors) or "none"),
            )
        # a savepoint: a query that fails does not end the transaction that later ones run in
        with database_errors(f"vectors {collection}"), self._connection.transaction():
            return nearest(self._connection, found[0], vector, k)


def _is_named(column: VectorColumn, labels: Sequence[str]) -> bool:
    full = f"{column.table.schema}.{column.table.name}.{column.name}"
    return column.label in labels or full in labels
