"""Deleting rows of a live database so that its files hold them no longer, in the worker.

Lance's files never change: a deletion is a further file that says which rows are gone. Compaction
writes the rows that stay, and their indexes, into new files; the old ones stay as long as a version
needs them, and a version as long as it is younger than a week or a tag names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from llmvault.core.errors import RefusedError, UnavailableError
from llmvault.sources.lancedb.directory import SUFFIX, TAG_PREFIX
from llmvault.sources.stores.worker import engine_errors, one_line

_IDS_A_DELETION = 500


class Database(Protocol):
    """An open database."""

    path: Path

    def names(self) -> tuple[str, ...]:
        """Return the names of the tables."""

    def table(self, name: str) -> Any:  # noqa: ANN401
        """Return the engine's object of a table."""

    def key_of(self, table: Any) -> str:  # noqa: ANN401
        """Return the column that names a row; ``_rowid`` where there is none."""


def forget(database: Database, given: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Delete rows.

    Args:
        given: table -> ids of its rows.

    Returns:
        Table -> number of rows that are no longer there.

    Raises:
        RefusedError: when a table has no key column; nothing was deleted.
    """
    kinds = {name: _key(database, name) for name in given}
    deleted = {}
    for name, ids in given.items():
        column, quoted = kinds[name]
        with engine_errors(f"LanceDB table {name}"):
            table = database.table(name)
            before = int(table.count_rows())
            for start in range(0, len(ids), _IDS_A_DELETION):
                some = ids[start : start + _IDS_A_DELETION]
                listed = ", ".join(_literal(one) if quoted else one for one in some)
                table.delete(f"`{column}` IN ({listed})")
            deleted[name] = before - int(table.count_rows())
    return deleted


def _key(database: Database, name: str) -> tuple[str, bool]:
    """Return the key column of a table, and whether its values are quoted."""
    if name not in database.names():
        raise UnavailableError(f"LanceDB table {name}", "the database has no such table")
    table = database.table(name)
    column = database.key_of(table)
    if column in table.schema.names:
        kind = str(table.schema.field(column).type)
        if kind in ("string", "large_string"):
            return column, True
        if kind.lstrip("u").startswith("int"):
            return column, False
    raise RefusedError(
        f"LanceDB table {name}",
        "no column of text or integers names its rows",
        "name one as `key` of the source",
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def purge(database: Database, names: Sequence[str]) -> dict[str, list[str]]:
    """Compact tables and remove old versions; return the steps, and what stands in the way."""
    steps = ["deleted"]
    pending = []
    for name in names:
        with engine_errors(f"LanceDB table {name}"):
            table = database.table(name)
            table.checkout_latest()
            tags = [tag for tag in table.tags.list() if not tag.startswith(TAG_PREFIX)]
            table.optimize()
        try:
            table.optimize(cleanup_older_than=timedelta(0))
        except (RuntimeError, ValueError, OSError) as error:
            if not tags:
                told = one_line(error)
                pending.append(f"old versions of {name} cannot be removed: {told}")
        if tags:
            pending.append(f"tag {sorted(tags)[0]} keeps an old version of {name}")
        left = database.path / (name + SUFFIX) / "_deletions"
        if not tags and left.is_dir() and any(left.iterdir()):
            pending.append(f"{name} has files so large that compaction leaves deleted rows in them")
        steps.append(f"compacted {name}, removed its old versions")
    return {"steps": steps, "pending": pending}


def versions_of(database: Database) -> dict[str, list[int]]:
    """Return the versions of every table that are still there."""
    found = {}
    for name in database.names():
        with engine_errors(f"LanceDB table {name}"):
            found[name] = [int(one["version"]) for one in database.table(name).list_versions()]
    return found


def go_to(database: Database, name: str, version: int) -> None:
    """Have a table read as it was in a version, by this process alone."""
    with engine_errors(f"version {version} of LanceDB table {name}"):
        database.table(name).checkout(version)
