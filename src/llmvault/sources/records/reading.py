"""Reading a records capture: each point once, in its newest version."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmvault.core.errors import IntegrityError
from llmvault.sources.interface import CollectionFacts, Point
from llmvault.sources.records.export import facts_of
from llmvault.sources.records.index import read_index
from llmvault.sources.records.layout import (
    Collection,
    directory_of,
    read_collection,
    read_root,
)
from llmvault.sources.records.rows import Row, decode_row
from llmvault.sources.records.segments import read_columns, read_rows


@dataclass(frozen=True, slots=True)
class CapturedCollection:
    """One collection of a restored capture."""

    directory: Path
    described: Collection

    @property
    def name(self) -> str:
        """Its name in the store it was read from."""
        return self.described.records.name

    def rows(self) -> Iterator[Row]:
        """Yield every row that no later one replaces, in bounded memory.

        Raises:
            IntegrityError: when a segment is damaged or has not as many rows as it should.
        """
        segments = self.described.segments
        replaced = any(one.superseded for one in segments)
        index = read_index(self.directory, segments) if replaced else None
        for place, segment in enumerate(segments):
            live = index.live_rows(place).tolist() if index else [True] * segment.rows
            fields = self.described.records.vectors
            seen = 0
            for row in read_rows(self.directory / segment.file, fields):
                if seen < len(live) and live[seen]:
                    yield row
                seen += 1
            if seen != segment.rows:
                raise IntegrityError(
                    str(self.directory / segment.file),
                    f"it has {seen} rows, the collection says {segment.rows}",
                )

    def points(self) -> Iterator[Point]:
        """Yield every point, in bounded memory.

        Raises:
            IntegrityError: when something is damaged.
        """
        for row in self.rows():
            try:
                yield decode_row(row, self.described.records.vectors)
            except (ValueError, TypeError) as error:
                raise IntegrityError(
                    f"{self.directory}: record {row.id!r}", f"it cannot be read: {error}"
                ) from error

    def lowest_ids(self, limit: int) -> tuple[str, ...]:
        """Return the lowest ids by code point."""
        found: set[str] = set()
        for segment in self.described.segments:
            ids = read_columns(self.directory / segment.file, ("id",)).column("id").to_pylist()
            found = set(heapq.nsmallest(limit, {*found, *ids}))
        return tuple(sorted(found))


def read_capture(root: Path) -> tuple[CapturedCollection, ...]:
    """Return the collections of a restored capture.

    Raises:
        IntegrityError: when it is not in the documented form.
    """
    found = []
    for name in read_root(root):
        directory = root / directory_of(name)
        described = read_collection(directory)
        if described.records.name != name:
            raise IntegrityError(str(directory), f"it is the collection {described.records.name!r}")
        found.append(CapturedCollection(directory, described))
    return tuple(found)


def facts_in(collection: CapturedCollection, keys: Sequence[str], sample: int) -> CollectionFacts:
    """Return the facts of a captured collection, reading all of it; samples are these, and lowest.

    Raises:
        IntegrityError: when something is damaged.
    """
    chosen = {*keys, *collection.lowest_ids(sample)} if not keys else set(keys)
    count, samples = 0, []
    for row in collection.rows():
        count += 1
        if row.id in chosen:
            samples.append(row)
    return facts_of(collection.described.records, count, samples)
