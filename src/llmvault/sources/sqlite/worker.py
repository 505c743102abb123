"""The process that reads SQLite databases: sqlite-vec is native code that reads untrusted blobs.

    python -P -m llmvault.sources.sqlite.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``path``, ``sample``, ``live``,
``write`` for a fresh file, and ``erase`` for a live one that rows are deleted from: ``forget`` and
``purge`` are further questions then.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.interface import CollectionFacts, Finding, Observation
from llmvault.sources.sqlite.erasing import forget, purge
from llmvault.sources.sqlite.mode import reading_mode
from llmvault.sources.sqlite.points import SqlitePoints
from llmvault.sources.sqlite.tables import (
    KEY_COLUMN,
    Table,
    VectorColumn,
    arguments,
    module,
    quoted,
    shadows,
    typed,
    vector_column,
)
from llmvault.sources.stores.points_worker import point_questions
from llmvault.sources.stores.samples import VectorTally, float32_bytes, record_digest
from llmvault.sources.stores.worker import one_line, serve

_BUSY_MILLISECONDS = 30_000


class Rows(Protocol):
    """What both of Python's SQLite libraries offer."""

    def execute(self, statement: str, given: Any = ..., /) -> Iterable[tuple[Any, ...]]:  # noqa: ANN401
        """Run a statement and return its rows."""

    def close(self) -> None:
        """Close the connection."""


@contextmanager
def open_database(opening: Mapping[str, Any]) -> Iterator[OpenDatabase]:
    """Open a file read-only; a private copy without locks and side files."""
    path = Path(opening["path"])
    with _errors(path):
        purpose = next((one for one in ("write", "erase") if opening.get(one)), "read")
        connection, vectors = _connect(path, live=bool(opening["live"]), purpose=purpose)
        try:
            yield OpenDatabase(connection, path, vectors=vectors, sample=int(opening["sample"]))
        finally:
            connection.close()


