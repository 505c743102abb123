"""A running Elasticsearch or OpenSearch, over its REST interface (an ``OpenStore``).

After https://www.elastic.co/docs/api/doc/elasticsearch (snapshot, search, indices) and
https://docs.opensearch.org/latest/api-reference/snapshots/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError, UnprovenError
from llmvault.sources.elasticsearch.words import (
    Server,
    VectorMapping,
    exact_query,
    sample_query,
    server_of,
    settings_of,
    vector_mapping,
    vector_of,
)
from llmvault.sources.interface import CollectionFacts
from llmvault.sources.stores.http import AbsentError, StoreApi
from llmvault.sources.stores.samples import float32_bytes, floats, is_finite, record_digest

_POLL_SECONDS = 0.5
_DONE = "SUCCESS"
_GOING_ON = ("IN_PROGRESS", "STARTED")


class Cluster:
    """One server of a cluster."""

    def __init__(
        self, api: StoreApi, clock: Clock, *, indices: Sequence[str], sample: int, limit: float
    ) -> None:
        self._api = api
        self._clock = clock
        self._indices = indices
        self._sample = sample
        self._limit = limit

    def server(self) -> Server:
        """Return what it says of itself.

        Raises:
            UnavailableError: when it is neither Elasticsearch nor OpenSearch.
        """
        found = server_of(self._api.ask("GET", "/"))
        if found is None:
            cause = "it answers as neither Elasticsearch nor OpenSearch does"
            raise UnavailableError(self._api.thing, cause, "correct the url")
        return found

    def indices(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Return aliases, mappings and settings of every open index that is meant."""
        listed = ",".join(quote(name, safe="*-") for name in names or self._indices)
        try:
            found = self._api.ask("GET", f"/{listed}", query={"expand_wildcards": "open"})
        except AbsentError:
            return {}
        return {name: found[name] for name in sorted(found) if not name.startswith(".")}

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every index with its count, settings and samples."""
        server = self.server()
        return tuple(self._facts(server, name, one) for name, one in self.indices().items())

    def _facts(self, server: Server, name: str, index: Mapping[str, Any]) -> CollectionFacts:
        path = f"/{quote(name, safe='')}"
        counted = self._api.ask("GET", f"{path}/_count")
        if counted.get("_shards", {}).get("failed"):
            raise UnavailableError(self._api.thing, f"shards of {name} do not answer")
        vectors = vector_mapping(index.get("mappings") or {})
        found = self._api.ask("POST", f"{path}/_search", sample_query(server, self._sample))
        digests, kept = {}, {}
        for hit in found["hits"]["hits"]:
            digests[str(hit["_id"])] = record_digest(hit.get("_source"))
            vector = self._vector(hit.get("_source") or {}, vectors)
            if vector:
                kept[str(hit["_id"])] = floats(vector)
        return CollectionFacts(
            name=name,
            count=int(counted["count"]),
            dimension=vectors.dimension if vectors else None,
            sample_digests=digests,
            sample_vectors=kept,
            settings=settings_of(index),
        )

    @staticmethod
    def _vector(source: Mapping[str, Any], vectors: VectorMapping | None) -> bytes:
        data = float32_bytes(vector_of(source, vectors)) if vectors else b""
        return data if is_finite(data) else b""

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest documents, nearest first, each of them compared.

        Raises:
            UnprovenError: when the index has no vectors.
        """
        index = self.indices([collection]).get(collection, {})
        vectors = vector_mapping(index.get("mappings") or {})
        if vectors is None:
            raise UnprovenError(
                f"index {collection}", "it is not there, or has no field of vectors"
            )
        query = exact_query(self.server(), vectors, vector, k)
        found = self._api.ask("POST", f"/{quote(collection, safe='')}/_search", query)
        return tuple(str(hit["_id"]) for hit in found["hits"]["hits"])

    def refresh(self) -> None:
        """Have everything that was written show up in searches, as it will in a snapshot."""
        for name in self.indices():
            self._api.ask("POST", f"/{quote(name, safe='')}/_refresh")

    def repository(self, name: str) -> Mapping[str, Any] | None:
        """Return type and settings of a snapshot repository; None when it is not registered."""
        try:
            found = self._api.ask("GET", f"/_snapshot/{quote(name, safe='')}")
        except AbsentError:
            return None
        stated = found.get(name)
        return stated if isinstance(stated, Mapping) else None

    def register(self, name: str, location: str, *, read_only: bool) -> None:
        """Register a repository of files, and have every node look at it."""
        path = f"/_snapshot/{quote(name, safe='')}"
        settings = {"location": location, **({"readonly": True} if read_only else {})}
        self._api.ask("PUT", path, {"type": "fs", "settings": settings})
        if not read_only:
            self._api.ask("POST", f"{path}/_verify")

    def unregister(self, name: str) -> None:
        """Forget a repository; its files stay."""
        self._api.ask("DELETE", f"/_snapshot/{quote(name, safe='')}")

    def snapshots(self, repository: str) -> dict[str, str]:
        """Return name -> state of every snapshot in a repository."""
        found = self._api.ask("GET", f"/_snapshot/{quote(repository, safe='')}/_all")
        return {str(one["snapshot"]): str(one["state"]) for one in found["snapshots"]}

    def take(self, repository: str, name: str, indices: Sequence[str]) -> Mapping[str, Any]:
        """Make a snapshot of indices, wait for it, and return what the server says of it.

        Raises:
            IntegrityError: when it failed or lacks shards.
            UnavailableError: when it does not end in time.
        """
        path = f"/_snapshot/{quote(repository, safe='')}/{name}"
        body = {"indices": ",".join(indices), "include_global_state": False, "partial": False}
        self._api.ask("PUT", path, body, query={"wait_for_completion": "false"})
        deadline = self._clock.monotonic() + self._limit
        while True:
            stated: Mapping[str, Any] = self._api.ask("GET", path)["snapshots"][0]
            if stated["state"] not in _GOING_ON:
                break
            if self._clock.monotonic() > deadline:
                raise UnavailableError(
                    f"snapshot {name}", "it does not end in time", "raise the source's timeout"
                )
            self._clock.sleep(_POLL_SECONDS)
        failed = (stated.get("shards") or {}).get("failed") or stated.get("failures")
        if stated["state"] != _DONE or failed:
            raise IntegrityError(
                f"snapshot {name}",
                f"the server says {stated['state']}, with {_failures(stated)}",
                "look at the server's log",
            )
        return stated

    def remove(self, repository: str, name: str) -> None:
        """Delete a snapshot; one that is gone already is no fault."""
        try:
            self._api.ask("DELETE", f"/_snapshot/{quote(repository, safe='')}/{name}", seconds=600)
        except AbsentError:
            return

    def restore(self, repository: str, snapshot: str, indices: Sequence[str]) -> None:
        """Restore indices, and wait until every primary shard is there.

        Raises:
            UnavailableError: when they are not there in time.
        """
        path = f"/_snapshot/{quote(repository, safe='')}/{quote(snapshot, safe='')}/_restore"
        body = {"indices": ",".join(indices), "include_global_state": False, "partial": False}
        self._api.ask("POST", path, body)
        listed = ",".join(quote(name, safe="") for name in indices)
        deadline = self._clock.monotonic() + self._limit
        while not self._is_up(listed):
            if self._clock.monotonic() > deadline:
                raise UnavailableError(
                    self._api.thing, "restored shards do not come up", "look at its log"
                )
            self._clock.sleep(_POLL_SECONDS)

    def _is_up(self, listed: str) -> bool:
        health = self._api.ask("GET", f"/_cluster/health/{listed}")
        return health.get("status") in ("green", "yellow")

    def drop(self, indices: Sequence[str]) -> None:
        """Delete indices; those that are gone already are no fault."""
        for name in indices:
            try:
                self._api.ask("DELETE", f"/{quote(name, safe='')}")
            except AbsentError:
                continue


def _failures(stated: Mapping[str, Any]) -> str:
    failures = stated.get("failures") or []
    reason = f": {failures[0].get('reason', '')}" if failures else ""
    return f"{len(failures)} failures{reason}"[:300]
