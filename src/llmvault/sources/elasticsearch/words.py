"""What Elasticsearch and OpenSearch say, and what they are asked, where the two differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.sources.stores.http import numbers_of

ELASTICSEARCH = "elasticsearch"
OPENSEARCH = "opensearch"
# Settings that name one index on one cluster rather than say how it works.
_OWN = frozenset(
    (
        *("uuid", "creation_date", "creation_date_string", "provided_name", "version", "routing"),
        *("resize", "history_uuid", "number_of_replicas", "auto_expand_replicas", "blocks"),
        *("replication", "shard_limit_group"),
    )
)
_SIMILARITIES = {
    "cosine": "cosineSimilarity(params.v, '{field}') + 1.0",
    "dot_product": "dotProduct(params.v, '{field}') + 1.0",
    "max_inner_product": "Math.max(dotProduct(params.v, '{field}') + 1e6, 0)",
    "l2_norm": "1 / (1 + l2norm(params.v, '{field}'))",
}


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself.

    Attributes:
        kind: :data:`ELASTICSEARCH` or :data:`OPENSEARCH`.
        cluster: uuid of its cluster.
    """

    kind: str
    version: str
    cluster: str


@dataclass(frozen=True, slots=True)
class VectorMapping:
    """A field with vectors.

    Attributes:
        similarity: the ``similarity`` of Elasticsearch, the ``space_type`` of OpenSearch.
    """

    field: str
    dimension: int | None
    similarity: str


def server_of(answer: Mapping[str, Any]) -> Server | None:
    """Return what ``GET /`` says; None when it is neither."""
    version = answer.get("version")
    if not isinstance(version, Mapping) or not answer.get("cluster_uuid"):
        return None
    kind = OPENSEARCH if version.get("distribution") == OPENSEARCH else ELASTICSEARCH
    return Server(kind, str(version.get("number", "")), str(answer["cluster_uuid"]))


def can_restore(kind: str, taken: str, target: Server) -> str:
    """Return why a server cannot restore a snapshot of a version; empty when it can.

    A snapshot is restored by the same version or a newer one of the same or the next major.
    """
    if kind != target.kind:
        return f"the snapshot is of {kind}, the target is {target.kind}"
    old, new = numbers_of(taken), numbers_of(target.version)
    if old == (0, 0) or new == (0, 0):
        return ""  # then the server itself decides
    if new < old:
        return f"its version {target.version} is older than that of the snapshot, {taken}"
    if new[0] > old[0] + 1:
        return f"its version {target.version} is more than one major above {taken}"
    return ""


def vector_mapping(mappings: Mapping[str, Any]) -> VectorMapping | None:
    """Return the first field of vectors, by name."""
    return min(_vectors("", mappings), key=lambda one: one.field, default=None)


def _vectors(prefix: str, mappings: Mapping[str, Any]) -> Iterator[VectorMapping]:
    for name, field in (mappings.get("properties") or {}).items():
        path = f"{prefix}{name}"
        kind = field.get("type")
        if kind == "dense_vector":
            yield VectorMapping(path, field.get("dims"), field.get("similarity", "cosine"))
        elif kind == "knn_vector":
            method = field.get("method") or {}
            space = method.get("space_type") or field.get("space_type") or "l2"
            yield VectorMapping(path, field.get("dimension"), space)
        else:
            yield from _vectors(f"{path}.", field)


def settings_of(index: Mapping[str, Any]) -> dict[str, str]:
    """Return how an index works, as texts: mappings, settings, aliases."""
    settings = (index.get("settings") or {}).get("index") or {}
    kept = {name: value for name, value in settings.items() if name not in _OWN}
    return {
        "aliases": canonical_bytes(index.get("aliases") or {}).decode(),
        "mappings": canonical_bytes(index.get("mappings") or {}).decode(),
        "settings": canonical_bytes(kept).decode(),
    }


def sample_query(server: Server, count: int) -> dict[str, Any]:
    """Return the search for the documents that were written first: the same after a restore."""
    return {"size": count, "sort": [{"_seq_no": "asc"}], "_source": _source(server)}


def _source(server: Server) -> object:
    # from 9.2 on Elasticsearch leaves vectors out unless asked for them
    hides = server.kind == ELASTICSEARCH and numbers_of(server.version) >= (9, 2)
    return {"exclude_vectors": False} if hides else True


def exact_query(server: Server, field: VectorMapping, vector: Sequence[float], k: int) -> Any:  # noqa: ANN401
    """Return the search for the k nearest documents, each compared."""
    if server.kind == OPENSEARCH:
        script: dict[str, Any] = {
            "source": "knn_score",
            "lang": "knn",
            "params": {
                "field": field.field,
                "query_value": list(vector),
                "space_type": field.similarity,
            },
        }
    else:
        source = _SIMILARITIES.get(field.similarity, _SIMILARITIES["cosine"])
        script = {
            "source": source.replace("{field}", field.field),
            "params": {"v": list(vector)},
        }
    having = {"bool": {"filter": {"exists": {"field": field.field}}}}
    return {
        "size": k,
        "query": {"script_score": {"query": having, "script": script}},
        "_source": False,
    }


def vector_of(source: Mapping[str, Any], field: VectorMapping) -> tuple[float, ...]:
    """Return the vector of a document; empty when it has none."""
    value: Any = source
    if field.field in source:
        value = source[field.field]
    else:
        for name in field.field.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    return tuple(map(float, value)) if isinstance(value, list) else ()
