"""The process that talks to Milvus: milvus-lite runs a server in it, pymilvus threads.

    python -P -m llmvault.sources.milvus.worker

Speaks as :mod:`llmvault.sources.stores.worker` says; opened with ``address`` (a directory of
milvus-lite, or a URL), ``token`` and ``database``. Further questions: ``collections``, ``count``,
``begin`` and ``rows`` (every entity in the order of its key), ``some``, ``nearest``, ``create``,
``put``, ``forget``, ``settle``, ``drop``, ``version``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from llmvault.core.errors import IntegrityError, UnavailableError
from llmvault.sources.interface import Finding, Observation, Point
from llmvault.sources.milvus.words import (
    dense_fields,
    from_wire,
    key_field,
    nearest_first,
    own_id,
    point_of,
    row_of,
    to_wire,
)
from llmvault.sources.stores.samples import VectorTally
from llmvault.sources.stores.worker import engine_errors, one_line, required, serve

_BATCH_BYTES = 4 << 20
_LARGEST_BATCH = 1_000
_PROBED = 4
_CONNECT_SECONDS = 10.0
_CHANGING = frozenset(
    {"total_rows", "indexed_rows", "pending_index_rows", "state", "index_name", "field_name"}
)
_NOT_LOADED = ("not loaded", "in state 'released'", "collection not found")
_REFUSED = ("auth check failure", "unauthenticated", "permission deny", "PermissionDenied")


@contextmanager
def open_client(opening: Mapping[str, Any]) -> Iterator[OpenMilvus]:
    """Connect, and close in the end."""
    try:
        import pymilvus
    except ImportError as error:
        raise required("pymilvus", "milvus", error) from error
    logging.disable(logging.CRITICAL)  # errors are told by us
    address = str(opening["address"])
    thing = f"Milvus {address}"
    try:
        client = pymilvus.MilvusClient(
            address,
            token=opening["token"],
            db_name=opening["database"],
            timeout=_CONNECT_SECONDS,
        )
    except ImportError as error:
        raise required("milvus-lite", "milvus", error) from error
    except pymilvus.MilvusException as error:
        raise _unopened(thing, error, remote="://" in address) from error
    except SystemExit as error:
        raise IntegrityError(thing, "milvus-lite cannot open it") from error
    opened = OpenMilvus(pymilvus, client)
    try:
        if "://" not in address:
            opened.load_all()  # a directory is a copy of ours, and loading it costs nobody memory
        yield opened
    finally:
        with suppress(Exception):
            client.close()


def _unopened(thing: str, error: Exception, *, remote: bool) -> Exception:
    told = one_line(error)
    if any(words.lower() in told.lower() for words in _REFUSED):
        return UnavailableError(thing, f"it refuses access: {told}", "correct the source's token")
    if remote:
        return UnavailableError(
            thing, f"it cannot be reached: {told}", "start it, or correct the url"
        )
    return IntegrityError(thing, f"milvus-lite cannot open it: {told}")


class OpenMilvus:
    """A Milvus that is open (:class:`llmvault.sources.stores.worker.ServedStore`)."""

    def __init__(self, library: Any, client: Any) -> None:  # noqa: ANN401
        self._library = library
        self._client = client
        self._known: dict[str, Mapping[str, Any]] = {}
        self._rows: Any = None

    def load_all(self) -> None:
        """Make every collection ready to be read."""
        with _errors("Milvus"):
            for name in self._client.list_collections():
                self._client.load_collection(name)

    def version(self) -> str:
        """Return the version that the server states."""
        with _errors("Milvus"):
            return str(self._client.get_server_version())

    def collections(self) -> dict[str, Any]:
        """Return name -> definition and aliases."""
        with _errors("Milvus"):
            names = sorted(self._client.list_collections())
        return {
            name: {"definition": self._definition(name), "aliases": self._aliases(name)}
            for name in names
        }

    def _aliases(self, name: str) -> list[str]:
        with _errors(f"collection {name}"):
            return sorted(self._client.list_aliases(name)["aliases"])

    def _definition(self, name: str) -> Mapping[str, Any]:
        if name in self._known:
            return self._known[name]
        with _errors(f"collection {name}"):
            stated = self._client.describe_collection(name)
            indexes = {}
            for index in self._client.list_indexes(name):
                found = self._client.describe_index(name, index)
                indexes[str(found["field_name"])] = _index(found)
        definition = {
            "fields": [_field(one) for one in stated["fields"]],
            "enable_dynamic_field": bool(stated.get("enable_dynamic_field")),
            "description": str(stated.get("description") or ""),
            "indexes": indexes,
        }
        self._known[name] = definition
        return definition

    def count(self, name: str) -> int:
        """Return how many entities there are, counted, not estimated."""
        with self._loaded(name):
            answer = self._client.query(name, filter="", output_fields=["count(*)"])
            return int(answer[0]["count(*)"])

    def begin(self, name: str) -> None:
        """Begin to read every entity in the order of its key."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        with self._loaded(name):
            few = self._client.query(name, filter="", limit=_PROBED, output_fields=["*"])
            size = max((len(str(one)) for one in few), default=1)
            batch = max(1, min(_LARGEST_BATCH, _BATCH_BYTES // size))
            self._rows = self._client.query_iterator(name, batch_size=batch, output_fields=["*"])
        self._reading = name

    def rows(self) -> list[dict[str, Any]]:
        """Return further entities; none when all were given."""
        return [to_wire(point) for point in self._points()]

    def _points(self) -> list[Point]:
        definition = self._definition(self._reading)
        with _errors(f"collection {self._reading}"):
            found = self._rows.next()
        points = [point_of(row, definition) for row in found]
        integer = str(key_field(definition)["type"]).startswith("INT")
        points.sort(key=lambda one: (int(one.id), "") if integer else (0, one.id))
        return points

    def some(self, name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the entities with these ids."""
        definition = self._definition(name)
        wanted = []
        for one in ids:
            with suppress(IntegrityError):
                wanted.append(own_id(one, definition))
        if not wanted:
            return []
        with self._loaded(name):
            found = self._client.get(name, ids=wanted, output_fields=["*"])
        return [to_wire(point_of(row, definition)) for row in found]

    def nearest(self, name: str, using: str, vector: Sequence[float], k: int) -> list[str]:
        """Return the ids of the k nearest entities, with as wide a search as the index offers."""
        definition = self._definition(name)
        index = definition["indexes"].get(using, {})
        metric = str(index.get("metric_type") or "COSINE")
        wide = {"ef": max(4 * k, 512), "nprobe": (index.get("params") or {}).get("nlist", 128)}
        kind = str(index.get("index_type", ""))
        wanted = "ef" if "HNSW" in kind else "nprobe" if "IVF" in kind else ""
        params = {wanted: wide[wanted]} if wanted else {}
        with self._loaded(name):
            found = self._client.search(
                name,
                data=[list(vector)],
                anns_field=using,
                limit=k,
                search_params={"metric_type": metric, "params": params},
            )[0]
        key = str(key_field(definition)["name"])
        pairs = [(str(_key_in(hit, key)), float(hit["distance"])) for hit in found]
        return nearest_first(pairs, metric)

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest entities by the first vector."""
        using = dense_fields(self._definition(collection))[0]
        return tuple(self.nearest(collection, using, vector, k))

    def create(self, name: str, definition: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Make a collection with its indexes and aliases."""
        kinds = self._library.DataType
        with _errors(f"collection {name}"):
            schema = self._client.create_schema(
                enable_dynamic_field=bool(definition.get("enable_dynamic_field")),
                description=str(definition.get("description") or ""),
            )
            for one in definition["fields"]:
                extra = {key: one[key] for key in ("nullable", "is_partition_key") if one.get(key)}
                if one.get("element_type"):
                    extra["element_type"] = kinds[one["element_type"]]
                schema.add_field(
                    one["name"],
                    kinds[one["type"]],
                    is_primary=bool(one.get("is_primary")),
                    **(one.get("params") or {}),
                    **extra,
                )
            indexes = self._client.prepare_index_params()
            for field, index in definition.get("indexes", {}).items():
                indexes.add_index(
                    field,
                    index_type=index["index_type"],
                    metric_type=index["metric_type"],
                    params=dict(index.get("params") or {}),
                )
            self._client.create_collection(name, schema=schema, index_params=indexes)
            for alias in aliases:
                self._client.create_alias(name, alias)

    def put(self, name: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Write entities."""
        definition = self._definition(name)
        rows = [row_of(from_wire(one), definition) for one in points]
        with _errors(f"collection {name}"):
            self._client.insert(name, rows)

    def forget(self, name: str, ids: Sequence[str]) -> None:
        """Delete entities."""
        definition = self._definition(name)
        with self._loaded(name):
            self._client.delete(name, ids=[own_id(one, definition) for one in ids])
            self._client.flush(name)

    def settle(self, name: str) -> None:
        """Write everything to disk, and have it loaded."""
        with _errors(f"collection {name}"):
            self._client.flush(name)
            self._client.load_collection(name)

    def drop(self, name: str) -> None:
        """Remove a collection with its aliases."""
        self._known.pop(name, None)
        with _errors(f"collection {name}"):
            if not self._client.has_collection(name):
                return
            for alias in self._client.list_aliases(name)["aliases"]:
                self._client.drop_alias(alias)
            self._client.drop_collection(name)

    def observe(self) -> Observation:
        """Read every vector, and tell what is wrong with them."""
        findings: list[Finding] = []
        for name in self.collections():
            tallies: dict[str, VectorTally] = {}
            self.begin(name)
            while points := self._points():
                for point in points:
                    for own, vector in point.vectors.items():
                        tallies.setdefault(own, VectorTally(1)).add(point.id, vector)
            for own, tally in sorted(tallies.items()):
                findings.extend(tally.findings(f"{name}.{own}"))
        return Observation(findings=tuple(findings))

    @contextmanager
    def _loaded(self, name: str) -> Iterator[None]:
        """Translate errors; a collection that is not loaded is loaded by its owner only."""
        try:
            with _errors(f"collection {name}"):
                yield
        except IntegrityError as error:
            if any(words in error.cause for words in _NOT_LOADED):
                raise UnavailableError(
                    f"collection {name}",
                    "it is not there, or not loaded, so it cannot be read",
                    "load it, then back up again",
                ) from error
            raise


def _index(stated: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: one for key, one in stated.items() if key not in _CHANGING and one is not None}
    known = {"index_type": kept.pop("index_type", ""), "metric_type": kept.pop("metric_type", "")}
    params = kept.pop("params", None) or {}
    return {**known, "params": {**(params if isinstance(params, Mapping) else {}), **kept}}


def _field(stated: Mapping[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": str(stated["name"]),
        "type": stated["type"].name,
        "params": {key: one for key, one in (stated.get("params") or {}).items()},
    }
    for key in ("is_primary", "nullable", "is_partition_key"):
        if stated.get(key):
            field[key] = True
    element = stated.get("element_type")
    if element is not None and getattr(element, "name", "NONE") not in ("NONE", "UNKNOWN"):
        field["element_type"] = element.name
    return field


def _key_in(hit: Mapping[str, Any], key: str) -> object:
    for name in (key, "id"):
        with suppress(KeyError):
            return hit[name]
    return hit["entity"][key]


@contextmanager
def _errors(thing: str) -> Iterator[None]:
    import grpc
    from pymilvus import MilvusException

    try:
        with engine_errors(thing, MilvusException):
            yield
    except grpc.RpcError as error:
        raise UnavailableError(thing, f"it cannot be reached: {one_line(error)}") from error


QUESTIONS = {
    name: getattr(OpenMilvus, name)
    for name in (
        "version",
        "collections",
        "count",
        "begin",
        "rows",
        "some",
        "nearest",
        "create",
        "put",
        "forget",
        "settle",
        "drop",
    )
}

if __name__ == "__main__":
    serve(open_client, QUESTIONS)
