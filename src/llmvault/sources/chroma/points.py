"""Chroma collections as points, read from and written to a store that is open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.sources.chroma.opened import OpenChroma, OpenCollection, engine_errors
from llmvault.sources.chroma.records import CollectionHeader, Database, Record
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import check_dimension, to_json

_IDS_A_FETCH = 200
_INDEX_WORDS = {
    "max_neighbors": "m",
    "ef_construction": "ef_construction",
    "ef_search": "ef_search",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]")


class ChromaPoints:
    """An open Chroma store (a ``RecordsTarget``; the live one is only read).

    Args:
        at_one_moment: whether nobody writes to the store meanwhile.
    """

    def __init__(self, store: OpenChroma, *, at_one_moment: bool) -> None:
        self._store = store
        self.at_one_moment = at_one_moment
        self._known: dict[str, OpenCollection] = {}
        self._wanted: dict[str, RecordSet] = {}
        self._foreign: dict[str, RecordSet] = {}
        self.made: list[str] = []

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every collection, sorted by name."""
        with engine_errors("the Chroma store"):
            found = self._store.collections()
        self._known = {one.header.qualified_name: one for one in found}
        return tuple(record_set(one.header) for one in found)

    def count(self, name: str) -> int:
        """Return how many records the store says a collection has."""
        with engine_errors(f"collection {name}"):
            return self._collection(name).count()

    def points(self, name: str) -> Iterator[Point]:
        """Yield every record, in the order of insertion."""
        with engine_errors(f"collection {name}"):
            for record in self._collection(name).records():
                yield point_of(record)

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the records with these ids."""
        remaining = iter(ids)
        while page := list(islice(remaining, _IDS_A_FETCH)):
            with engine_errors(f"collection {name}"):
                for record in self._collection(name).found(page):
                    yield point_of(record)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest records, nearest first."""
        name = collection
        if name not in self._known and "." in name and name.rpartition(".")[0] in self._known:
            name = name.rpartition(".")[0]
        return self._store.search(name, vector, k)

    def _collection(self, name: str) -> OpenCollection:
        if name not in self._known:
            self.record_sets()
        if name not in self._known:
            raise UnavailableError(f"collection {name}", "the store has no such collection")
        return self._known[name]

    def create(self, wanted: RecordSet) -> str:
        """Make a collection as its definition says.

        Raises:
            RefusedError: when there is one of that name.
            UnprovenError: when its points have no vector, or several.
        """
        header = _header(wanted)
        name = header.qualified_name
        with engine_errors(f"collection {name}"):
            if name in {one.header.qualified_name for one in self._store.collections()}:
                raise RefusedError(
                    "the Chroma store",
                    f"it already has a collection {name!r}; nothing was written",
                    "give a fresh store, or delete the collection first",
                )
            created = self._store.create(header)
        self.made.append(name)
        self._known[name] = created
        self._wanted[name] = wanted
        if wanted.kind != "chroma":
            self._foreign[name] = wanted
        return name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Add points, a page in memory at a time.

        Raises:
            IntegrityError: when a vector has not the dimension that is stated: Chroma itself takes
                that of the first.
        """
        records = (record_of(self._kept(name, each)) for each in points)
        with engine_errors(f"collection {name}"):
            self._store.fill(self._collection(name), records)

    def _kept(self, name: str, point: Point) -> Point:
        for field in self._wanted[name].vectors if name in self._wanted else ():
            where = f"{name}: record {point.id!r}"
            check_dimension(where, field, point.vectors.get(field.name))
        return self.kept_form(name, point)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return a point as Chroma keeps it: flat metadata, other values as JSON text."""
        if name not in self._foreign:
            return point
        vector = next(iter(point.vectors.values()), None)
        metadata = {key: _flat(one) for key, one in point.payload.items() if one is not None}
        return Point(
            id=point.id,
            vectors={} if vector is None else {"": vector},
            payload=metadata,
            document=point.document,
        )

    def finish(self, name: str) -> None:
        """Do nothing: Chroma indexes what is added."""

    def undo(self) -> None:
        """Delete the collections that were made."""
        for name in self.made:
            self._store.delete(self._known[name].header)


def record_set(header: CollectionHeader) -> RecordSet:
    """Return a collection's definition in the words of a records capture."""
    index = header.configuration.get("hnsw") or {}
    words = {plain: index[own] for own, plain in _INDEX_WORDS.items() if own in index}
    settings = {"kind": "hnsw", **words} if index else {}
    distance = str((index or header.configuration.get("spann") or {}).get("space", "l2"))
    return RecordSet(
        name=header.qualified_name,
        kind="chroma",
        vectors=(VectorField("", header.dimension, distance, settings),),
        exact=header.gives_vectors_back_exactly,
        native={
            "tenant": header.database.tenant,
            "database": header.database.name,
            "name": header.name,
            "configuration": dict(header.configuration),
            "metadata": dict(header.metadata) if header.metadata else None,
            "schema_found": dict(header.schema) if header.schema else None,
        },
    )


def _header(wanted: RecordSet) -> CollectionHeader:
    if len(wanted.vectors) != 1:
        raise UnprovenError(
            f"collection {wanted.name}",
            f"its records have {len(wanted.vectors)} vectors, and Chroma keeps exactly one",
        )
    field = wanted.vectors[0]
    if wanted.kind == "chroma":
        native = wanted.native
        return CollectionHeader(
            database=Database(native["tenant"], native["database"]),
            name=native["name"],
            dimension=field.dimension,
            configuration=native["configuration"],
            metadata=native["metadata"],
            schema=native["schema_found"],
        )
    if field.distance not in ("l2", "cosine", "ip"):
        raise UnprovenError(f"collection {wanted.name}", f"Chroma has no distance {field.distance}")
    settings = {
        own: field.index[plain] for own, plain in _INDEX_WORDS.items() if plain in field.index
    }
    return CollectionHeader(
        database=Database(),
        name=_usable_name(wanted.name),
        dimension=field.dimension,
        configuration={"hnsw": {"space": field.distance, **settings}},
        metadata=None,
    )


def _usable_name(name: str) -> str:
    """Return a name that Chroma accepts: letters, digits, dot, dash, underscore, from 3 to 512."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if _NAME.fullmatch(plain):
        return plain
    return "c-" + re.sub(r"^[._-]+|[._-]+$", "", plain)[:500] + "-c"


def point_of(record: Record) -> Point:
    """Return a record as a point."""
    return Point(
        id=record.id,
        vectors={"": record.embedding},
        payload=record.metadata or {},
        document=record.document,
        native={"uri": record.uri} if record.uri is not None else {},
    )


def record_of(point: Point) -> Record:
    """Return a point as a record.

    Raises:
        IntegrityError: when it has no vector.
    """
    if "" not in point.vectors:
        raise IntegrityError(
            f"record {point.id!r}", "it has no vector, and Chroma keeps none without"
        )
    return Record(
        id=point.id,
        embedding=point.vectors[""],
        document=point.document,
        metadata=dict(point.payload) or None,
        uri=point.native.get("uri"),
    )


def _flat(value: Any) -> Any:  # noqa: ANN401  any value of a payload
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and value and _of_one_kind(value):
        return value
    return canonical_bytes(to_json(value)).decode()


def _of_one_kind(values: Sequence[Any]) -> bool:
    kind = type(values[0])
    return kind in (str, bool, int, float) and all(type(one) is kind for one in values)


@contextmanager
def undone_on_error(points: ChromaPoints) -> Iterator[ChromaPoints]:
    """Yield a target; delete what was made in it when the context is left with an error."""
    try:
        yield points
    except BaseException:
        points.undo()
        raise
