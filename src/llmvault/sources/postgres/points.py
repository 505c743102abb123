"""Tables as points: read in one snapshot, and written into a database in one transaction.

A table of another kind of store's records has the columns ``id``, ``document``, ``payload``
(jsonb), ``native`` (jsonb) and one per vector, and tells in its comment what it was made of; so it
can be given back to that kind of store as it was.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.postgres.connection import Connection, database_errors, value
from llmvault.sources.postgres.erasing import delete_rows
from llmvault.sources.postgres.facts import OpenDatabase, Table, read_tables
from llmvault.sources.records.rows import check_dimension, from_json, to_json

if TYPE_CHECKING:
    from psycopg import sql

_MARK = "llmvault/records/1 "
_VECTOR_TYPES = ("vector", "halfvec")
_INTEGERS = ("smallint", "integer", "bigint")
_FLOATS = ("real", "double precision")
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, t.typname, tn.nspname,
       a.atttypmod, a.attidentity::text, a.attgenerated::text,
       pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_VECTOR_INDEXES = """
SELECT a.attname, am.amname, o.opcname, ic.reloptions
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = ic.relam
JOIN pg_opclass o ON o.oid = i.indclass[0]
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = %s::regclass AND am.amname IN ('hnsw', 'ivfflat') ORDER BY ic.relname
"""
_KEY_INDEX = """
SELECT ic.relname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid = %s::regclass AND i.indisprimary
"""
_COMMENT = "SELECT obj_description(%s::regclass, 'pg_class')"
_LONGEST_NAME = 63  # bytes, in PostgreSQL
_OPTION = re.compile(r"(\w+)='?(\d+)'?")
_DISTANCES = ("l2", "ip", "cosine", "l1")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        type: as SQL writes it, with modifiers.
        bare_type: its name alone.
        type_schema: where the type lives.
        dimension: of a vector; None when any is allowed.
        identity: whether values are numbered by the database.
        default: SQL of its default, or of what it is generated from; None when there is none.
    """

    name: str
    type: str
    not_null: bool
    bare_type: str
    type_schema: str
    dimension: int | None
    identity: bool
    generated: bool
    default: str | None

    @property
    def is_vector(self) -> bool:
        """Whether it holds vectors that a records capture keeps as such."""
        return self.bare_type in _VECTOR_TYPES


@dataclass(frozen=True, slots=True)
class _Readable:
    """A table, as it is read.

    Attributes:
        foreign: whether it was made of another kind of store's records.
    """

    table: Table
    columns: tuple[Column, ...]
    records: RecordSet
    foreign: bool

    @property
    def vectors(self) -> tuple[Column, ...]:
        return tuple(one for one in self.columns if one.is_vector)

    @property
    def others(self) -> tuple[Column, ...]:
        """Columns that go into the payload; a single key is the id."""
        key = self.table.key[0] if len(self.table.key) == 1 else None
        return tuple(one for one in self.columns if not one.is_vector and one.name != key)


