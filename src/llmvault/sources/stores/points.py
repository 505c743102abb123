"""The points of a store whose engine runs in a process of its own, a page in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmvault.sources.interface import Point, RecordSet
from llmvault.sources.stores.process import StoreProcess
from llmvault.sources.stores.wire import (
    point_from_wire,
    point_to_wire,
    set_from_wire,
    set_to_wire,
)

_POINTS_A_PAGE = 500
_BYTES_A_PAGE = 4 << 20


class ServedPoints:
    """A store in another process, read and written point by point (a ``RecordsTarget``).

    The other side answers by :func:`llmvault.sources.stores.points_worker.point_questions`.

    Args:
        at_one_moment: whether nobody writes to the store meanwhile.
    """

    def __init__(self, store: StoreProcess, *, at_one_moment: bool) -> None:
        self._store = store
        self.at_one_moment = at_one_moment

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection, sorted by name."""
        return tuple(set_from_wire(one) for one in self._store.ask("record_sets"))

    def count(self, name: str) -> int:
        """Return how many points there are."""
        return int(self._store.ask("count", name=name))

    def points(self, name: str) -> Iterator[Point]:
        """Yield every point in a stable order."""
        reading = self._store.ask("read", name=name)
        while page := self._store.ask("next", reading=reading, bytes=_BYTES_A_PAGE):
            yield from map(point_from_wire, page)

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the points that have these ids."""
        for start in range(0, len(ids), _POINTS_A_PAGE):
            some = list(ids[start : start + _POINTS_A_PAGE])
            yield from map(point_from_wire, self._store.ask("fetch", name=name, ids=some))

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest points, nearest first."""
        return tuple(self._store.ask("nearest", collection=collection, vector=vector, k=k))

    def create(self, wanted: RecordSet) -> str:
        """Make a collection and return its name here."""
        return str(self._store.ask("create", wanted=set_to_wire(wanted)))

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write points, a page in memory at a time."""
        page: list[object] = []
        size = 0
        for point in points:
            page.append(point_to_wire(point))
            size += sum(map(len, point.vectors.values())) + len(point.document or "")
            if len(page) >= _POINTS_A_PAGE or size >= _BYTES_A_PAGE:
                self._store.ask("add", name=name, points=page)
                page, size = [], 0
        if page:
            self._store.ask("add", name=name, points=page)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return how a point reads once it is in this collection."""
        return point_from_wire(self._store.ask("kept_form", name=name, point=point_to_wire(point)))

    def finish(self, name: str) -> None:
        """Build what is built after the points."""
        self._store.ask("finish", name=name)
