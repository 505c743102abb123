"""FAISS indexes as points, in the process that has them loaded.

An index is a collection. A point's id is what the id map says of its position, or the index's own
label, or the position; its payload is what the docstore has for that id. Only indexes that keep
vectors as they were given can be read so: flat, IVF of flat lists, HNSW over flat.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from llmvault.core.errors import IntegrityError, RefusedError, UnavailableError, UnprovenError
from llmvault.sources.faiss.documents import (
    Docstore,
    entry_of,
    packed_point,
    unpacked_point,
    write_docstore,
)
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import check_dimension
from llmvault.sources.stores.worker import engine_errors

KIND = "faiss"
POINTS_SUFFIX = ".points.json"
"""Of a file beside an index that was made of another kind of store's points."""
_METRICS = {0: "ip", 1: "l2", 2: "l1"}
_NUMBERS = {word: number for number, word in _METRICS.items()}
_BATCH = 1024
_LISTS = 64
_TRAINED_ON = 256  # vectors for each list, as faiss advises at most


class Loaded(Protocol):
    """One index in memory."""

    @property
    def name(self) -> str:
        """The file, relative to the directory."""

    @property
    def handle(self) -> Any:  # noqa: ANN401
        """faiss's object."""

    @property
    def labels(self) -> Sequence[int] | None:
        """The label of each position; None where labels are positions."""

    def id(self, label: int) -> str:
        """Return the id of a label."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written beside an index that was made.

    Attributes:
        by_label: whether the index itself knows the ids.
        kept: content of the file of our own form; None without one.
        id_map, docstore: files, as a policy names them; empty without one.
    """

    ids: Sequence[str]
    by_label: bool
    kept: Mapping[str, Any] | None = None
    id_map: str = ""
    docstore: str = ""


