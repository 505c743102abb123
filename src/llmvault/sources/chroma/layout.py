"""What a persist directory holds, read with SQLite alone.

``chroma.sqlite3`` holds collections, documents, metadata and the log of operations; each vector
segment that was ever saved is a directory named by its id. The tables are those of Chroma 0.5 to
1.5. The engine is not needed, nothing is written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.chroma.records import CollectionHeader, Database
from llmvault.sources.interface import CollectionFacts, Finding

DATABASE = "chroma.sqlite3"
ID_MAP = "index_metadata.pickle"  # written last when an index is saved
_SIDE_FILES = {DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", f"{DATABASE}-shm"}
_INDEX_FILES = ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin")
_BUSY_SECONDS = 60.0

_DATABASES = "SELECT tenant_id, name FROM databases"
_COLLECTIONS = """
SELECT d.tenant_id, d.name, c.name, c.dimension,
       (SELECT count(*) FROM embeddings e JOIN segments s ON s.id = e.segment_id
        WHERE s.collection = c.id AND s.scope = 'METADATA'),
       (SELECT count(*) FROM embeddings_queue q
        WHERE q.topic LIKE '%/' || c.id AND q.seq_id > coalesce(
            (SELECT CAST(m.seq_id AS INTEGER) FROM max_seq_id m JOIN segments s
             ON s.id = m.segment_id WHERE s.collection = c.id AND s.scope = 'METADATA'), 0))
FROM collections c JOIN databases d ON d.id = c.database_id
"""
_SEGMENTS = """
SELECT s.id, EXISTS (SELECT 1 FROM max_seq_id m WHERE m.segment_id = s.id)
FROM segments s WHERE s.scope = 'VECTOR'
"""
_MIGRATIONS = "SELECT dir, max(version) FROM migrations GROUP BY dir ORDER BY dir"


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection as the tables state it.

    Attributes:
        name: qualified.
        count: records that the tables hold.
        pending: logged operations that the tables do not hold yet.
    """

    name: str
    count: int
    dimension: int | None
    pending: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a persist directory holds.

    Attributes:
        segments: id of every vector segment -> whether its index has ever been saved.
        migrations: part of the schema -> its version.
    """

    databases: tuple[Database, ...]
    collections: tuple[StoredCollection, ...]
    segments: Mapping[str, bool]
    migrations: Mapping[str, int]

    def facts(self) -> tuple[CollectionFacts, ...]:
        """Return the collections without samples."""
        return tuple(
            CollectionFacts(c.name, c.count, c.dimension if c.count else None)
            for c in self.collections
        )


def read_layout(connection: sqlite3.Connection) -> Layout:
    """Return what the tables state.

    Raises:
        sqlite3.Error: when they cannot be read.
    """
    return Layout(
        databases=tuple(sorted(Database(*row) for row in connection.execute(_DATABASES))),
        collections=tuple(sorted(map(_collection, connection.execute(_COLLECTIONS)), key=_name)),
        segments={key: bool(saved) for key, saved in connection.execute(_SEGMENTS)},
        migrations={key: int(version) for key, version in connection.execute(_MIGRATIONS)},
    )


def _collection(row: tuple[str, str, str, int | None, int, int]) -> StoredCollection:
    tenant, database, name, dimension, count, pending = row
    header = CollectionHeader(Database(tenant, database), name, dimension, {}, None)
    return StoredCollection(header.qualified_name, count, dimension, pending)


def _name(collection: StoredCollection) -> str:
    return collection.name


@contextmanager
def reading(store: Path, *, immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database of a persist directory read-only.

    Args:
        immutable: no lock is taken and no side file is made or looked at; for private copies.

    Raises:
        UnavailableError: when it is not there or stays locked.
        IntegrityError: when it is damaged, or not Chroma's.
    """
    mode = "mode=ro&immutable=1" if immutable else "mode=ro"
    with sqlite_errors(store), closing(connect(store, mode)) as connection:
        yield connection


def connect(store: Path, mode: str) -> sqlite3.Connection:
    """Return a connection to the database of a persist directory in autocommit mode."""
    path = store / DATABASE
    if not path.is_file():
        raise UnavailableError(
            f"Chroma store {store}",
            f"it holds no {DATABASE}" if store.is_dir() else "the directory does not exist",
            "correct the path in the policy",
        )
    uri = f"file:{quote(os.fsencode(path))}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


