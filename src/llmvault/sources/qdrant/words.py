"""Qdrant's collections and points in the words of a records capture. Pure.

``Settings`` are what a collection is made with, as the body of Qdrant's ``PUT /collections/NAME``
has it, with vectors always by name (empty for the only, nameless one) and, beside it,
``payload_schema``: field -> data type or parameters of its payload index.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmvault.core.errors import UnprovenError
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import to_json

Settings = Mapping[str, Any]

ORIGINAL_ID = "llmvault_id"
"""Key of the payload that holds the id of a point whose id Qdrant cannot have."""

DOCUMENT = "document"
"""Key of the payload that holds a foreign point's text; with a prefix where it is taken."""

_IDS = uuid.UUID("5f1c9a52-5d0b-5c86-9f0e-6f1f6f2ad6b1")
_DISTANCES = {"Cosine": "cosine", "Euclid": "l2", "Dot": "ip", "Manhattan": "l1"}
_OWN_DISTANCES = {plain: own for own, plain in _DISTANCES.items()}
_LARGEST = 2**64
_UNIT = 1e-6  # Qdrant leaves a vector alone whose squared length is this near to 1
_PASSING = frozenset({"uuid", "created_at", "strict_mode_config", "metadata"})


def settings_from_config(config: Mapping[str, Any], payload_schema: Mapping[str, Any]) -> Settings:
    """Return the settings of a collection from what a server, or a snapshot's file, states.

    Args:
        config: with ``params``, ``hnsw_config``, ``optimizer_config``, ``wal_config`` ….
        payload_schema: as the server states it; counts in it are left out.
    """
    params = dict(config.get("params") or {})
    vectors = params.pop("vectors", None) or {}
    if "size" in vectors:
        vectors = {"": vectors}
    settings: dict[str, Any] = {
        **{key: one for key, one in params.items() if key not in _PASSING},
        "vectors": vectors,
        "sparse_vectors": params.get("sparse_vectors"),
        "hnsw_config": config.get("hnsw_config"),
        "optimizers_config": config.get("optimizer_config") or config.get("optimizers_config"),
        "wal_config": config.get("wal_config"),
        "quantization_config": config.get("quantization_config"),
        "payload_schema": {key: _index(one) for key, one in payload_schema.items()},
    }
    return {key: one for key, one in without_nulls(settings).items() if one not in ({}, None)}


def _index(stated: object) -> object:
    """Return the definition of a payload index: its parameters where it has any, else its type."""
    if isinstance(stated, Mapping) and "data_type" in stated:
        return without_nulls(stated.get("params")) or stated["data_type"]
    return without_nulls(stated)


def without_nulls(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Return JSON values without the keys whose value is null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(one) for one in value]
    return value


def creation_body(settings: Settings) -> dict[str, Any]:
    """Return the body of ``PUT /collections/NAME``."""
    body = {key: one for key, one in settings.items() if key != "payload_schema"}
    vectors = dict(settings.get("vectors") or {})
    body["vectors"] = vectors[""] if list(vectors) == [""] else vectors
    return body


def record_set(name: str, settings: Settings, id_type: str, aliases: Sequence[str]) -> RecordSet:
    """Return a collection's definition in the words of a records capture."""
    return RecordSet(
        name=name,
        kind="qdrant",
        id_type=id_type,
        vectors=tuple(
            _field(own, params, settings) for own, params in sorted(_dense(settings).items())
        ),
        native={"settings": dict(settings), "aliases": sorted(aliases)},
    )


def _dense(settings: Settings) -> dict[str, Mapping[str, Any]]:
    vectors = settings.get("vectors") or {}
    return {name: one for name, one in vectors.items() if not one.get("multivector_config")}


def _field(name: str, params: Mapping[str, Any], settings: Settings) -> VectorField:
    index = {**(settings.get("hnsw_config") or {}), **(params.get("hnsw_config") or {})}
    words: dict[str, Any] = {"kind": "flat" if index.get("m") == 0 else "hnsw"}
    if index.get("m"):
        words["m"] = index["m"]
    if "ef_construct" in index:
        words["ef_construction"] = index["ef_construct"]
    distance = _DISTANCES.get(str(params["distance"]), str(params["distance"]).lower())
    return VectorField(name, int(params["size"]), distance, words)