class Indexes(Protocol):
    """Indexes that are loaded, or made."""

    root: Path

    def loaded(self) -> Mapping[str, Loaded]:
        """Return name -> index."""

    def docstore(self, name: str) -> Docstore:
        """Return what belongs to an index's ids."""

    def kept_points(self, name: str) -> Mapping[str, Any] | None:
        """Return what a file of our own form says of an index's points; None without one."""

    def id_map(self, name: str) -> str:
        """Return the file with an index's ids, as the policy names it; empty without one."""

    def take(self, name: str, written: Written) -> None:
        """Have an index that was made among the loaded ones."""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest vectors."""


class FaissPoints:
    """The indexes of a directory (a ``RecordsTarget``; the live ones are only read)."""

    at_one_moment = True

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._wanted: dict[str, RecordSet] = {}
        self._waiting: dict[str, list[Point]] = {}

    def record_sets(self) -> tuple[RecordSet, ...]:
        """Return every index, sorted by name."""
        found = {name: self._record_set(one) for name, one in self._indexes.loaded().items()}
        return tuple(found[name] for name in sorted(found))

    def _record_set(self, index: Loaded) -> RecordSet:
        with engine_errors(f"index {index.name}"):
            return self._stated(index)

    def _stated(self, index: Loaded) -> RecordSet:
        import faiss

        handle = index.handle
        inner = inner_index(handle)
        made: dict[str, Any] = {}
        if isinstance(inner, faiss.IndexIVFFlat):
            made = {"kind": "ivfflat", "lists": int(inner.nlist)}
        elif isinstance(inner, faiss.IndexHNSWFlat):
            hnsw = inner.hnsw
            made = {
                "kind": "hnsw",
                "m": int(faiss.vector_to_array(hnsw.cum_nneighbor_per_level)[1]) // 2,
                "ef_construction": int(hnsw.efConstruction),
                "ef_search": int(hnsw.efSearch),
            }
        elif isinstance(inner, faiss.IndexFlat):
            made = {"kind": "flat"}
        if not made or int(handle.metric_type) not in _METRICS:
            raise UnprovenError(
                f"index {index.name}",
                "it keeps codes, from which its vectors cannot be had as they were given",
                "capture it as native",
            )
        native: dict[str, Any] = {"labels": index.labels is not None}
        if id_map := self._indexes.id_map(index.name):
            native["id_map"] = id_map
        if docstore := self._indexes.docstore(index.name).stated():
            native["docstore"] = docstore
        named = bool(id_map) or self._indexes.kept_points(index.name) is not None
        field = VectorField("", int(handle.d), _METRICS[int(handle.metric_type)], made)
        return RecordSet(index.name, KIND, "text" if named else "integer", (field,), native=native)

    def count(self, name: str) -> int:
        """Return how many vectors there are."""
        return int(self._index(name).handle.ntotal)

    def points(self, name: str) -> Iterator[Point]:
        """Yield every vector in the order of positions, with what is kept beside it."""
        index = self._index(name)
        inner, count = inner_index(index.handle), int(index.handle.ntotal)
        docstore, kept = self._indexes.docstore(name), self._indexes.kept_points(name)
        for start in range(0, count, _BATCH):
            with engine_errors(f"index {name}"):
                vectors = inner.reconstruct_n(start, min(_BATCH, count - start))
            for offset, vector in enumerate(vectors):
                place = start + offset
                label = place if index.labels is None else index.labels[place]
                key, data = index.id(label), cast("bytes", vector.astype("<f4").tobytes())
                if kept is None:
                    yield docstore.point(key, data)
                else:
                    yield unpacked_point(key, data, kept.get(key, {}))

    def fetch(self, name: str, ids: Sequence[str]) -> Iterator[Point]:
        """Yield the vectors with these ids; reads the whole index."""
        wanted = set(ids)
        return (point for point in self.points(name) if point.id in wanted)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest vectors."""
        return self._indexes.search(collection, vector, k)

    def create(self, wanted: RecordSet) -> str:
        """Make room for an index.

        Raises:
            RefusedError: when there is one of that name.
            UnprovenError: when FAISS cannot hold such vectors.
        """
        name = wanted.name if wanted.kind == KIND else f"{wanted.name.replace('/', '_')}.faiss"
        if name in self._wanted or (self._indexes.root / name).exists():
            raise RefusedError(
                f"index {name}", "it is there already; nothing was written", "give a new directory"
            )
        _inside(self._indexes.root, name)
        fields = wanted.vectors
        if len(fields) != 1 or fields[0].dimension is None:
            cause = "an index holds one vector of each point, all of one dimension"
            raise UnprovenError(f"collection {wanted.name}", cause)
        if fields[0].distance not in _NUMBERS:
            cause = f"FAISS has no distance {fields[0].distance}"
            raise UnprovenError(f"collection {wanted.name}", cause)
        self._wanted[name] = wanted
        self._waiting[name] = []
        return name

    def add(self, name: str, points: Iterator[Point]) -> None:
        """Keep points in memory until the index is built, which has to be in memory as well.

        Raises:
            IntegrityError: when a point has no vector, or one of another dimension.
        """
        (field,) = self._wanted[name].vectors
        for point in points:
            where = f"{name}: record {point.id!r}"
            vector = point.vectors.get(field.name)
            if vector is None:
                raise IntegrityError(where, "it has no vector, and an index holds nothing else")
            check_dimension(where, field, vector)
            self._waiting[name].append(point)

    def kept_form(self, name: str, point: Point) -> Point:
        """Return a point as the index keeps it: its vector has no name."""
        (field,) = self._wanted[name].vectors
        vectors = {"": point.vectors[field.name]} if field.name in point.vectors else {}
        return Point(point.id, vectors, point.payload, point.document, point.native)

    def finish(self, name: str) -> None:
        """Build the index, and write it with its ids and what is kept beside them."""
        import faiss
        import numpy as np

        wanted, points = self._wanted[name], self._waiting.pop(name)
        (field,) = wanted.vectors
        own = wanted.kind == KIND
        root = self._indexes.root
        data = b"".join(point.vectors[field.name] for point in points)
        vectors = np.frombuffer(data, "<f4").reshape(len(points), -1)
        if not points:
            vectors = np.zeros((0, field.dimension or 1), np.float32)
        ids = [point.id for point in points]
        labels = own and bool(wanted.native.get("labels"))
        with engine_errors(f"index {name}"):
            handle = _built(field, vectors, ids if labels else None)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            faiss.write_index(handle, str(root / name))
            written = self._write_beside(wanted, name, points, labels=labels)
        self._indexes.take(name, written)

    def _write_beside(
        self, wanted: RecordSet, name: str, points: Sequence[Point], *, labels: bool
    ) -> Written:
        root, native = self._indexes.root, wanted.native
        ids = [point.id for point in points]
        if wanted.kind != KIND:
            kept = {"ids": ids, "points": {one.id: packed_point(one) for one in points}}
            (root / f"{name}{POINTS_SUFFIX}").write_text(json.dumps(kept))
            return Written(ids, by_label=False, kept=kept)
        id_map, docstore = str(native.get("id_map", "")), native.get("docstore")
        if id_map:
            _inside(root, id_map).parent.mkdir(parents=True, exist_ok=True)
            (root / id_map).write_text(json.dumps(ids))
        if docstore:
            _inside(root, docstore["place"])
            listed = (point for point in points if point.native.get("listed", True))
            write_docstore(root, docstore, {point.id: entry_of(point) for point in listed})
        place = docstore["place"] if docstore else ""
        named = ids if id_map else ()
        return Written(named, by_label=labels, id_map=id_map, docstore=place)

    def _index(self, name: str) -> Loaded:
        found = self._indexes.loaded().get(name)
        if found is None:
            raise UnavailableError(f"index {name}", "there is no such index")
        return found


def _inside(root: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise IntegrityError(f"file {name}", "its name leads out of the directory")
    return root / name


def inner_index(handle: Any) -> Any:  # noqa: ANN401
    """Return the index that holds the vectors: the one behind an id map."""
    import faiss

    return faiss.downcast_index(handle.index) if hasattr(handle, "id_map") else handle


def _built(field: VectorField, vectors: Any, labels: Sequence[str] | None) -> Any:  # noqa: ANN401
    """Return an index of vectors, of the kind that its field states.

    Args:
        labels: numbers by which the index itself is to know them; None for positions.
    """
    import faiss
    import numpy as np

    dimension, metric = int(field.dimension or 0), _NUMBERS[field.distance]
    made = field.index
    index: Any = faiss.IndexFlat(dimension, metric)
    if made.get("kind") == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, int(made.get("m", 16)), metric)
        index.hnsw.efConstruction = int(made.get("ef_construction", 40))
        index.hnsw.efSearch = int(made.get("ef_search", 16))
    elif made.get("kind") == "ivfflat" and len(vectors):
        lists = min(int(made.get("lists", _LISTS)), len(vectors))
        index = faiss.IndexIVFFlat(index, dimension, lists, metric)
        chosen = vectors[:: max(1, len(vectors) // (lists * _TRAINED_ON))]
        index.train(np.ascontiguousarray(chosen))
    if labels is not None:
        numbers = np.array([int(one) for one in labels], np.int64)
        index = faiss.IndexIDMap2(index)
        if len(vectors):
            index.add_with_ids(vectors, numbers)
    elif len(vectors):
        index.add(vectors)
    return index
