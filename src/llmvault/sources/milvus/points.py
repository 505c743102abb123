"""Milvus collections as points, read from and written to an open client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from llmvault.core.errors import RefusedError, UnavailableError, VaultError
from llmvault.sources.interface import CollectionFacts, Finding, Point, RecordSet
from llmvault.sources.milvus.words import (
    Definition,
    definition_for,
    foreign_form,
    from_wire,
    record_set,
    searched_field,
    to_wire,
)
from llmvault.sources.records.export import facts_of
from llmvault.sources.records.rows import check_dimension, encode_point
from llmvault.sources.stores.process import StoreProcess
from llmvault.sources.stores.samples import is_finite

_IDS_A_FETCH = 100
_BATCH = 500
_BATCH_BYTES = 4 << 20


class MilvusPoints:
    """An open Milvus (a ``RecordsTarget``; a live one is only read).

    Args:
        at_one_moment: whether nobody writes to it meanwhile.
    """

    def __init__(self, client: StoreProcess, *, at_one_moment: bool) -> None:
        self._client = client
        self.at_one_moment = at_one_moment
        self._definitions: dict[str, Definition] = {}
        self._foreign: dict[str, RecordSet] = {}
        self.made: list[str] = []

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection, sorted by name."""
        found = self._client.ask("collections")
        self._definitions = {name: one["definition"] for name, one in found.items()}
        return tuple(
            record_set(name, one["definition"], one["aliases"])
            for name, one in sorted(found.items())
        )

    def count(self, name: str) -> int:
        """Return how many entities there are, counted, not estimated."""
        return int(self._client.ask("count", name=name))

    def points(self, name: str) -> Iterator[Point]:
        """Yield every entity in the order of its key, some MiB in memory."""
        self._client.ask("begin", name=name)
        while batch := self._client.ask("rows"):
            yield from map(from_wire, batch)

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the entities that have these ids."""
        for place in range(0, len(ids), _IDS_A_FETCH):
            wanted = list(ids[place : place + _IDS_A_FETCH])
            for one in self._client.ask("some", name=name, ids=wanted):
                if one["id"] in wanted:
                    yield from_wire(one)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest entities, by as wide a search as the index offers.

        Raises:
            UnavailableError: when there is no such collection or vector.
        """
        if not self._definitions:
            self.record_sets()
        for name in sorted(self._definitions, key=len, reverse=True):
            if collection != name and not collection.startswith(f"{name}."):
                continue
            using = searched_field(name, self._definitions[name], collection)
            if using is not None:
                asked = {"name": name, "using": using, "vector": list(vector), "k": k}
                return tuple(self._client.ask("nearest", **asked))
        raise UnavailableError(
            f"collection {collection}",
            "the store has no such collection with such a vector",
            "name the collection, or collection.vector",
        )

    def create(self, wanted: RecordSet) -> str:
        """Make a collection as its definition says, with its aliases.

        Raises:
            RefusedError: when there is a collection or alias of that name.
            UnprovenError: when Milvus cannot hold it.
        """
        definition = definition_for(wanted)
        own = wanted.kind == "milvus"
        aliases = list(wanted.native.get("aliases", ())) if own else []
        name = wanted.name if own else usable_name(wanted.name)
        present = self.record_sets()
        taken = {one.name for one in present} | {
            alias for one in present for alias in one.native["aliases"]
        }
        if there := sorted(taken & {name, *aliases}):
            raise RefusedError(
                "the Milvus store",
                f"it already has a collection or alias {there[0]!r}; nothing was written",
                "give a fresh store, or delete it first",
            )
        self.made.append(name)
        self._client.ask("create", name=name, definition=dict(definition), aliases=aliases)
        self._definitions[name] = definition
        if not own:
            self._foreign[name] = wanted
        return name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Write points, some MiB in memory at a time."""
        fields = {one.name: one for one in record_set(name, self._definitions[name], ()).vectors}
        batch: list[dict[str, object]] = []
        size = 0
        for point in points:
            kept = self.kept_form(name, point)
            for own, vector in kept.vectors.items():
                if own in fields:
                    check_dimension(f"{name}: record {point.id!r}", fields[own], vector)
            batch.append(to_wire(kept))
            size += sum(map(len, kept.vectors.values())) + len(str(kept.payload))
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                self._client.ask("put", name=name, points=batch)
                batch, size = [], 0
        if batch:
            self._client.ask("put", name=name, points=batch)

    def forget(self, name: str, ids: Sequence[str]) -> None:
        """Delete entities of a live server."""
        for place in range(0, len(ids), _IDS_A_FETCH):
            some = list(ids[place : place + _IDS_A_FETCH])
            self._client.ask("forget", name=name, ids=some)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return a point as Milvus keeps it."""
        foreign = self._foreign.get(name)
        return point if foreign is None else foreign_form(point, foreign)

    def finish(self, name: str) -> None:
        """Write everything to disk, and have it loaded."""
        self._client.ask("settle", name=name)

    def undo(self) -> None:
        """Delete the collections that were made."""
        for name in self.made:
            with suppress(VaultError):
                self._client.ask("drop", name=name)

    def version(self) -> str:
        """Return the version that the server states."""
        return str(self._client.ask("version"))

    def findings(self) -> tuple[Finding, ...]:
        """Read every vector; return what is wrong with them."""
        return self._client.observe().findings

    def describe(self, sample: int) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, and samples of its first entities."""
        return tuple(self._facts(one, sample) for one in self.record_sets())

    def _facts(self, records: RecordSet, sample: int) -> CollectionFacts:
        rows = []
        points = self.points(records.name)
        for point in points:
            rows.append(encode_point(point, records, ""))
            if len(rows) == sample:
                break
        facts = facts_of(records, self.count(records.name), rows)
        finite = {row.id for row in rows if all(map(is_finite, filter(None, row.vectors)))}
        vectors: Mapping[str, tuple[float, ...]] = {
            key: one for key, one in facts.sample_vectors.items() if key in finite
        }
        return replace(facts, sample_vectors=vectors)


def usable_name(name: str) -> str:
    """Return a name that Milvus accepts: letters, digits and underscores, no digit first."""
    plain = "".join(one if one.isascii() and one.isalnum() else "_" for one in name)[:255]
    return plain if plain and not plain[0].isdigit() else f"c_{plain}"[:255]


@contextmanager
def undone_on_error(points: MilvusPoints) -> Iterator[MilvusPoints]:
    """Yield a target; delete what was made in it when the context is left with an error."""
    try:
        yield points
    except BaseException:
        points.undo()
        raise
