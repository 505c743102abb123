"""Deleting rows of a live database so that its files hold them no longer, in the worker.

With ``secure_delete`` SQLite overwrites what it deletes; ``VACUUM`` rewrites the file without what
was deleted before without it; the log is emptied by a checkpoint that truncates it. Indexes of full
text keep words of deleted rows until they are merged, and statistics keep samples of values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from llmvault.core.errors import UnavailableError
from llmvault.sources.sqlite.points import point_id
from llmvault.sources.sqlite.tables import Table, module, quoted

_IDS_A_STATEMENT = 200


class Database(Protocol):
    """An open database."""

    def tables(self) -> tuple[Table, ...]:
        """Return the user's tables."""

    def rows(self, statement: str, given: Sequence[object] = ()) -> Iterator[tuple[object, ...]]:
        """Run a statement and yield its rows."""

    def execute(self, statement: str) -> None:
        """Run a statement that changes the database."""


def forget(database: Database, given: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Delete rows in one transaction.

    Args:
        given: table -> ids of its rows.

    Returns:
        Table -> number of rows that are no longer there.
    """
    tables = {table.name: table for table in database.tables()}
    deleted = {}
    database.execute("BEGIN IMMEDIATE")
    for name, ids in given.items():
        if name not in tables:
            raise UnavailableError(f"table {name}", "the database has no such table")
        before = _count(database, name)
        for start in range(0, len(ids), _IDS_A_STATEMENT):
            some = [
                one.encode("utf-8", "surrogateescape")
                for one in ids[start : start + _IDS_A_STATEMENT]
            ]
            marks = ", ".join("?" for _ in some)
            condition = f"{point_id(tables[name])} IN ({marks})"
            statement = f"DELETE FROM {quoted(name)} WHERE {condition}"  # noqa: S608
            list(database.rows(statement, some))
        deleted[name] = before - _count(database, name)
    database.execute("COMMIT")
    return deleted


def purge(database: Database) -> dict[str, list[str]]:
    """Rewrite what may still hold deleted rows; return the steps, and what stands in the way."""
    steps = ["deleted with secure_delete"]
    pending = []
    for name, kind in _virtual(database):
        if kind in ("fts3", "fts4", "fts5"):
            target = quoted(name)
            database.execute(f"INSERT INTO {target}({target}) VALUES ('optimize')")  # noqa: S608
            steps.append(f"merged the full text index {name}")
    if any(database.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat4'")):
        database.execute("DELETE FROM sqlite_stat4")
        database.execute("ANALYZE")
        steps.append("ANALYZE")
    ((mode,),) = database.rows("PRAGMA journal_mode")
    if mode == "persist":
        list(database.rows("PRAGMA journal_mode = DELETE"))
    if numbered := [table.name for table in database.tables() if _is_renumbered(database, table)]:
        pending.append(
            f"VACUUM would give the rows of {numbered[0]}, which has no key, other numbers, so "
            "pages of rows that were deleted earlier were not rewritten"
        )
    else:
        database.execute("VACUUM")
        steps.append("VACUUM")
    if mode == "wal":
        ((busy, *_),) = database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            pending.append("another connection keeps the log in use; run it again without it")
        else:
            steps.append("wal_checkpoint(TRUNCATE)")
    if mode == "persist":
        list(database.rows("PRAGMA journal_mode = PERSIST"))
    return {"steps": steps, "pending": pending}


def _virtual(database: Database) -> list[tuple[str, str]]:
    rows = database.rows("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return [(str(name), kind) for name, sql in rows if (kind := module(str(sql)))]


def _is_renumbered(database: Database, table: Table) -> bool:
    """Whether VACUUM changes rowids that are all that names the rows of a table."""
    if table.module or table.key:
        return False
    if any(database.rows("SELECT 1 FROM pragma_index_list(?)", (table.name,))):
        return False
    query = f"SELECT count(*), min(rowid), max(rowid) FROM {quoted(table.name)}"  # noqa: S608
    ((count, first, last),) = database.rows(query)
    return bool(count) and (first, last) != (1, count)


def _count(database: Database, name: str) -> int:
    ((count,),) = database.rows(f"SELECT count(*) FROM {quoted(name)}")  # noqa: S608
    return int(str(count))
