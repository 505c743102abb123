"""Tables of SQLite databases, as the statements that made them tell. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHADOWS = re.compile(
    r"_(chunks|rowids|info|auxiliary|vector_chunks\d+|metadatachunks\d+|metadatatext\d+"
    r"|data|idx|content|docsize|config|node|rowid|parent|segments|segdir|stat)$"
)
_VECTOR_COLUMN = re.compile(
    r"^\s*[\"'`\[]?(\w+)[\"'`\]]?\s+(float|f32|int8|i8|bit)\s*\[\s*(\d+)\s*\]", re.IGNORECASE
)
KEY_COLUMN = re.compile(
    r"^\s*[\"'`\[]?(\w+)[\"'`\]]?\s+(integer|text)\s+primary\s+key", re.IGNORECASE
)
_METRIC = re.compile(r"distance_metric\s*=\s*(\w+)", re.IGNORECASE)
_FLOATS = ("float", "f32")


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A column of vectors in a ``vec0`` table; only float ones are read as vectors."""

    name: str
    element: str
    dimension: int
    metric: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the user's.

    Attributes:
        sql: the statement that made it.
        module: of a virtual table, e.g. ``vec0``; empty for an ordinary one.
        key: columns that its rows are told apart by; empty for the rowid.
        vectors: of floats.
        packed: vectors of small integers or bits.
    """

    name: str
    sql: str
    module: str = ""
    key: tuple[str, ...] = ()
    vectors: tuple[VectorColumn, ...] = ()
    packed: tuple[VectorColumn, ...] = ()

    @property
    def order(self) -> str:
        """What to order its rows by."""
        return ", ".join(map(quoted, self.key)) or "rowid"

    @property
    def id(self) -> str:
        """An expression for the id of a row, as bytes: text need not be UTF-8."""
        parts = [f"CAST({quoted(column)} AS TEXT)" for column in self.key]
        return "CAST(" + (" || '/' || ".join(parts) or "rowid") + " AS BLOB)"


def module(sql: str | None) -> str:
    """Return the module of a virtual table; empty for an ordinary one."""
    found = re.match(r"create\s+virtual\s+table\b.*?\busing\s+(\w+)", sql or "", re.I | re.S)
    return found[1].lower() if found else ""


def shadows(name: str, virtual: set[str]) -> bool:
    """Whether a table is part of how a virtual one is kept."""
    return any(
        name.startswith(f"{owner}_") and _SHADOWS.fullmatch(name, len(owner)) for owner in virtual
    )


def arguments(sql: str) -> list[str]:
    """Return what a virtual table was made with."""
    inside = sql[sql.find("(") + 1 : sql.rfind(")")]
    return inside.split(",")


def vector_column(text: str) -> VectorColumn | None:
    """Return the column of vectors that an argument of ``vec0`` declares; None for another."""
    found = _VECTOR_COLUMN.match(text)
    if found is None:
        return None
    metric = _METRIC.search(text)
    element = found[2].lower()
    return VectorColumn(
        found[1],
        "float" if element in _FLOATS else element,
        int(found[3]),
        metric[1].lower() if metric else "l2",
    )


def quoted(name: str) -> str:
    """Return an identifier."""
    return '"' + name.replace('"', '""') + '"'


def typed(column: str) -> str:
    """Return expressions for a value's type and for the value: text as bytes, it may be any."""
    text = f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
    return f"typeof({column}), {text}"
