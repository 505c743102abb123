"""Qdrant collections as points, read from and written to an open engine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError
from llmvault.sources.interface import CollectionFacts, Point, RecordSet
from llmvault.sources.qdrant.engine import Engine
from llmvault.sources.qdrant.words import (
    Settings,
    foreign_form,
    own_id,
    record_set,
    settings_for,
    shown,
    stored,
)
from llmvault.sources.records.export import facts_of
from llmvault.sources.records.rows import check_dimension, encode_point

_FIRST_PAGE = 16
_LONGEST_PAGE = 1_000
_PAGE_BYTES = 4 << 20
_IDS_A_FETCH = 64
_NO_UUID = "00000000-0000-0000-0000-000000000000"


class QdrantPoints:
    """An open Qdrant (a ``RecordsTarget``; a live one is only read).

    Args:
        at_one_moment: whether nobody writes to it meanwhile.
    """

    def __init__(self, engine: Engine, *, at_one_moment: bool) -> None:
        self._engine = engine
        self.at_one_moment = at_one_moment
        self._settings: dict[str, Settings] = {}
        self._foreign: set[str] = set()
        self.made: list[str] = []

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection, sorted by name."""
        self._settings = dict(self._engine.collections())
        named: dict[str, list[str]] = {name: [] for name in self._settings}
        for alias, name in self._engine.aliases().items():
            named.setdefault(name, []).append(alias)
        return tuple(
            record_set(name, settings, self._id_type(name), named[name])
            for name, settings in sorted(self._settings.items())
        )

    def _id_type(self, name: str) -> str:
        """Return what ids are: integers come before UUIDs, so two looks tell."""
        first, _ = self._engine.page(name, None, 1)
        uuids, _ = self._engine.page(name, _NO_UUID, 1)
        if not uuids:
            return "integer"
        alike = first[0].id == uuids[0].id and shown(uuids[0]).id == uuids[0].id
        return "uuid" if alike else "text"

    def count(self, name: str) -> int:
        """Return how many points the store says there are."""
        return self._engine.count(name)

    def points(self, name: str) -> Iterator[Point]:
        """Yield every point in the order of ids, pages of a few MiB in memory."""
        start: str | None = None
        limit = _FIRST_PAGE
        while True:
            page, start = self._engine.page(name, start, limit)
            yield from map(shown, page)
            if start is None:
                return
            size = sum(_size(point) for point in page)
            limit = max(1, min(_LONGEST_PAGE, 2 * limit, limit * _PAGE_BYTES // max(size, 1)))

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the points that have these ids."""
        for place in range(0, len(ids), _IDS_A_FETCH):
            wanted = {str(own_id(one)): one for one in ids[place : place + _IDS_A_FETCH]}
            for point in self._engine.some(name, tuple(wanted)):
                if (found := shown(point)).id == wanted[point.id]:
                    yield found

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest points, compared one by one: no index is used."""
        name, using = self._searched(collection)
        found = self._engine.nearest(name, using, vector, k)
        originals = {point.id: shown(point).id for point in self._engine.some(name, found)}
        return tuple(originals.get(one, one) for one in found)

    def _searched(self, collection: str) -> tuple[str, str]:
        """Return the collection and the vector that a name speaks of: ``name`` or ``name.vector``.

        Raises:
            UnavailableError: when there is no such collection or vector.
        """
        if not self._settings:
            self._settings = dict(self._engine.collections())
        for name in sorted(self._settings, key=len, reverse=True):
            if collection != name and not collection.startswith(f"{name}."):
                continue
            fields = record_set(name, self._settings[name], "text", ()).vectors
            wanted = collection.removeprefix(name).removeprefix(".")
            for field in fields:
                if wanted in ("", field.name):
                    return name, field.name
        raise UnavailableError(
            f"collection {collection}",
            "the store has no such collection with such a vector",
            "name the collection, or collection.vector",
        )

    def create(self, wanted: RecordSet) -> str:
        """Make a collection as its definition says, with its aliases.

        Raises:
            RefusedError: when there is a collection or alias of that name.
            UnprovenError: when Qdrant cannot hold it.
        """
        settings = settings_for(wanted)
        aliases = wanted.native.get("aliases", ()) if wanted.kind == "qdrant" else ()
        taken = {*self._engine.collections(), *self._engine.aliases()}
        if there := taken & {wanted.name, *aliases}:
            raise RefusedError(
                "the Qdrant store",
                f"it already has a collection or alias {sorted(there)[0]!r}; nothing was written",
                "give a fresh store, or delete it first",
            )
        self.made.append(wanted.name)
        self._engine.create(wanted.name, settings, tuple(aliases))
        self._settings[wanted.name] = settings
        if wanted.kind != "qdrant":
            self._foreign.add(wanted.name)
        return wanted.name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write points, a few MiB in memory at a time."""
        fields = {one.name: one for one in record_set(name, self._settings[name], "", ()).vectors}
        batch: list[Point] = []
        size = 0
        for point in points:
            kept = stored(self.kept_form(name, point))
            for own, vector in kept.vectors.items():
                if own not in fields:
                    raise IntegrityError(f"record {point.id!r}", f"{name} has no vector {own!r}")
                check_dimension(f"{name}: record {point.id!r}", fields[own], vector)
            batch.append(kept)
            size += _size(kept)
            if len(batch) >= _LONGEST_PAGE or size >= _PAGE_BYTES:
                self._engine.put(name, batch)
                batch, size = [], 0
        if batch:
            self._engine.put(name, batch)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return a point as Qdrant keeps it."""
        if name not in self._foreign:
            return point
        return foreign_form(point, self._settings[name])

    def finish(self, name: str) -> None:
        """Wait until everything is on disk and indexed."""
        self._engine.settle(name)

    def undo(self) -> None:
        """Delete the collections that were made."""
        for name in self.made:
            self._engine.drop(name)

    def facts(self, sample: int) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, and samples of its first points."""
        return tuple(self._facts(one, sample) for one in self.record_sets())

    def _facts(self, records: RecordSet, sample: int) -> CollectionFacts:
        points: list[Point] = []
        start: str | None = None
        while len(points) < sample:
            page, start = self._engine.page(records.name, start, min(8, sample - len(points)))
            points.extend(map(shown, page))
            if start is None:
                break
        rows = [encode_point(point, records, "") for point in points]
        facts = facts_of(records, self._engine.count(records.name), rows)
        odd = {key for key, vector in facts.sample_vectors.items() if _is_odd(vector)}
        if not odd:
            return facts
        kept = {key: one for key, one in facts.sample_vectors.items() if key not in odd}
        return replace(facts, sample_vectors=kept)


def _is_odd(vector: Sequence[float]) -> bool:
    return not all(map(math.isfinite, vector))


def _size(point: Point) -> int:
    vectors = sum(len(one) for one in point.vectors.values())
    return 64 + vectors + _weight(point.payload) + _weight(point.native)


def _weight(value: object) -> int:
    """Return about how many bytes JSON values take."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_weight(key) + _weight(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_weight, value))
    return 8


@contextmanager
def undone_on_error(points: QdrantPoints) -> Iterator[QdrantPoints]:
    """Yield a target; delete what was made in it when the context is left with an error."""
    try:
        yield points
    except BaseException:
        points.undo()
        raise