class PostgresPoints:
    """A database whose tables are read, and written when it is fresh (a ``RecordsTarget``).

    Args:
        connection: in a transaction that lasts as long as this is used.
        wanted: labels of the vector columns to search.
    """

    at_one_moment = True

    def __init__(self, connection: Connection, *, wanted: Sequence[str] = ()) -> None:
        self._connection = connection
        self._wanted = wanted
        self._known: dict[str, _Readable] = {}
        self._made: dict[str, RecordSet] = {}

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every table, sorted by schema and name."""
        tables = read_tables(self._connection)
        self._known = {table.label: self._readable(table) for table in tables}
        return tuple(one.records for one in self._known.values())

    def _readable(self, table: Table) -> _Readable:
        columns = _columns(self._connection, table)
        indexes = self._connection.execute(_VECTOR_INDEXES, (_regclass(table),)).fetchall()
        vectors = tuple(_field(one, indexes) for one in columns if one.is_vector)
        own = RecordSet(
            name=table.label,
            kind="postgres",
            id_type=_id_type(table, columns),
            vectors=vectors,
            native=self._native(table, columns),
        )
        foreign = self._foreign(table)
        if foreign is None:
            return _Readable(table, columns, own, foreign=False)
        fields = {one.name: one for one in vectors}
        kept = tuple(
            replace(fields[_vector_column(one)], name=one.name)
            for one in foreign.vectors
            if _vector_column(one) in fields
        )
        return _Readable(
            table,
            columns,
            replace(foreign, name=table.label, vectors=kept, exact=True),
            foreign=True,
        )

    def _foreign(self, table: Table) -> RecordSet | None:
        row = self._connection.execute(_COMMENT, (_regclass(table),)).fetchone()
        comment = str(row[0]) if row and row[0] else ""
        if not comment.startswith(_MARK):
            return None
        try:
            told = json.loads(comment.removeprefix(_MARK))
            vectors = tuple(VectorField(**one) for one in told.pop("vectors"))
            return RecordSet(vectors=vectors, **told)
        except (ValueError, TypeError, KeyError):
            return None  # somebody's own words that begin like ours

    def _native(self, table: Table, columns: Sequence[Column]) -> dict[str, Any]:
        row = self._connection.execute(_KEY_INDEX, (_regclass(table),)).fetchone()
        key_index = row[0] if row else None
        return {
            "schema": table.schema,
            "table": table.name,
            "key": list(table.key),
            "columns": [
                {
                    "name": one.name,
                    "type": one.type,
                    "not_null": one.not_null,
                    "identity": one.identity,
                    "generated": one.generated,
                    "default": one.default,
                }
                for one in columns
            ],
            "indexes": [text for name, text in table.indexes if name != key_index],
            "extensions": ["vector"] if any(one.is_vector for one in columns) else [],
        }

    def _table(self, name: str) -> _Readable:
        if name not in self._known:
            self.record_sets()
        if name not in self._known:
            raise UnavailableError(f"table {name}", "the database has no such table")
        return self._known[name]

    def count(self, name: str) -> int:
        """Return how many rows a table has."""
        from psycopg import sql

        query = sql.SQL("SELECT count(*) FROM ONLY {}").format(_name(self._table(name).table))
        return int(value(self._connection, query.as_string(self._connection)))

    def points(self, name: str) -> Iterator[Point]:
        """Yield every row, in the order of the primary key."""
        readable = self._table(name)
        yield from self._read(readable, _select(readable, ordered=True))

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the rows with these ids."""
        from psycopg import sql

        readable = self._table(name)
        chosen = sql.SQL("SELECT * FROM ({}) AS s WHERE s.llmvault_id = ANY ({}::text[])").format(
            _select(readable, ordered=False), sql.Literal(list(ids))
        )
        yield from self._read(readable, chosen)

    def forget(self, name: str, ids: Sequence[str]) -> int:
        """Delete rows of a live database; return how many went.

        Raises:
            RefusedError: when the role may not, or other tables refer to them.
        """
        from psycopg import sql

        table = self._table(name).table
        query = sql.SQL(
            "DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(SELECT s.place FROM "
            "(SELECT r.ctid AS place, {identity} AS llmvault_id FROM ONLY {table} AS r) AS s "
            "WHERE s.llmvault_id = ANY (%s::text[])))"
        ).format(table=_name(table), identity=_identity(table))
        return delete_rows(self._connection, query, table.label, ids)

    def quoted_name(self, name: str) -> str:
        """Return a table's name as SQL writes it."""
        return _regclass(self._table(name).table)

    def _read(self, readable: _Readable, query: sql.Composed) -> Iterator[Point]:
        from psycopg import sql

        copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
        with (
            database_errors(f"table {readable.table.label}"),
            self._connection.cursor() as cursor,
            cursor.copy(copy) as rows,
        ):
            # what the server sends is taken as it is: text that is not UTF-8 is no error here
            rows.set_types(["bytea"] * (1 + len(readable.others) + len(readable.vectors)))
            for row in rows.rows():
                yield _point(readable, row)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the keys of the k nearest rows, nearest first."""
        return OpenDatabase(self._connection, sample=0, wanted=self._wanted).search(
            collection, vector, k
        )

    def create(self, wanted: RecordSet) -> str:
        """Make a table as its definition says.

        Raises:
            RefusedError: when there is one of that name.
            UnprovenError: when it needs a distance that pgvector does not have.
        """
        native = wanted.kind == "postgres" and wanted.native
        table = _own_table(wanted) if native else _foreign_table(wanted)
        label = table.label
        if label in {one.label for one in read_tables(self._connection)}:
            raise RefusedError(
                f"table {label}", "the database already has it", "create a new database"
            )
        with database_errors(f"table {label}"):
            if wanted.vectors:
                self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            self._define(table, wanted, own=bool(native))
        self._made[label] = wanted
        self._known.pop(label, None)
        return label

    def _define(self, table: Table, wanted: RecordSet, *, own: bool) -> None:
        from psycopg import sql

        name = _name(table)
        self._connection.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(table.schema))
        )
        parts = _own_columns(wanted) if own else _foreign_columns(wanted)
        self._connection.execute(
            sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(parts))
        )
        if not own:
            comment = _MARK + canonical_bytes(_told(wanted)).decode()
            self._connection.execute(
                sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal(comment))
            )

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write rows, through a temporary table in which all but vectors is text."""
        from psycopg import sql

        wanted = self._made[name]
        readable = self._table(name)
        schema = _extension_schema(self._connection) if readable.vectors else ""
        texts = [one for one in _stored(readable) if not one.is_vector]
        parts = [
            sql.SQL("{} {}").format(sql.Identifier(f"c{place}"), sql.SQL(_loading_type(one)))
            for place, one in enumerate(texts)
        ]
        parts += [
            sql.SQL("{} {}.vector").format(sql.Identifier(f"v{place}"), sql.Identifier(schema))
            for place in range(len(readable.vectors))
        ]
        self._connection.execute(
            sql.SQL("CREATE TEMP TABLE llmvault_load ({}) ON COMMIT DROP").format(
                sql.SQL(", ").join(parts)
            )
        )
        with database_errors(f"table {name}"), _bad_values(f"table {name}"):
            self._copy(readable, wanted, points, texts)
            self._connection.execute(_moving(readable, texts))
            self._connection.execute("DROP TABLE llmvault_load")

    def _copy(
        self,
        readable: _Readable,
        wanted: RecordSet,
        points: Iterator[Point],
        texts: Sequence[Column],
    ) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY llmvault_load FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["bytea"] * (len(texts) + len(readable.vectors)))
            for point in points:
                for field in wanted.vectors:
                    where = f"{wanted.name}: record {point.id!r}"
                    check_dimension(where, field, point.vectors.get(field.name))
                copy.write_row(_row(readable, wanted, point, texts))

    def kept_form(self, name: str, point: Point) -> Point:
        """Return the point: a table keeps everything of it."""
        return point

    def finish(self, name: str) -> None:
        """Build the key, the indexes and the statistics; set what numbers rows beyond the last."""
        from psycopg import sql

        wanted = self._made[name]
        readable = self._table(name)
        with database_errors(f"table {name}"):
            key = list(wanted.native.get("key", ())) if not readable.foreign else ["id"]
            if key:
                columns = sql.SQL(", ").join(map(sql.Identifier, key))
                self._connection.execute(
                    sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(
                        _name(readable.table), columns
                    )
                )
            for statement in self._indexes(readable, wanted):
                self._connection.execute(statement)
            self._number_on(readable)
            self._connection.execute(sql.SQL("ANALYZE {}").format(_name(readable.table)))
        self._known.pop(name, None)

    def _indexes(self, readable: _Readable, wanted: RecordSet) -> Iterator[Any]:
        from psycopg import sql

        if not readable.foreign:
            yield from wanted.native.get("indexes", ())
            return
        schema = _extension_schema(self._connection) if wanted.vectors else ""
        for field in wanted.vectors:
            if field.index.get("kind") not in ("hnsw", "ivfflat") or field.dimension is None:
                continue
            options = {
                key: int(field.index[key])
                for key in ("m", "ef_construction", "lists")
                if key in field.index
            }
            told = ", ".join(f"{key} = {number}" for key, number in options.items())
            yield sql.SQL("CREATE INDEX ON {} USING {} ({} {}.{}){}").format(
                _name(readable.table),
                sql.SQL(field.index["kind"]),
                sql.Identifier(_vector_column(field)),
                sql.Identifier(schema),
                sql.Identifier(f"vector_{field.distance}_ops"),
                sql.SQL(f" WITH ({told})" if told else ""),
            )

    def _number_on(self, readable: _Readable) -> None:
        from psycopg import sql

        for column in readable.columns:
            if column.identity:
                self._connection.execute(
                    sql.SQL(
                        "SELECT setval(pg_get_serial_sequence({}, {}), max({})) FROM {} "
                        "HAVING max({}) IS NOT NULL"
                    ).format(
                        sql.Literal(_regclass(readable.table)),
                        sql.Literal(column.name),
                        sql.Identifier(column.name),
                        _name(readable.table),
                        sql.Identifier(column.name),
                    )
                )


