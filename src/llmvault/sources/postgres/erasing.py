"""Deleting rows so that the server's files hold them no longer, and looking into those files.

``VACUUM`` leaves bytes of dead rows in pages; ``VACUUM FULL`` writes table and indexes anew. What
``ANALYZE`` sampled lies in the catalog of statistics. The write-ahead log keeps every row in
segments that are used again under new names, so each that exists has to be gone through once: a
segment that is left by ``pg_switch_wal`` is filled with zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from llmvault.core.errors import RefusedError
from llmvault.sources.postgres.connection import Connection, value

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic

_MOST_SWITCHES = 256
_PIECE = 8 << 20
_STATISTICS = ("pg_catalog.pg_statistic", "pg_catalog.pg_statistic_ext_data")
_DIRECTORIES = """
SELECT DISTINCT regexp_replace(pg_relation_filepath(oid), '/[^/]*$', '') FROM pg_class
WHERE pg_relation_filepath(oid) IS NOT NULL AND NOT relisshared
"""
_NAMES = """
SELECT pg_relation_filepath(oid), oid::regclass::text FROM pg_class
WHERE pg_relation_filepath(oid) IS NOT NULL
"""
_COPIES = {
    "SELECT current_setting('archive_mode') <> 'off'": "the archive of its write-ahead log keeps "
    "the rows until it is pruned",
    "SELECT EXISTS (SELECT 1 FROM pg_replication_slots)": "a replication slot keeps the "
    "write-ahead log",
    "SELECT EXISTS (SELECT 1 FROM pg_stat_replication)": "standby servers have files of their own",
}


def delete_rows(connection: Connection, query: Any, table: str, ids: Sequence[str]) -> int:  # noqa: ANN401
    """Run a deletion; return how many rows went.

    Raises:
        RefusedError: when the role may not delete, or other tables refer to the rows.
    """
    import psycopg

    try:
        return int(connection.execute(query, (list(ids),)).rowcount)
    except psycopg.errors.InsufficientPrivilege as error:
        raise RefusedError(
            f"table {table}", "the role may not delete from it", "grant DELETE, or use its owner"
        ) from error
    except psycopg.errors.IntegrityError as error:
        constraint = error.diag.constraint_name or "a constraint"
        raise RefusedError(
            f"table {table}", f"{constraint} forbids it", "erase what refers to the rows first"
        ) from error


def purge(connection: Connection, tables: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rewrite what may still hold deleted rows; return the steps, and what stands in the way.

    Args:
        connection: in autocommit mode.
        tables: quoted, with their schemas.
    """
    steps: list[str] = ["deleted"]
    pending: list[str] = []
    for table in tables:
        _try(connection, f"VACUUM FULL {table}", steps, pending)
        _try(connection, f"ANALYZE {table}", steps, pending)
    for table in _STATISTICS:
        _try(connection, f"VACUUM FULL {table}", steps, pending)
    _leave_log_behind(connection, steps, pending)
    pending += [told for query, told in _COPIES.items() if value(connection, query)]
    return steps, pending


def _leave_log_behind(connection: Connection, steps: list[str], pending: list[str]) -> None:
    if not _try(connection, "CHECKPOINT", steps, pending):
        return
    try:
        rounds = int(value(connection, "SELECT count(*) FROM pg_ls_waldir()")) + 1
    except Exception as error:
        if not _is_refusal(error):
            raise
        rounds = _MOST_SWITCHES
    if rounds > _MOST_SWITCHES:
        pending.append(f"its write-ahead log has {rounds} segments, which are left as they are")
        return
    for _ in range(max(rounds, 3)):
        switched = _try(connection, "SELECT pg_switch_wal()", [], pending)
        if not switched or not _try(connection, "CHECKPOINT", [], pending):
            return
    steps.append(f"went through {rounds} segments of the write-ahead log")


def _try(connection: Connection, statement: str, steps: list[str], pending: list[str]) -> bool:
    """Run a statement; return whether it was permitted. What the server skips, it warns of."""
    warnings: list[str] = []

    def note(told: Diagnostic) -> None:
        if told.severity_nonlocalized == "WARNING":
            warnings.append(str(told.message_primary))

    connection.add_notice_handler(note)
    try:
        connection.execute(cast("Any", statement))
    except Exception as error:
        if not _is_refusal(error):
            raise
        warnings.append(f"{statement} is not permitted to the role")
    finally:
        connection.remove_notice_handler(note)
    pending += [one for one in warnings if one not in pending]
    if not warnings:
        steps.append(statement)
    return not warnings


def _is_refusal(error: Exception) -> bool:
    import psycopg

    return isinstance(error, psycopg.errors.InsufficientPrivilege)


def server_files(connection: Connection) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield name and content of every file of the database, and of the write-ahead log.

    Raises:
        RefusedError: when the role may not read the server's files.
    """
    names = dict(_rows(connection, _NAMES))
    with _reading_files():
        paths = [
            f"{directory}/{name}"
            for (directory,) in _rows(connection, _DIRECTORIES)
            for (name,) in _rows(connection, "SELECT pg_ls_dir(%s)", directory)
        ]
        paths += [
            f"pg_wal/{name}" for (name,) in _rows(connection, "SELECT name FROM pg_ls_waldir()")
        ]
    for path in sorted(paths):
        base = path.split(".")[0].split("_fsm")[0].split("_vm")[0]
        told = f"{path} ({names[base]})" if base in names else path
        yield told, _content(connection, path)


def _content(connection: Connection, path: str) -> Iterator[bytes]:
    query = "SELECT pg_read_binary_file(%s, %s, %s, true)"
    start = 0
    while True:
        with _reading_files(), connection.cursor(binary=True) as cursor:
            row = cursor.execute(query, (path, start, _PIECE)).fetchone()
        piece = bytes(row[0]) if row and row[0] is not None else b""
        if not piece:
            return
        yield piece
        start += len(piece)


def log_is_compressed(connection: Connection) -> bool:
    """Whether pages in the write-ahead log cannot be searched."""
    return bool(value(connection, "SELECT current_setting('wal_compression') <> 'off'"))


def _rows(connection: Connection, query: str, *given: object) -> list[tuple[Any, ...]]:
    return connection.execute(cast("Any", query), given or None).fetchall()


@contextmanager
def _reading_files() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise RefusedError(
            "the server's files",
            "the role may not read them",
            "grant the roles pg_read_server_files and pg_monitor, or use a superuser",
        ) from error