def settings_for(wanted: RecordSet) -> Settings:
    """Return the settings of a collection that can hold another store's points.

    Raises:
        UnprovenError: when Qdrant cannot hold them.
    """
    if wanted.kind == "qdrant":
        return dict(wanted.native["settings"])
    vectors: dict[str, Any] = {}
    for field in wanted.vectors:
        if field.dimension is None:
            cause = f"its vector {field.name} has no fixed dimension, and Qdrant demands one"
            raise UnprovenError(f"collection {wanted.name}", cause.replace("  ", " "))
        if field.distance not in _OWN_DISTANCES:
            cause = f"Qdrant has no distance {field.distance}"
            raise UnprovenError(f"collection {wanted.name}", cause)
        params: dict[str, Any] = {
            "size": field.dimension,
            "distance": _OWN_DISTANCES[field.distance],
        }
        if field.index.get("kind") == "hnsw" and "m" in field.index:
            ef = field.index.get("ef_construction", 100)
            params["hnsw_config"] = {"m": field.index["m"], "ef_construct": ef}
        elif field.index.get("kind") == "flat":
            params["hnsw_config"] = {"m": 0, "ef_construct": 100}
        vectors["" if len(wanted.vectors) == 1 else field.name] = params
    return {"vectors": vectors}


def foreign_form(point: Point, settings: Settings) -> Point:
    """Return how a point of another kind of store reads once it is in a collection.

    The text goes into the payload; values that JSON lacks become marked objects; vectors compared
    by their cosine are kept as directions, for Qdrant keeps no lengths of them.
    """
    payload = {key: to_json(one) for key, one in point.payload.items()}
    if point.document is not None:
        payload[_free_key(payload)] = to_json(point.document)
    vectors = settings.get("vectors") or {}
    nameless = list(vectors) == [""]
    kept = {}
    for name, vector in point.vectors.items():
        own = "" if nameless else name
        by_angle = (vectors.get(own) or {}).get("distance") == "Cosine"
        kept[own] = direction(vector) if by_angle else vector
    return Point(id=point.id, vectors=kept, payload=payload)


def _free_key(payload: Mapping[str, Any]) -> str:
    key = DOCUMENT
    while key in payload:
        key = f"llmvault_{key}"
    return key


def direction(vector: bytes) -> bytes:
    """Return a float32 vector of length 1; one that has no length, or has that, as it is."""
    values = struct.unpack(f"<{len(vector) // 4}f", vector)
    squared = math.fsum(value * value for value in values)
    if not math.isfinite(squared) or squared == 0 or abs(squared - 1) <= _UNIT:
        return vector
    length = math.sqrt(squared)
    return struct.pack(f"<{len(values)}f", *(value / length for value in values))


def own_id(text: str) -> int | str:
    """Return the id that a point has in Qdrant: an unsigned integer, or a UUID.

    Any other id gives a UUID that is always the same.
    """
    if text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < _LARGEST:
        return int(text)
    try:
        if str(uuid.UUID(text)) == text:
            return text
    except ValueError:
        pass
    return str(uuid.uuid5(_IDS, text))


def stored(point: Point) -> Point:
    """Return a point with its id in the payload where Qdrant cannot have it as its id."""
    if str(own_id(point.id)) == point.id:
        return point
    return replace(point, payload={**point.payload, ORIGINAL_ID: point.id})


def shown(point: Point) -> Point:
    """Return a point under the id that it was given."""
    original = point.payload.get(ORIGINAL_ID)
    if not isinstance(original, str) or str(own_id(original)) != point.id:
        return point
    payload = {key: one for key, one in point.payload.items() if key != ORIGINAL_ID}
    return replace(point, id=original, payload=payload)


def pack(values: Sequence[float | None]) -> bytes:
    """Return a vector as float32, little endian; JSON's null stands for NaN."""
    numbers = (math.nan if one is None else one for one in values)
    return struct.pack(f"<{len(values)}f", *numbers)


def unpack(vector: bytes) -> list[float]:
    """Return the values of a float32 vector."""
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def point_from_json(stated: Mapping[str, Any]) -> Point:
    """Return a point as Qdrant's API states it, vectors included."""
    given = stated.get("vector")
    named = given if isinstance(given, Mapping) else {"": given} if given is not None else {}
    vectors, native = {}, {}
    for name, one in named.items():
        if isinstance(one, Mapping) or (one and isinstance(one[0], list)):
            native[name] = one
        else:
            vectors[name] = pack(one)
    return Point(
        id=str(stated["id"]),
        vectors=vectors,
        payload=stated.get("payload") or {},
        native={"vectors": native} if native else {},
    )


def point_as_json(point: Point) -> dict[str, Any]:
    """Return a point as Qdrant's API takes it."""
    named: dict[str, Any] = {name: unpack(one) for name, one in point.vectors.items()}
    named.update(point.native.get("vectors") or {})
    vector = named[""] if list(named) == [""] else named
    return {"id": own_id(point.id), "vector": vector, "payload": dict(point.payload)}