@contextmanager
def _bad_values(thing: str) -> Iterator[None]:
    """Tell of values that the database cannot hold, without showing them."""
    import psycopg

    try:
        yield
    except psycopg.DataError as error:
        state = error.sqlstate or "none"
        raise IntegrityError(
            thing, f"it cannot hold a value of a record (SQLSTATE {state})"
        ) from error


def _columns(connection: Connection, table: Table) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            type=text,
            not_null=not_null,
            bare_type=bare,
            type_schema=schema,
            dimension=typmod if bare in _VECTOR_TYPES and typmod > 0 else None,
            identity=bool(identity) or "nextval(" in (default or ""),
            generated=bool(generated),
            default=None if "nextval(" in (default or "") else default,
        )
        for name, text, not_null, bare, schema, typmod, identity, generated, default in (
            connection.execute(_COLUMNS, (_regclass(table),)).fetchall()
        )
    )


def _field(column: Column, indexes: Sequence[tuple[Any, ...]]) -> VectorField:
    """Return a vector column with its first index."""
    for name, method, operators, options in indexes:
        if name == column.name:
            parts = operators.split("_")
            distance = parts[1] if len(parts) == 3 and parts[1] in _DISTANCES else "l2"
            told = {
                match[1]: int(match[2]) for match in map(_OPTION.fullmatch, options or ()) if match
            }
            return VectorField(column.name, column.dimension, distance, {"kind": method, **told})
    return VectorField(column.name, column.dimension)


