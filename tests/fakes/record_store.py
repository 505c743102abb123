"""A store in memory that gives points."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from llmvault.sources.interface import Point, RecordSet, VectorField


class RecordStore:
    """Collections in memory (a ``RecordsView``).

    Attributes:
        stated: what it says of the number of points, where that is not the truth.
    """

    def __init__(self, *, at_one_moment: bool = True) -> None:
        self.at_one_moment = at_one_moment
        self.sets: dict[str, RecordSet] = {}
        self.held: dict[str, dict[str, Point]] = {}
        self.stated: dict[str, int] = {}

    def define(self, name: str, dimension: int | None = 4) -> None:
        """Make a collection."""
        self.sets[name] = RecordSet(
            name, "fake", vectors=(VectorField("", dimension, "l2", {"kind": "flat"}),)
        )
        self.held[name] = {}

    def put(self, name: str, *points: Point) -> None:
        """Add or replace points."""
        self.held[name].update({point.id: point for point in points})

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection."""
        return tuple(self.sets[name] for name in sorted(self.sets))

    def count(self, name: str) -> int:
        """Return the number of points, or what it is told to say."""
        return self.stated.get(name, len(self.held[name]))

    def points(self, name: str) -> Iterator[Point]:
        """Yield the points in the order of their ids."""
        yield from (self.held[name][key] for key in sorted(self.held[name]))

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield some points."""
        yield from (self.held[name][key] for key in ids if key in self.held[name])

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return nothing: it cannot search."""
        return ()


def packed(*values: float) -> bytes:
    """Return a vector as float32, little endian."""
    return struct.pack(f"<{len(values)}f", *values)


def numbered(number: int, *, text: str = "", person: str = "", size: int = 4) -> Point:
    """Return a point that its number determines."""
    payload: dict[str, object] = {"n": number, "text": text or f"text {number}"}
    if person:
        payload["person"] = person
    vector = packed(*(float(number * 31 + place) for place in range(size)))
    return Point(f"p{number:06}", {"": vector}, payload)
