"""The process that opens Qdrant shards: the engine is native code with threads of its own.

    python -P -m llmvault.sources.qdrant.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``shards`` (collection -> paths)
and ``root``, below which ``create`` makes shards. Further questions are the methods of
:class:`llmvault.sources.qdrant.engine.Engine`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.interface import Finding, Observation, Point
from llmvault.sources.qdrant.shards import shard_directory
from llmvault.sources.qdrant.words import own_id, pack, unpack
from llmvault.sources.stores.samples import VectorTally
from llmvault.sources.stores.wire import point_from_wire, point_to_wire
from llmvault.sources.stores.worker import engine_errors, required, serve

_CONFIG = "edge_config.json"
_SCAN = 500


@contextmanager
def open_shards(opening: Mapping[str, Any]) -> Iterator[OpenShards]:
    """Load shards, and close them in the end."""
    try:
        import qdrant_edge
    except ImportError as error:
        raise required("qdrant-edge-py", "qdrant", error) from error
    root = Path(opening["root"]) if opening["root"] else None
    opened = OpenShards(qdrant_edge, root)
    try:
        for name, paths in opening["shards"].items():
            opened.load(name, [Path(path) for path in paths])
        yield opened
    finally:
        opened.close()


class OpenShards:
    """Shards that are open (:class:`llmvault.sources.stores.worker.ServedStore`)."""

    def __init__(self, edge: Any, root: Path | None) -> None:  # noqa: ANN401  a module
        self._edge = edge
        self._root = root
        self._shards: dict[str, list[Any]] = {}
        self._paths: dict[str, list[Path]] = {}

    def load(self, name: str, paths: Sequence[Path]) -> None:
        """Open the shards of a collection: directories, or archives that are unpacked beside."""
        for path in paths:
            with _errors(f"collection {name}"):
                shard = self._unpacked(path) if path.is_file() else path
                self._shards.setdefault(name, []).append(self._edge.EdgeShard.load(str(shard)))
            self._paths.setdefault(name, []).append(shard)

    def _unpacked(self, archive: Path) -> Path:
        shard = archive.with_suffix(".shard")
        self._edge.EdgeShard.unpack_snapshot(str(archive), str(shard))
        archive.unlink()
        return shard

    def close(self) -> None:
        """Close every shard."""
        for shards in self._shards.values():
            for shard in shards:
                shard.close()

    def collections(self) -> dict[str, Mapping[str, Any]]:
        """Return name -> settings."""
        return {name: self._settings(name) for name in sorted(self._shards)}

    def _settings(self, name: str) -> Mapping[str, Any]:
        with _errors(f"collection {name}"):
            stated = json.loads((self._paths[name][0] / _CONFIG).read_text(encoding="utf-8"))
            schema = self._shards[name][0].info().payload_schema
        indexes = {
            field: str(one.data_type).rpartition(".")[2].lower() for field, one in schema.items()
        }
        kept = {key: one for key, one in stated.items() if one not in (None, {})}
        return {**kept, "payload_schema": indexes} if indexes else kept

    def count(self, name: str) -> int:
        """Return how many points there are."""
        exactly = self._edge.CountRequest(exact=True)
        with _errors(f"collection {name}"):
            return sum(int(shard.count(exactly)) for shard in self._of(name))

    def page(self, name: str, start: str | None, limit: int) -> dict[str, Any]:
        """Return points in the order of ids, of all shards together, and where to go on."""
        points, following = self._page(name, start, limit)
        return {"points": [point_to_wire(point) for point in points], "next": following}

    def _page(self, name: str, start: str | None, limit: int) -> tuple[list[Point], str | None]:
        request = self._edge.ScrollRequest(
            offset=None if start is None else _edge_id(start),
            limit=limit + 1,
            with_payload=True,
            with_vector=True,
        )
        with _errors(f"collection {name}"):
            records = [one for shard in self._of(name) for one in shard.scroll(request)[0]]
        records.sort(key=lambda one: _order(one.id))
        following = str(records[limit].id) if len(records) > limit else None
        return [self._point(one) for one in records[:limit]], following

    def some(self, name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the points with these ids."""
        wanted = [_edge_id(one) for one in ids if str(own_id(one)) == one]
        with _errors(f"collection {name}"):
            found = [one for shard in self._of(name) for one in shard.retrieve(wanted, True, True)]
        return [point_to_wire(self._point(one)) for one in found]

    def _point(self, record: Any) -> Point:  # noqa: ANN401
        given = record.vector
        named = given if isinstance(given, dict) else {"": given} if given is not None else {}
        vectors, native = {}, {}
        for name, one in named.items():
            if isinstance(one, self._edge.SparseVector):
                native[name] = {"indices": list(one.indices), "values": list(one.values)}
            elif one and isinstance(one[0], list):
                native[name] = one
            else:
                vectors[name] = pack(one)
        return Point(
            id=str(record.id),
            vectors=vectors,
            payload=record.payload or {},
            native={"vectors": native} if native else {},
        )

    def nearest(self, name: str, using: str, vector: Sequence[float], k: int) -> list[str]:
        """Return the ids of the k nearest points of all shards, equal distances by id."""
        request = self._edge.QueryRequest(
            limit=k,
            query=self._edge.Query.Nearest(list(vector), using or None),
            params=self._edge.SearchParams(exact=True),
        )
        with _errors(f"collection {name}"):
            found = [one for shard in self._of(name) for one in shard.query(request)]
        distance = self._settings(name)["vectors"][using]["distance"]
        sign = 1 if distance in ("Euclid", "Manhattan") else -1
        found.sort(key=lambda one: (sign * one.score, _order(one.id)))
        return [str(one.id) for one in found[:k]]

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest points by the first vector."""
        using = min(self._settings(collection)["vectors"])
        return tuple(self.nearest(collection, using, vector, k))

    def create(self, name: str, settings: Mapping[str, Any]) -> None:
        """Make a shard for a collection."""
        if self._root is None:
            raise UnavailableError(f"collection {name}", "these shards are only read")
        path = shard_directory(self._root, name)
        with _errors(f"collection {name}"):
            path.mkdir(parents=True, mode=0o700)
            shard = self._edge.EdgeShard.create(str(path), self._config(settings))
            self._shards[name], self._paths[name] = [shard], [path]
            for field, schema in (settings.get("payload_schema") or {}).items():
                self._index(shard, field, schema)

    def _config(self, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401
        edge = self._edge
        vectors = {
            name: edge.EdgeVectorParams(
                int(one["size"]),
                getattr(edge.Distance, one["distance"]),
                on_disk=one.get("on_disk"),
                datatype=self._named("VectorStorageDatatype", one.get("datatype")),
                hnsw_config=self._hnsw(one.get("hnsw_config")),
                multivector_config=self._multivector(one.get("multivector_config")),
            )
            for name, one in (settings.get("vectors") or {}).items()
        }
        sparse = {
            name: edge.EdgeSparseVectorParams(modifier=self._named("Modifier", one.get("modifier")))
            for name, one in (settings.get("sparse_vectors") or {}).items()
        }
        return edge.EdgeConfig(
            vectors=vectors,
            sparse_vectors=sparse,
            hnsw_config=self._hnsw(settings.get("hnsw_config")),
            on_disk_payload=settings.get("on_disk_payload"),
        )

    def _named(self, kind: str, word: str | None) -> Any:  # noqa: ANN401
        return None if word is None else getattr(getattr(self._edge, kind), word.capitalize())

    def _hnsw(self, stated: Mapping[str, Any] | None) -> Any:  # noqa: ANN401
        if not stated or "m" not in stated:
            return None
        return self._edge.HnswIndexConfig(
            stated["m"],
            stated.get("ef_construct", 100),
            stated.get("full_scan_threshold", 10_000),
            max_indexing_threads=stated.get("max_indexing_threads", 0),
            on_disk=stated.get("on_disk"),
            payload_m=stated.get("payload_m"),
        )

    def _multivector(self, stated: Mapping[str, Any] | None) -> Any:  # noqa: ANN401
        if not stated:
            return None
        return self._edge.MultiVectorConfig(self._edge.MultiVectorComparator.MaxSim)

    def _index(self, shard: Any, field: str, schema: object) -> None:  # noqa: ANN401
        word = schema.get("type", "") if isinstance(schema, Mapping) else str(schema)
        kind = getattr(self._edge.PayloadSchemaType, str(word).capitalize())
        shard.update(self._edge.UpdateOperation.create_field_index(field, kind))

    def put(self, name: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Write points."""
        made = [self._made(point_from_wire(one)) for one in points]
        with _errors(f"collection {name}"):
            self._of(name)[0].update(self._edge.UpdateOperation.upsert_points(made))

    def _made(self, point: Point) -> Any:  # noqa: ANN401
        named: dict[str, Any] = {name: unpack(one) for name, one in point.vectors.items()}
        for name, one in (point.native.get("vectors") or {}).items():
            sparse = isinstance(one, Mapping)
            named[name] = self._edge.SparseVector(one["indices"], one["values"]) if sparse else one
        return self._edge.Point(_edge_id(str(own_id(point.id))), named, dict(point.payload))

    def settle(self, name: str) -> None:
        """Build the indexes that are due, and write everything to disk."""
        with _errors(f"collection {name}"):
            for shard in self._of(name):
                shard.optimize()
                shard.flush()

    def drop(self, name: str) -> None:
        """Remove a collection's shards."""
        for shard in self._shards.pop(name, []):
            shard.close()
        for path in self._paths.pop(name, []):
            rmtree(path, ignore_errors=True)

    def observe(self) -> Observation:
        """Read every vector, and tell what is wrong with them."""
        findings: list[Finding] = []
        for name in sorted(self._shards):
            tallies: dict[str, VectorTally] = {}
            start: str | None = None
            while True:
                points, start = self._page(name, start, _SCAN)
                for point in points:
                    for own, vector in point.vectors.items():
                        tallies.setdefault(own, VectorTally(1)).add(point.id, vector)
                if start is None:
                    break
            for own, tally in sorted(tallies.items()):
                findings.extend(tally.findings(f"{name}.{own}" if own else name))
        return Observation(findings=tuple(findings))

    def _of(self, name: str) -> list[Any]:
        if name not in self._shards:
            raise UnavailableError(f"collection {name}", "the store has no such collection")
        return self._shards[name]


def _edge_id(text: str) -> int | uuid.UUID:
    return int(text) if text.isdigit() else uuid.UUID(text)


def _order(own: int | uuid.UUID) -> tuple[int, int]:
    return (0, own) if isinstance(own, int) else (1, own.int)


@contextmanager
def _errors(thing: str) -> Iterator[None]:
    try:
        with engine_errors(thing, Exception):
            yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        told = str(error).splitlines()[0][:300]
        raise IntegrityError(thing, f"its engine crashes on it: {told}") from error


QUESTIONS = {
    name: getattr(OpenShards, name)
    for name in (
        "collections",
        "count",
        "page",
        "some",
        "nearest",
        "create",
        "put",
        "settle",
        "drop",
    )
}

if __name__ == "__main__":
    serve(open_shards, QUESTIONS)