def _id_type(table: Table, columns: Sequence[Column]) -> str:
    kinds = {one.name: one.type for one in columns}
    kind = kinds.get(table.key[0], "") if len(table.key) == 1 else ""
    if kind in _INTEGERS:
        return "integer"
    return "uuid" if kind == "uuid" else "text"


def _regclass(table: Table) -> str:
    quoted = (part.replace('"', '""') for part in (table.schema, table.name))
    return ".".join(f'"{part}"' for part in quoted)


def _name(table: Table) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier(table.schema, table.name)


def _select(readable: _Readable, *, ordered: bool) -> sql.Composed:
    """Return the query of a table: id, other columns as text, vectors as pgvector sends them."""
    from psycopg import sql

    parts = [
        sql.SQL("{}::text").format(_row_column(one))
        if one.bare_type != "bytea"
        else sql.Composed([_row_column(one)])
        for one in readable.others
    ]
    for one in readable.vectors:
        schema = sql.Identifier(one.type_schema)
        parts.append(
            sql.SQL("{}.vector_send({}::{}.vector)").format(schema, _row_column(one), schema)
        )
    query = sql.SQL("SELECT {} AS llmvault_id{} FROM ONLY {} AS r").format(
        _identity(readable.table),
        sql.SQL("").join(sql.SQL(", {}").format(part) for part in parts),
        _name(readable.table),
    )
    if not ordered:
        return query
    order: list[sql.Composable] = [sql.Identifier("r", name) for name in readable.table.key] or [
        sql.SQL("1")
    ]
    return sql.SQL("{} ORDER BY {}").format(query, sql.SQL(", ").join(order))


