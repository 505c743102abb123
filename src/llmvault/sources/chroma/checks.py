"""What is checked of a restored Chroma capture, beyond its digests and without the engine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from llmvault.core.errors import VaultError
from llmvault.core.verdict import Check, Verdict
from llmvault.sources.chroma.layout import Layout, index_fault, read_layout, reading
from llmvault.sources.interface import Observation


def check_directory(source: str, restored: Path, recorded: Observation) -> tuple[Check, ...]:
    """Check the pages of the database, the collections in it, and the files of each index."""
    try:
        with reading(restored, immutable=True) as connection:
            faults = _page_faults(connection)
            layout = read_layout(connection)
    except VaultError as error:
        return (Check("database", source, Verdict.FAILED, error.cause),)
    if faults:
        return (Check("database", source, Verdict.FAILED, faults),)
    return (
        Check("database", source, Verdict.PROVEN, "SQLite finds every page of it in order"),
        _collections(source, layout, recorded),
        _indexes(source, restored, layout),
    )


def _page_faults(connection: sqlite3.Connection) -> str:
    told = connection.execute("PRAGMA quick_check(3)").fetchall()
    return "" if told == [("ok",)] else "; ".join(str(row[0]) for row in told)


def _collections(source: str, layout: Layout, recorded: Observation) -> Check:
    pending = {collection.name for collection in layout.collections if collection.pending}
    found = {facts.name: facts.count for facts in layout.facts() if facts.name not in pending}
    wanted = {facts.name: facts.count for facts in recorded.collections}
    if pending & set(wanted):
        # the log holds operations that the tables do not: only the engine can count them
        found |= {name: wanted[name] for name in pending & set(wanted)}
    check = _compared(source, found, wanted)
    if pending and check.verdict is Verdict.PROVEN:
        detail = f"{sorted(pending)[0]} has operations in its log that only the engine can count"
        return Check("collections", source, Verdict.UNPROVEN, detail)
    return check


def _compared(source: str, found: dict[str, int], wanted: dict[str, int]) -> Check:
    if not wanted:
        detail = "no collection was recorded to compare with"
        return Check("collections", source, Verdict.UNPROVEN, detail)
    for name in sorted(found | wanted):
        if found.get(name) != wanted.get(name):
            detail = f"{name}: {_count(found, name)} restored, {_count(wanted, name)} recorded"
            return Check("collections", source, Verdict.FAILED, detail)
    detail = f"{len(wanted)} collections with {sum(wanted.values())} records, as recorded"
    return Check("collections", source, Verdict.PROVEN, detail)


def _count(counts: dict[str, int], name: str) -> str:
    return f"{counts[name]} records" if name in counts else "no such collection"


def _indexes(source: str, restored: Path, layout: Layout) -> Check:
    saved = sorted(segment for segment, saved in layout.segments.items() if saved)
    for segment in saved:
        if fault := index_fault(restored / segment):
            return Check("indexes", source, Verdict.FAILED, f"{segment}: {fault}")
    detail = f"{len(saved)} saved indexes have all their files, as long as their headers tell"
    return Check("indexes", source, Verdict.PROVEN, detail)
