"""A running Weaviate over its REST and GraphQL interfaces (an ``OpenStore``).

After https://docs.weaviate.io/weaviate/api/rest (backups, schema, objects) and
https://docs.weaviate.io/weaviate/api/graphql.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llmvault.core.canonical import canonical_bytes
from llmvault.core.clock import Clock
from llmvault.core.errors import IntegrityError, UnavailableError, UnprovenError
from llmvault.sources.interface import CollectionFacts
from llmvault.sources.stores.http import AbsentError, StoreApi
from llmvault.sources.stores.samples import float32_bytes, floats, record_digest

_BACKEND = "/v1/backups/filesystem"
_POLL_SECONDS = 0.5
_DONE = "SUCCESS"
_ENDED = (_DONE, "FAILED", "CANCELED", "CANCELLED")


class Weaviate:
    """One node of a running Weaviate."""

    def __init__(
        self, api: StoreApi, clock: Clock, *, collections: Sequence[str], sample: int, limit: float
    ) -> None:
        self._api = api
        self._clock = clock
        self._wanted = collections
        self._sample = sample
        self._limit = limit

    def version(self) -> str:
        """Return the version that it states.

        Raises:
            UnavailableError: when it is no Weaviate.
        """
        stated = self._api.ask("GET", "/v1/meta")
        if not isinstance(stated, Mapping) or "version" not in stated:
            raise UnavailableError(
                self._api.thing, "it does not answer as Weaviate does", "correct the url"
            )
        return str(stated["version"])

    def nodes(self) -> tuple[str, ...]:
        """Return the names of the cluster's nodes."""
        stated = self._api.ask("GET", "/v1/nodes")
        return tuple(sorted(str(node["name"]) for node in stated["nodes"]))

    def schema(self) -> dict[str, Mapping[str, Any]]:
        """Return name -> definition of every collection that is meant."""
        stated = self._api.ask("GET", "/v1/schema")
        found = {str(one["class"]): one for one in stated.get("classes") or ()}
        return {
            name: found[name] for name in sorted(found) if not self._wanted or name in self._wanted
        }

    def describe(self) -> tuple[CollectionFacts, ...]:
        """Return every collection with its count, settings and samples.

        Of a collection with tenants neither count nor samples are known: both are per tenant.
        """
        return tuple(self._facts(name, one) for name, one in self.schema().items())

    def _facts(self, name: str, definition: Mapping[str, Any]) -> CollectionFacts:
        settings = {"definition": canonical_bytes(definition).decode()}
        if has_tenants(definition):
            return CollectionFacts(name=name, count=0, settings=settings)
        digests, vectors = {}, {}
        for one in self._objects(name):
            kept = _vectors(one)
            digests[one["id"]] = record_digest(one.get("properties"), kept)
            if kept:
                vectors[one["id"]] = floats(kept[min(kept)])
        dimensions = {len(vector) for vector in vectors.values()}
        return CollectionFacts(
            name=name,
            count=self._count(name),
            dimension=dimensions.pop() if len(dimensions) == 1 else None,
            sample_digests=digests,
            sample_vectors=vectors,
            settings=settings,
        )

    def _objects(self, name: str) -> list[dict[str, Any]]:
        """Return the first objects in the order of their ids."""
        query: dict[str, str | int] = {
            "class": name,
            "include": "vector",
            "limit": self._sample,
            "after": "",
        }
        stated = self._api.ask("GET", "/v1/objects", query=query)
        return [dict(one) for one in stated.get("objects") or ()]

    def _count(self, name: str) -> int:
        answer = self._graphql(f"{{ Aggregate {{ {name} {{ meta {{ count }} }} }} }}")
        return int(answer["Aggregate"][name][0]["meta"]["count"])

    def search(self, collection: str, vector: tuple[float, ...], k: int) -> tuple[str, ...]:
        """Return the ids of the k nearest objects, nearest first, as its index finds them.

        Raises:
            UnprovenError: when the collection is not there, or has tenants.
        """
        definition = self.schema().get(collection)
        if definition is None or has_tenants(definition):
            raise UnprovenError(f"collection {collection}", "it is not there, or has tenants")
        named = sorted(definition.get("vectorConfig") or ())
        target = f", targetVectors: [{json.dumps(named[0])}]" if named else ""
        near = f"nearVector: {{vector: {json.dumps(list(vector))}{target}}}, limit: {k}"
        query = f"{{ Get {{ {collection}({near}) {{ _additional {{ id }} }} }} }}"
        found = self._graphql(query)["Get"][collection]
        return tuple(str(one["_additional"]["id"]) for one in found)

    def _graphql(self, query: str) -> Any:  # noqa: ANN401  as the question demands
        answer = self._api.ask("POST", "/v1/graphql", {"query": query})
        if answer.get("errors"):
            said = str(answer["errors"][0].get("message", ""))[:300]
            raise UnavailableError(self._api.thing, f"it says: {said}", "look at its log")
        return answer["data"]

    def back_up(self, name: str, collections: Sequence[str]) -> Mapping[str, Any]:
        """Make a backup in its directory, wait for it, and return what the server says of it.

        Raises:
            IntegrityError: when it failed.
            UnavailableError: when it does not end in time, or the module is not enabled.
        """
        self._api.ask("POST", _BACKEND, {"id": name, "include": list(collections)})
        return self._wait(f"{_BACKEND}/{name}", f"backup {name}")

    def restore(self, name: str, collections: Sequence[str], nodes: Mapping[str, str]) -> None:
        """Restore collections out of a backup in its directory, and wait for it.

        Args:
            nodes: node that was backed up -> node here, where names differ.

        Raises:
            IntegrityError: when it failed.
            UnavailableError: when it does not end in time.
        """
        body: dict[str, Any] = {"include": list(collections)}
        if nodes:
            body["node_mapping"] = dict(nodes)
        path = f"{_BACKEND}/{quote(name, safe='')}/restore"
        self._api.ask("POST", path, body)
        self._wait(path, f"restore of backup {name}")

    def _wait(self, path: str, thing: str) -> Mapping[str, Any]:
        deadline = self._clock.monotonic() + self._limit
        while True:
            stated: Mapping[str, Any] = self._api.ask("GET", path)
            if stated["status"] in _ENDED:
                break
            if self._clock.monotonic() > deadline:
                raise UnavailableError(
                    thing, "it does not end in time", "raise the source's timeout"
                )
            self._clock.sleep(_POLL_SECONDS)
        if stated["status"] != _DONE:
            said = str(stated.get("error") or "no reason")[:300]
            raise IntegrityError(
                thing, f"the server says {stated['status']}: {said}", "look at its log"
            )
        return stated

    def drop(self, collections: Sequence[str]) -> None:
        """Delete collections; those that are gone already are no fault."""
        for name in collections:
            try:
                self._api.ask("DELETE", f"/v1/schema/{quote(name, safe='')}")
            except AbsentError:
                continue


def has_tenants(definition: Mapping[str, Any]) -> bool:
    """Whether a collection keeps its objects per tenant."""
    return bool((definition.get("multiTenancyConfig") or {}).get("enabled"))


def _vectors(stored: Mapping[str, Any]) -> dict[str, bytes]:
    named = dict(stored.get("vectors") or {})
    if stored.get("vector"):
        named[""] = stored["vector"]
    flat = {name: one for name, one in named.items() if one and not isinstance(one[0], list)}
    return {name: float32_bytes(one) for name, one in flat.items()}
