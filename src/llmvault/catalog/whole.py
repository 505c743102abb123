"""The whole catalog as JSON values, and back; for whoever keeps it elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Table, insert, select
from sqlmodel import Session, SQLModel

from llmvault.catalog.records import UtcDateTime
from llmvault.core.errors import IntegrityError


def dumped(session: Session) -> Iterator[Mapping[str, Any]]:
    """Yield ``{"table", "row"}`` for every row; times as RFC 3339."""
    for table in SQLModel.metadata.sorted_tables:
        order = tuple(table.primary_key.columns)
        for row in session.execute(select(table).order_by(*order)).mappings():
            yield {"table": table.name, "row": {key: _plain(row[key]) for key in row}}


def load(session: Session, rows: Iterable[Mapping[str, Any]]) -> None:
    """Enter rows that are not there yet; what this llmvault does not know of them is left out."""
    tables = SQLModel.metadata.tables
    for one in rows:
        try:
            table, row = tables.get(str(one["table"])), dict(one["row"])
            if table is not None:
                _enter(session, table, row)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                "copy of the catalog", f"a row is not in the documented form: {error}"
            ) from error


def _enter(session: Session, table: Table, row: Mapping[str, Any]) -> None:
    values = {
        column.name: _typed(column, row[column.name])
        for column in table.columns
        if column.name in row
    }
    keys = [column == values[column.name] for column in table.primary_key.columns]
    if session.execute(select(table).where(*keys)).first() is None:
        session.execute(insert(table).values(**values))


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(column: Column[Any], value: object) -> object:
    if isinstance(column.type, UtcDateTime) and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value