def _row_column(column: Column) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier("r", column.name)


def _identity(table: Table) -> sql.Composable:
    """Return an expression for the id of a row; equal rows without a key are numbered."""
    from psycopg import sql

    if len(table.key) == 1:
        return sql.SQL("{}::text").format(sql.Identifier("r", table.key[0]))
    if table.key:
        texts = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier("r", name)) for name in table.key
        )
        return sql.SQL("json_build_array({})::text").format(texts)
    return sql.SQL(
        "encode(sha256(convert_to(r::text, 'UTF8')), 'hex') || '-' || "
        "row_number() OVER (PARTITION BY r::text)"
    )


def _point(readable: _Readable, row: Sequence[bytes | None]) -> Point:
    identifier, *rest = row
    others = rest[: len(readable.others)]
    packed = rest[len(readable.others) :]
    vectors = {}
    for place, (column, sent) in enumerate(zip(readable.vectors, packed, strict=True)):
        if sent is not None:
            name = column.name
            if readable.foreign:
                name = readable.records.vectors[place].name
            vectors[name] = _unpacked(sent)
    key = _decoded(identifier or b"")
    if not isinstance(key, str):
        raise IntegrityError(
            f"table {readable.table.label}",
            f"the key {key!r} of a row is not UTF-8",
            "give the table another key",
        )
    values = {
        column.name: _python(column, sent)
        for column, sent in zip(readable.others, others, strict=True)
    }
    if not readable.foreign:
        return Point(key, vectors, values)
    payload, native = (_object(values.get(name)) for name in ("payload", "native"))
    document = values.get("document")
    return Point(key, vectors, payload, document, native)


def _object(text: Any) -> dict[str, Any]:  # noqa: ANN401  text of a jsonb column
    plain = from_json(json.loads(text)) if text is not None else {}
    return plain if isinstance(plain, dict) else {"value": plain}


def _decoded(sent: bytes) -> str | bytes:
    try:
        return sent.decode()
    except UnicodeDecodeError:
        return sent


def _python(column: Column, sent: bytes | None) -> Any:  # noqa: ANN401  as the column's type
    """Return a value: numbers and truth as such, bytes as bytes, everything else as SQL's text."""
    if sent is None:
        return None
    if column.bare_type == "bytea":
        return sent
    text = _decoded(sent)
    if not isinstance(text, str):
        return text
    if column.type in _INTEGERS:
        return int(text)
    if column.type in _FLOATS:
        return float(text)
    return text == "true" if column.type == "boolean" else text


def _unpacked(sent: bytes) -> bytes:
    """Return what pgvector sends (dimension, zero, big-endian values) as little-endian float32."""
    import numpy as np

    return np.frombuffer(sent, ">f4", offset=4).astype("<f4").tobytes()