def _connect(path: Path, *, live: bool, purpose: str) -> tuple[Rows, str]:
    """Return a connection, and why tables of sqlite-vec cannot be read (empty: they can)."""
    modes = {"write": "rwc", "erase": "rw"}
    mode = modes.get(purpose) or (reading_mode(path) if live else "ro&immutable=1")
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"
    try:
        import apsw
        import sqlite_vec
    except ImportError as error:
        plain = sqlite3.connect(uri, uri=True, isolation_level=None)
        plain.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        _prepare(plain, purpose)
        return plain, str(error)
    access = apsw.SQLITE_OPEN_READONLY if mode.startswith("ro") else apsw.SQLITE_OPEN_READWRITE
    create = apsw.SQLITE_OPEN_CREATE if purpose == "write" else 0
    connection = apsw.Connection(uri, flags=access | create | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    _prepare(connection, purpose)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    return connection, ""


_PREPARATIONS: Mapping[str, tuple[str, ...]] = {
    "read": ("PRAGMA query_only = ON",),
    # a fresh file is deleted when anything goes wrong
    "write": ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"),
    # not every build of the library overwrites what is deleted
    "erase": ("PRAGMA secure_delete = ON",),
}


def _prepare(connection: Rows, purpose: str) -> None:
    for statement in _PREPARATIONS[purpose]:
        for _ in connection.execute(statement):
            pass


class OpenDatabase:
    """A database that is open (:class:`llmvault.sources.stores.worker.ServedStore`).

    Args:
        vectors: why tables of sqlite-vec cannot be read; empty when they can.
    """

    def __init__(self, connection: Rows, path: Path, *, vectors: str, sample: int) -> None:
        self._connection = connection
        self._path = path
        self._vectors = vectors
        self._sample = sample
        self._points = SqlitePoints(self)

    def observe(self) -> Observation:
        """Return every table with count, schema and samples, and every vector column."""
        with _errors(self._path):
            faults = [row[0] for row in self._connection.execute("PRAGMA quick_check(3)")]
            if faults != ["ok"]:
                raise IntegrityError(f"SQLite database {self._path}", "; ".join(map(str, faults)))
            collections: list[CollectionFacts] = []
            findings: list[Finding] = []
            for table in self.tables():
                if reason := self.unreadable(table):
                    findings.append(Finding("table-unread", table.name, reason, "unproven"))
                    continue
                collections.append(self._facts(table))
                for column in table.vectors:
                    tally = self._tally(table, column)
                    name = f"{table.name}.{column.name}"
                    settings = {"metric": column.metric, "element": column.element}
                    collections.append(tally.facts(name, settings))
                    findings.extend(tally.findings(name))
            (version,) = next(iter(self._connection.execute("SELECT sqlite_version()")))
        return Observation(
            tuple(findings), collections=tuple(collections), versions={"sqlite": str(version)}
        )

    def tables(self) -> tuple[Table, ...]:
        """Return the user's tables, by name."""
        rows = list(
            self._connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table' "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            )
        )
        virtual = {name for name, sql in rows if module(sql)}
        return tuple(self._table(name, sql) for name, sql in rows if not shadows(name, virtual))

    def _table(self, name: str, sql: str) -> Table:
        kind = module(sql)
        if kind == "vec0":
            columns = arguments(sql)
            keys = [found[1] for text in columns if (found := KEY_COLUMN.match(text))]
            found_vectors = [column for text in columns if (column := vector_column(text))]
            floats = tuple(one for one in found_vectors if one.element == "float")
            packed = tuple(one for one in found_vectors if one.element != "float")
            return Table(name, sql, kind, tuple(keys[:1]), floats, packed)
        if kind:
            return Table(name, sql, kind)
        declared = list(self._connection.execute(f"PRAGMA table_info({quoted(name)})"))
        keys = [column[1] for column in sorted(declared, key=lambda c: c[5]) if column[5]]
        return Table(name, sql, key=tuple(keys))

    def unreadable(self, table: Table) -> str:
        """Return why a table cannot be read; empty when it can."""
        if table.module == "vec0" and self._vectors:
            step = "pip install 'llmvault[sqlite]'"
            return (
                f"sqlite-vec cannot be loaded ({self._vectors}), so nothing of it was read; {step}"
            )
        if not table.module or table.module == "vec0":
            return ""
        try:
            for _ in self._connection.execute(f"SELECT 1 FROM {quoted(table.name)} LIMIT 1"):  # noqa: S608
                break
        except _engine_errors() as error:
            return f"it is of module {table.module}, which cannot be loaded: {one_line(error)}"
        return ""

    def _facts(self, table: Table) -> CollectionFacts:
        name = quoted(table.name)
        (count,) = next(iter(self._connection.execute(f"SELECT count(*) FROM {name}")))  # noqa: S608
        indexes = self._connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') "
            "AND tbl_name = ? AND sql IS NOT NULL ORDER BY name",
            (table.name,),
        )
        settings = {"table": table.sql, **{f"index {key}": sql for key, sql in indexes}}
        return CollectionFacts(
            table.name, int(count), sample_digests=self._samples(table), settings=settings
        )

    def _samples(self, table: Table) -> dict[str, str]:
        columns = [quoted(column) for column in self.columns(table)]
        told = ", ".join(typed(column) for column in columns)
        rows = self._connection.execute(
            f"SELECT {table.id}, {told} FROM {quoted(table.name)} "  # noqa: S608
            f"ORDER BY {table.order} LIMIT ?",
            (self._sample,),
        )
        found = {}
        for row in rows:
            values = [list(pair) for pair in zip(row[1::2], row[2::2], strict=True)]
            found[_id(row[0])] = record_digest(dict(zip(columns, values, strict=True)))
        return found

    def columns(self, table: Table) -> list[str]:
        """Return the names of a table's columns that are written to."""
        declared = self._connection.execute(f"PRAGMA table_info({quoted(table.name)})")
        return [str(row[1]) for row in declared]

    def rows(self, statement: str, given: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a statement and yield its rows."""
        with _errors(self._path):
            yield from self._connection.execute(statement, tuple(given))

    def execute(self, statement: str) -> None:
        """Run a statement that changes the database."""
        with _errors(self._path):
            for _ in self._connection.execute(statement):
                pass

    def insert(self, rows: Iterable[tuple[str, Sequence[object]]]) -> None:
        """Run statements with what is bound to them, in one transaction."""
        with _errors(self._path):
            self.execute("BEGIN")
            for statement, given in rows:
                self._connection.execute(statement, tuple(given))
            self.execute("COMMIT")

    def as_points(self) -> SqlitePoints:
        """Return its tables as points."""
        return self._points

    def _tally(self, table: Table, column: VectorColumn) -> VectorTally:
        tally = VectorTally(self._sample)
        rows = self._connection.execute(
            f"SELECT {table.id}, {quoted(column.name)} FROM {quoted(table.name)}"  # noqa: S608
        )
        for key, vector in rows:
            if vector is not None:
                tally.add(_id(key), bytes(vector))
        return tally

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest rows; sqlite-vec searches exactly."""
        with _errors(self._path):
            table, column = self._find(collection)
            rows = self._connection.execute(
                f"SELECT distance, {table.id} FROM {quoted(table.name)} "  # noqa: S608
                f"WHERE {quoted(column.name)} MATCH ? AND k = ?",
                (float32_bytes(vector), k),
            )
            return tuple(_id(key) for _, key in sorted(rows))

    def _find(self, collection: str) -> tuple[Table, VectorColumn]:
        for table in self.tables():
            for column in table.vectors:
                if f"{table.name}.{column.name}" == collection and column.element == "float":
                    if reason := self.unreadable(table):
                        raise UnavailableError(f"collection {collection}", reason)
                    return table, column
        raise UnavailableError(
            f"collection {collection}",
            "the database has no such column of float vectors",
            "name table.column of a vec0 table",
        )


def _id(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "backslashreplace")


def _engine_errors() -> tuple[type[Exception], ...]:
    try:
        import apsw
    except ImportError:
        return (sqlite3.Error,)
    return (sqlite3.Error, apsw.Error)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn what either library raises into our errors."""
    thing = f"SQLite database {path}"
    try:
        yield
    except _engine_errors() as error:
        told = one_line(error)
        if "locked" in told or "busy" in told.lower():
            raise UnavailableError(thing, told, "try again when it is less busy") from error
        if "unable to open" in told or "CantOpen" in type(error).__name__:
            raise UnavailableError(thing, told, "look at its permissions") from error
        raise IntegrityError(thing, f"SQLite says: {told}") from error
    except UnicodeDecodeError as error:
        raise IntegrityError(thing, "a name in its schema is not UTF-8") from error


QUESTIONS = {**point_questions(), "forget": forget, "purge": purge}

if __name__ == "__main__":
    serve(open_database, QUESTIONS)
