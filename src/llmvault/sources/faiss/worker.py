"""The process that loads FAISS indexes: the reader is native code, and whole indexes are in memory.

    python -P -m llmvault.sources.faiss.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``path``, ``indexes`` (relative),
``sample``, ``ids`` (index -> the id of each position), ``id_maps`` and ``docstores`` (index ->
file, as the policy names it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.core.files import sha256_file
from llmvault.sources.faiss.documents import Docstore, read_docstore
from llmvault.sources.faiss.points import POINTS_SUFFIX, FaissPoints, Written, inner_index
from llmvault.sources.interface import CollectionFacts, Finding, Observation
from llmvault.sources.stores.points_worker import point_questions
from llmvault.sources.stores.samples import VectorTally
from llmvault.sources.stores.worker import engine_errors, required, serve

_METRICS = {0: "ip", 1: "l2", 2: "l1"}
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """One index in memory.

    Attributes:
        handle: faiss's object.
        labels: the label of each position; None where labels are positions.
        ids: the id of each label that is a position; empty when labels are the ids.
    """

    name: str
    path: Path
    handle: Any
    labels: Sequence[int] | None
    ids: Sequence[str]

    def id(self, label: int) -> str:
        """Return the id of a label."""
        return self.ids[label] if 0 <= label < len(self.ids) else str(label)


@contextmanager
def open_indexes(opening: Mapping[str, Any]) -> Iterator[OpenIndexes]:
    """Load every index."""
    try:
        import faiss
    except ImportError as error:
        raise required("faiss", "faiss", error) from error
    root = Path(opening["path"])
    loaded = []
    kept = {name: found for name in opening["indexes"] if (found := _kept(root, name)) is not None}
    for name in opening["indexes"]:
        ids = opening["ids"].get(name) or kept.get(name, {}).get("ids", [])
        with engine_errors(f"index {name}"):
            handle = faiss.read_index(str(root / name))
            loaded.append(_loaded(name, root / name, handle, ids))
    beside = Beside(opening["id_maps"], opening["docstores"], kept)
    yield OpenIndexes(root, loaded, int(opening["sample"]), beside)


def _kept(root: Path, name: str) -> Mapping[str, Any] | None:
    """Return what a file of our own form says of an index's points; None without one."""
    path = root / f"{name}{POINTS_SUFFIX}"
    try:
        value = json.loads(path.read_bytes())
        return {"ids": list(map(str, value["ids"])), "points": dict(value["points"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"file {path}", "it is not in the form that restores write") from error


def _loaded(name: str, path: Path, handle: Any, ids: Sequence[str]) -> LoadedIndex:  # noqa: ANN401
    import faiss

    labels = faiss.vector_to_array(handle.id_map).tolist() if hasattr(handle, "id_map") else None
    inner = inner_index(handle)
    if isinstance(inner, faiss.IndexIVF):
        inner.nprobe = inner.nlist  # every list is searched, so that answers are exact
        inner.make_direct_map()
    return LoadedIndex(name, path, handle, labels, ids)


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside indexes.

    Attributes:
        id_maps, docstores: index -> file, as the policy names it.
        kept: index -> ids, and what restores of other kinds of stores wrote.
    """

    id_maps: Mapping[str, str]
    docstores: Mapping[str, str]
    kept: Mapping[str, Mapping[str, Any]]


class OpenIndexes:
    """Indexes in memory (:class:`llmvault.sources.stores.worker.ServedStore`)."""

    def __init__(
        self, root: Path, indexes: Sequence[LoadedIndex], sample: int, beside: Beside
    ) -> None:
        self.root = root
        self._indexes = list(indexes)
        self._sample = sample
        self._beside = beside
        self._docstores: dict[str, Docstore] = {}
        self._points = FaissPoints(self)

    def loaded(self) -> Mapping[str, LoadedIndex]:
        """Return name -> index."""
        return {index.name: index for index in self._indexes}

    def docstore(self, name: str) -> Docstore:
        """Return what belongs to an index's ids."""
        place = self._beside.docstores.get(name, "")
        if name not in self._docstores:
            self._docstores[name] = read_docstore(self.root, place) if place else Docstore("")
        return self._docstores[name]

    def kept_points(self, name: str) -> Mapping[str, Any] | None:
        """Return what a file of our own form says of an index's points; None without one."""
        kept = self._beside.kept.get(name)
        return None if kept is None else kept["points"]

    def id_map(self, name: str) -> str:
        """Return the file with an index's ids, as the policy names it; empty without one."""
        return self._beside.id_maps.get(name, "")

    def take(self, name: str, written: Written) -> None:
        """Have an index that was made among the loaded ones."""
        handle = faiss_index(self.root / name)
        ids = () if written.by_label else written.ids
        self._indexes.append(_loaded(name, self.root / name, handle, ids))
        kept = dict(self._beside.kept)
        if written.kept is not None:
            kept[name] = written.kept
        id_maps = {**self._beside.id_maps, **({name: written.id_map} if written.id_map else {})}
        docstores = dict(self._beside.docstores)
        if written.docstore:
            docstores[name] = written.docstore
        self._docstores.pop(name, None)
        self._beside = Beside(id_maps, docstores, kept)

    def as_points(self) -> FaissPoints:
        """Return their vectors as points."""
        return self._points

    def observe(self) -> Observation:
        """Return every index, with sampled vectors where it can give any back."""
        collections = []
        findings: list[Finding] = []
        for index in self._indexes:
            with engine_errors(f"index {index.name}"):
                facts, found = self._facts(index)
            collections.append(facts)
            findings.extend(found)
        return Observation(tuple(findings), collections=tuple(collections))

    def _facts(self, index: LoadedIndex) -> tuple[CollectionFacts, tuple[Finding, ...]]:
        handle = index.handle
        count, dimension = int(handle.ntotal), int(handle.d)
        tally = self._tally(index, count)
        facts = tally.facts(index.name, _settings(handle))
        digests = dict(facts.sample_digests)
        if count and not digests:  # it keeps codes from which no vector can be made: the file then
            digests = {"file": sha256_file(index.path)}
        whole = CollectionFacts(
            index.name, count, dimension, digests, facts.sample_vectors, facts.settings
        )
        return whole, (*tally.findings(index.name), *_id_findings(index, count))

    def _tally(self, index: LoadedIndex, count: int) -> VectorTally:
        tally = VectorTally(self._sample)
        inner = inner_index(index.handle)
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            try:
                vectors = inner.reconstruct_n(start, size)
            except RuntimeError:
                return VectorTally(self._sample)
            for offset, vector in enumerate(vectors):
                place = start + offset
                label = place if index.labels is None else index.labels[place]
                tally.add(index.id(label), cast("bytes", vector.astype("<f4").tobytes()))
        return tally

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest vectors, nearest first, equal distances by id.

        Flat and IVF indexes are searched exactly, HNSW as it was built.
        """
        import numpy as np

        index = next((each for each in self._indexes if each.name == collection), None)
        if index is None:
            raise UnavailableError(f"index {collection}", "there is no such index")
        if len(vector) != index.handle.d:
            raise IntegrityError(
                f"index {collection}",
                f"its dimension is {index.handle.d}, the query's {len(vector)}",
            )
        with engine_errors(f"index {collection}"):
            query = np.array([vector], dtype=np.float32)
            distances, labels = index.handle.search(query, k)
        sign = -1 if index.handle.metric_type == 0 else 1
        found = zip(distances[0].tolist(), labels[0].tolist(), strict=True)
        return tuple(key for _, key in sorted((sign * d, index.id(n)) for d, n in found if n >= 0))


def faiss_index(path: Path) -> Any:  # noqa: ANN401
    """Return the index in a file."""
    import faiss

    with engine_errors(f"index {path.name}"):
        return faiss.read_index(str(path))


def _settings(handle: Any) -> dict[str, str]:  # noqa: ANN401
    import faiss

    inner = inner_index(handle)
    stated = {
        "type": type(handle).__name__,
        "metric": _METRICS.get(int(handle.metric_type), str(handle.metric_type)),
    }
    if inner is not handle:
        stated["inner type"] = type(inner).__name__
    if isinstance(inner, faiss.IndexIVF):
        stated["nlist"] = str(inner.nlist)
    if hasattr(inner, "hnsw"):
        stated["ef_search"] = str(inner.hnsw.efSearch)
        stated["ef_construction"] = str(inner.hnsw.efConstruction)
    return stated


def _id_findings(index: LoadedIndex, count: int) -> tuple[Finding, ...]:
    if not index.ids or len(index.ids) == count:
        return ()
    detail = f"the index has {count} vectors, its id map {len(index.ids)} ids"
    return (Finding("id-map-mismatch", index.name, detail, "failed"),)


if __name__ == "__main__":
    serve(open_indexes, point_questions())
