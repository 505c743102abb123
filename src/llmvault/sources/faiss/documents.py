"""What is kept beside an index: docstores in JSON or SQLite. Pickles are never read.

A JSON docstore is an object: id -> text, or an object of values. In SQLite it is a table, whose
primary key is the id: ``FILE#TABLE``, or ``FILE`` when there is only one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmvault.core.errors import IntegrityError, UnprovenError
from llmvault.sources.interface import Point
from llmvault.sources.records.rows import from_json, to_json

_SQLITE = b"SQLite format 3\x00"
_VALUE = ""
"""Key of a payload for a JSON value that is neither text nor an object."""


@dataclass(frozen=True, slots=True)
class Docstore:
    """What belongs to the ids of an index.

    Attributes:
        place: as the policy names it.
        sql: the statement that made the table; empty for JSON.
        table, key: of SQLite.
    """

    place: str
    entries: Mapping[str, Any] = field(default_factory=dict)
    sql: str = ""
    table: str = ""
    key: str = ""

    def point(self, key: str, vector: bytes) -> Point:
        """Return a point with what is kept beside it."""
        if key not in self.entries:
            return Point(key, {"": vector}, native={"listed": False} if self.place else {})
        value = self.entries[key]
        if isinstance(value, str):
            return Point(key, {"": vector}, document=value)
        payload = value if isinstance(value, Mapping) else {_VALUE: value}
        return Point(key, {"": vector}, payload)

    def stated(self) -> dict[str, str]:
        """Return what an import needs to make it again."""
        named = {"place": self.place, "sql": self.sql, "table": self.table, "key": self.key}
        return {name: value for name, value in named.items() if value}


def entry_of(point: Point) -> Any:  # noqa: ANN401  as the docstore had it
    """Return what a docstore keeps of a point."""
    if point.document is not None and not point.payload:
        return point.document
    if set(point.payload) == {_VALUE}:
        return point.payload[_VALUE]
    return dict(point.payload)


def read_docstore(root: Path, place: str) -> Docstore:
    """Return what a file of a docstore holds.

    Raises:
        IntegrityError: when it is neither a JSON object nor a table of SQLite with a key.
    """
    name, _, table = place.partition("#")
    path = root / name
    thing = f"docstore {path}"
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_SQLITE))
        if head == _SQLITE:
            return _read_table(path, place, table)
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise IntegrityError(thing, f"it cannot be read: {error.strerror}") from error
    except sqlite3.Error as error:
        raise IntegrityError(thing, f"it cannot be read: {error}") from error
    except ValueError as error:
        raise IntegrityError(
            thing, "it is neither JSON nor SQLite; pickles are never loaded"
        ) from error
    if not isinstance(value, dict):
        raise IntegrityError(thing, "it is no JSON object of ids")
    return Docstore(place, value)


def _read_table(path: Path, place: str, table: str) -> Docstore:
    thing = f"docstore {path}"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        made = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table' "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            )
        )
        name = table or (next(iter(made)) if len(made) == 1 else "")
        if name not in made:
            raise IntegrityError(thing, "it has no such table, or several", "name it: FILE#TABLE")
        columns = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (name,))
        keys = [column for column, place_ in columns if place_]
        if len(keys) != 1:
            raise IntegrityError(thing, f"table {name} has no primary key of one column")
        quoted = name.replace('"', '""')
        found = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608
        names = [one[0] for one in found.description]
        entries = {}
        for row in found:
            values = dict(zip(names, row, strict=True))
            entries[str(values.pop(keys[0]))] = values
    return Docstore(place, entries, made[name], name, keys[0])


def write_docstore(root: Path, stated: Mapping[str, str], entries: Mapping[str, Any]) -> None:
    """Write a docstore, adding to one that is there.

    Raises:
        UnprovenError: when a value has no form in it.
    """
    path = root / stated["place"].partition("#")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if "sql" not in stated:
        before = json.loads(path.read_bytes()) if path.exists() else {}
        try:
            text = json.dumps({**before, **entries}, ensure_ascii=False, allow_nan=False)
            path.write_bytes(text.encode())
        except (TypeError, ValueError) as error:
            raise UnprovenError(f"docstore {path}", f"it cannot be written: {error}") from error
        return
    table, key = (stated[name].replace('"', '""') for name in ("table", "key"))
    with closing(sqlite3.connect(path)) as connection, connection:
        if not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = ?", (stated["table"],)
        ).fetchone():
            connection.execute(stated["sql"])
        for identity, values in entries.items():
            named = {key: identity, **{name.replace('"', '""'): v for name, v in values.items()}}
            columns = ", ".join(f'"{name}"' for name in named)
            marks = ", ".join("?" for _ in named)
            statement = f'INSERT OR REPLACE INTO "{table}" ({columns}) VALUES ({marks})'  # noqa: S608
            connection.execute(statement, tuple(named.values()))


def packed_point(point: Point) -> dict[str, Any]:
    """Return what is kept of another store's point, as JSON."""
    kept = {"payload": point.payload, "document": point.document, "native": point.native}
    return {name: to_json(one) for name, one in kept.items() if one not in (None, {})}


def unpacked_point(key: str, vector: bytes, kept: Mapping[str, Any]) -> Point:
    """Return the point that :func:`packed_point` was given."""
    found = {name: from_json(one) for name, one in kept.items()}
    return Point(
        key,
        {"": vector},
        found.get("payload") or {},
        found.get("document"),
        found.get("native") or {},
    )