def _packed(vector: bytes) -> bytes:
    import numpy as np

    values = np.frombuffer(vector, "<f4").astype(">f4").tobytes()
    return struct.pack(">HH", len(vector) // 4, 0) + values


def _extension_schema(connection: Connection) -> str:
    query = (
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    )
    return str(value(connection, query))


def _own_table(wanted: RecordSet) -> Table:
    native = wanted.native
    return Table(native["schema"], native["table"], tuple(native["key"]), ())


def _foreign_table(wanted: RecordSet) -> Table:
    for field in wanted.vectors:
        if field.distance not in _DISTANCES:
            raise UnprovenError(
                f"collection {wanted.name}", f"pgvector has no distance {field.distance}"
            )
    if len(wanted.name.encode()) > _LONGEST_NAME:
        raise UnprovenError(
            f"collection {wanted.name}", "PostgreSQL has no names of more than 63 bytes"
        )
    return Table("public", wanted.name, ("id",), ())


def _own_columns(wanted: RecordSet) -> list[sql.Composed]:
    from psycopg import sql

    parts = []
    for one in wanted.native["columns"]:
        extras = " NOT NULL" if one["not_null"] else ""
        if one["generated"]:
            extras += f" GENERATED ALWAYS AS ({one['default']}) STORED"
        elif one["identity"]:
            extras += " GENERATED BY DEFAULT AS IDENTITY"
        elif one["default"] is not None:
            extras += f" DEFAULT {one['default']}"
        parts.append(
            sql.SQL("{} {}{}").format(
                sql.Identifier(one["name"]), sql.SQL(one["type"]), sql.SQL(extras)
            )
        )
    return parts


def _foreign_columns(wanted: RecordSet) -> list[sql.Composed]:
    from psycopg import sql

    kind = {"integer": "bigint", "uuid": "uuid"}.get(wanted.id_type, "text")
    plain = (f"id {kind} NOT NULL", "document text", "payload jsonb NOT NULL", "native jsonb")
    parts = [sql.Composed([sql.SQL(each)]) for each in plain]
    for field in wanted.vectors:
        dimension = f"({field.dimension})" if field.dimension else ""
        parts.append(
            sql.SQL("{} vector{}").format(sql.Identifier(_vector_column(field)), sql.SQL(dimension))
        )
    return parts


def _vector_column(field: VectorField) -> str:
    taken = {"id", "document", "payload", "native"}
    name = field.name or "embedding"
    return f"{name}_vector" if name in taken else name


def _told(wanted: RecordSet) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "kind": wanted.kind,
        "id_type": wanted.id_type,
        "exact": wanted.exact,
        "native": dict(wanted.native),
        "vectors": [
            {
                "name": one.name,
                "dimension": one.dimension,
                "distance": one.distance,
                "index": dict(one.index),
            }
            for one in wanted.vectors
        ],
    }


def _stored(readable: _Readable) -> tuple[Column, ...]:
    """Return the columns that are written: not those the database computes."""
    return tuple(one for one in readable.columns if not one.generated)


def _loading_type(column: Column) -> str:
    return "bytea" if column.bare_type == "bytea" else "text"


def _moving(readable: _Readable, texts: Sequence[Column]) -> sql.Composed:
    from psycopg import sql

    names = [*texts, *readable.vectors]
    values = [
        sql.SQL("{}::{}").format(sql.Identifier(f"c{place}"), sql.SQL(one.type))
        for place, one in enumerate(texts)
    ] + [
        sql.SQL("{}::{}").format(sql.Identifier(f"v{place}"), sql.SQL(one.type))
        for place, one in enumerate(readable.vectors)
    ]
    return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM llmvault_load").format(
        _name(readable.table),
        sql.SQL(", ").join(sql.Identifier(one.name) for one in names),
        sql.SQL(", ").join(values),
    )


def _row(
    readable: _Readable, wanted: RecordSet, point: Point, texts: Sequence[Column]
) -> tuple[bytes | None, ...]:
    values: Mapping[str, Any]
    if readable.foreign:
        values = {
            "id": point.id,
            "document": point.document,
            "payload": canonical_bytes(to_json(point.payload)).decode(),
            "native": canonical_bytes(to_json(point.native)).decode() if point.native else None,
        }
    else:
        key = readable.records.native["key"] or wanted.native["key"]
        single = {key[0]: point.id} if len(key) == 1 else {}
        values = {**point.payload, **single}
    parts = [_sent(values.get(one.name)) for one in texts]
    for column in readable.vectors:
        place = readable.vectors.index(column)
        name = wanted.vectors[place].name
        vector = point.vectors.get(name)
        parts.append(None if vector is None else _packed(vector))
    return tuple(parts)


def _sent(value_: Any) -> bytes | None:  # noqa: ANN401  a value of a payload
    if value_ is None or isinstance(value_, bytes):
        return value_
    if isinstance(value_, str):
        return value_.encode()
    return (
        ("true" if value_ else "false").encode()
        if isinstance(value_, bool)
        else (repr(value_).encode())
    )