@contextmanager
def sqlite_errors(store: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into our errors."""
    thing = f"Chroma store {store}"
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            raise IntegrityError(thing, f"{DATABASE} is not Chroma's: {error}") from error
        raise UnavailableError(
            thing, f"{DATABASE} cannot be used: {error}", _next_step(_code(error))
        ) from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(
            thing, f"{DATABASE} is damaged: {error}", "restore it from a recovery point"
        ) from error
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        raise UnavailableError(
            thing, f"it cannot be copied: {what}", "look at permissions and free space"
        ) from error


def _next_step(code: str) -> str:
    if code.startswith("SQLITE_BUSY"):
        return "try again when it is less busy"
    if code == "SQLITE_FULL":
        return "free some space where captures are staged"
    return "run the backup as a user who may write there: a lock has to be taken"


def _code(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))  # absent when not SQLite itself raised it


def was_interrupted(store: Path) -> bool:
    """Whether a writer was killed in a transaction: SQLite has to roll it back before reading."""
    try:
        with closing(connect(store, "mode=ro")) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        return _code(error).startswith("SQLITE_READONLY")
    except sqlite3.DatabaseError:
        return False
    return False


def collection_findings(present: set[str], wanted: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return what is wrong with the collections there are; `wanted` ones must be there."""
    detail = "the policy names it and it is not there"
    absent = [
        Finding("collection-missing", n, detail, "failed") for n in wanted if n not in present
    ]
    empty = Finding("no-collections", "", "the store holds no collection", "unproven")
    return (*absent, *(() if present else (empty,)))


def index_findings(store: Path, layout: Layout) -> tuple[Finding, ...]:
    """Return what is wrong or noteworthy about the directories of the indexes."""
    missing = tuple(
        Finding("index-missing", segment, "its saved index is not there", "failed")
        for segment, saved in sorted(layout.segments.items())
        if saved and not (store / segment / ID_MAP).is_file()
    )
    names = sorted(os.listdir(store))  # noqa: PTH208  only names are needed
    others = [name for name in names if name not in _SIDE_FILES and name not in layout.segments]
    return (*missing, *(_left_out(store, name) for name in others))


def _left_out(store: Path, name: str) -> Finding:
    if (store / name / ID_MAP).is_file():
        detail = "the index of a deleted collection still lies there; it is left out"
        return Finding("index-orphaned", name, detail, "warning")
    return Finding("left-out", name, "it does not belong to the store; it is left out", "warning")


def carry_others(live: Path, fresh: Path) -> None:
    """Copy what lies in a persist directory and is no part of the store into another one."""
    for path in live.iterdir():
        if path.name in _SIDE_FILES or (path / ID_MAP).is_file() or _is_segment(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, fresh / path.name, symlinks=True)
        else:
            shutil.copy2(path, fresh / path.name, follow_symlinks=False)


def _is_segment(path: Path) -> bool:
    try:
        return path.is_dir() and str(uuid.UUID(path.name)) == path.name
    except ValueError:
        return False


def index_fault(directory: Path) -> str:
    """Return what is wrong with the files of a saved index, or an empty text.

    ``header.bin`` starts with a 32-bit version and then, as 64-bit numbers, the offset of level 0,
    the capacity, the number of elements and the bytes of one element in ``data_level0.bin``.
    """
    missing = [name for name in (*_INDEX_FILES, ID_MAP) if not (directory / name).is_file()]
    if missing:
        return f"{missing[0]} is not there"
    with (directory / "header.bin").open("rb") as stream:
        head = stream.read(36)
    if len(head) < 36:
        return "header.bin is too short"
    version, _, _, elements, stride = struct.unpack("<I4Q", head)
    if version != 1:
        return f"header.bin has version {version}; only 1 is known"
    sizes = {"data_level0.bin": elements * stride, "length.bin": elements * 4}
    for name, least in sizes.items():
        size = (directory / name).stat().st_size
        if size < least:
            return f"{name} has {size} bytes; its header tells of at least {least}"
    return ""
