"""Milvus's collections and entities in the words of a records capture. Pure.

A ``Definition`` holds ``fields`` (name, type, parameters, primary key), ``enable_dynamic_field``,
``indexes`` (field -> type, metric, parameters) and ``description``.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from llmvault.core.errors import IntegrityError, UnprovenError
from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import from_json, to_json

Definition = Mapping[str, Any]

KEY = "id"
VECTOR = "vector"
DOCUMENT = "document"
LONGEST_KEY = 65_535
_DENSE = "FLOAT_VECTOR"
_DISTANCES = {"COSINE": "cosine", "L2": "l2", "IP": "ip"}
_METRICS = {plain: own for own, plain in _DISTANCES.items()}
_KINDS = {"HNSW": "hnsw", "IVF_FLAT": "ivfflat", "FLAT": "flat"}
_INDEXES = {"hnsw": "HNSW", "ivfflat": "IVF_FLAT", "flat": "FLAT"}
_PARAMETERS = {"M": "m", "efConstruction": "ef_construction", "nlist": "lists"}


def key_field(definition: Definition) -> Mapping[str, Any]:
    """Return the primary key's field."""
    found: Mapping[str, Any] = next(one for one in definition["fields"] if one.get("is_primary"))
    return found


def has_integer_keys(definition: Definition) -> bool:
    """Whether ids are integers."""
    return str(key_field(definition)["type"]).startswith("INT")


def dense_fields(definition: Definition) -> tuple[str, ...]:
    """Return the names of the fields that hold float32 vectors."""
    return tuple(one["name"] for one in definition["fields"] if one["type"] == _DENSE)


def record_set(name: str, definition: Definition, aliases: Sequence[str]) -> RecordSet:
    """Return a collection's definition in the words of a records capture."""
    return RecordSet(
        name=name,
        kind="milvus",
        id_type="integer" if has_integer_keys(definition) else "text",
        vectors=tuple(
            _field(one, definition.get("indexes", {}).get(one["name"], {}))
            for one in definition["fields"]
            if one["type"] == _DENSE
        ),
        native={"definition": dict(definition), "aliases": sorted(aliases)},
    )


def _field(stated: Mapping[str, Any], index: Mapping[str, Any]) -> VectorField:
    words: dict[str, Any] = {}
    if index:
        own = str(index.get("index_type", ""))
        words["kind"] = _KINDS.get(own, own.lower())
        parameters = index.get("params") or {}
        words.update(
            {plain: int(parameters[one]) for one, plain in _PARAMETERS.items() if one in parameters}
        )
    metric = str(index.get("metric_type") or "COSINE")
    distance = _DISTANCES.get(metric, metric.lower())
    return VectorField(str(stated["name"]), int(stated["params"]["dim"]), distance, words)


def definition_for(wanted: RecordSet) -> Definition:
    """Return the definition of a collection that can hold another store's points.

    Raises:
        UnprovenError: when Milvus cannot hold them.
    """
    if wanted.kind == "milvus":
        return dict(wanted.native["definition"])
    if not wanted.vectors:
        raise UnprovenError(
            f"collection {wanted.name}", "its records have no vector, and Milvus demands one"
        )
    integer = wanted.id_type == "integer"
    key: dict[str, Any] = {"name": KEY, "is_primary": True, "params": {}}
    key |= {"type": "INT64"} if integer else {"type": "VARCHAR"}
    if not integer:
        key["params"] = {"max_length": LONGEST_KEY}
    fields, indexes = [key], {}
    for field in wanted.vectors:
        if field.dimension is None or field.distance not in _METRICS:
            cause = f"Milvus has no vector of dimension {field.dimension} and distance "
            raise UnprovenError(f"collection {wanted.name}", cause + field.distance)
        name = vector_name(wanted, field.name)
        fields.append({"name": name, "type": _DENSE, "params": {"dim": field.dimension}})
        indexes[name] = {
            "index_type": _INDEXES.get(str(field.index.get("kind")), "FLAT"),
            "metric_type": _METRICS[field.distance],
            "params": {
                own: field.index[plain]
                for own, plain in _PARAMETERS.items()
                if plain in field.index
            },
        }
    return {"fields": fields, "enable_dynamic_field": True, "indexes": indexes}


def vector_name(wanted: RecordSet, name: str) -> str:
    """Return the name of a field for a vector of another kind of store."""
    plain = "".join(one if one.isascii() and one.isalnum() else "_" for one in name)
    if not plain:
        return VECTOR
    return plain if plain != KEY and not plain[0].isdigit() else f"v_{plain}"


def foreign_form(point: Point, wanted: RecordSet) -> Point:
    """Return how a point of another kind of store reads once it is in a collection.

    Raises:
        IntegrityError: when it lacks a vector.
    """
    vectors = {vector_name(wanted, name): one for name, one in point.vectors.items()}
    taken = {KEY, *vectors}
    payload: dict[str, Any] = {}
    for key, one in point.payload.items():
        payload[free_key(key, {*taken, *payload})] = to_json(one)
    if point.document is not None:
        payload[free_key(DOCUMENT, {*taken, *payload})] = to_json(point.document)
    return Point(id=point.id, vectors=vectors, payload=payload)


def free_key(key: str, taken: set[str]) -> str:
    """Return a key that is not taken yet."""
    while key in taken or not key:
        key = f"llmvault_{key}"
    return key


def point_of(row: Mapping[str, Any], definition: Definition) -> Point:
    """Return an entity as a point."""
    own = str(key_field(definition)["name"])
    vectors: dict[str, bytes] = {}
    native: dict[str, Any] = {}
    payload: dict[str, Any] = {}
    kinds = {one["name"]: str(one["type"]) for one in definition["fields"]}
    for name, value in row.items():
        kind = kinds.get(name, "")
        if name == own:
            continue
        if kind == _DENSE:
            if value is not None:
                vectors[name] = struct.pack(f"<{len(value)}f", *value)
        elif kind.endswith("_VECTOR"):
            native[name] = _odd_vector(value)
        else:
            payload[name] = value
    return Point(
        id=str(row[own]),
        vectors=vectors,
        payload=payload,
        native={"vectors": native} if native else {},
    )


def _odd_vector(value: Any) -> object:  # noqa: ANN401  as the client gives it
    if isinstance(value, Mapping):
        return {"sparse": [[int(key), float(one)] for key, one in sorted(value.items())]}
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], bytes):
        value = value[0]
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    return {"values": [float(one) for one in value]}


def row_of(point: Point, definition: Definition) -> dict[str, Any]:
    """Return a point as an entity.

    Raises:
        IntegrityError: when it lacks a vector, or its id is not of the collection's type.
    """
    for name in dense_fields(definition):
        if name not in point.vectors:
            cause = f"it has no vector {name}, and Milvus keeps none without"
            raise IntegrityError(f"record {point.id!r}", cause)
    row = dict(point.payload)
    for name, vector in point.vectors.items():
        row[name] = list(struct.unpack(f"<{len(vector) // 4}f", vector))
    for name, stated in (point.native.get("vectors") or {}).items():
        row[name] = _given(stated)
    row[str(key_field(definition)["name"])] = own_id(point.id, definition)
    return row


def _given(stated: Mapping[str, Any]) -> object:
    if "sparse" in stated:
        return {int(key): float(one) for key, one in stated["sparse"]}
    if "bytes" in stated:
        return base64.b64decode(stated["bytes"])
    return stated["values"]


def own_id(text: str, definition: Definition) -> int | str:
    """Return an id as the collection has it.

    Raises:
        IntegrityError: when it is not of the collection's type.
    """
    if not has_integer_keys(definition):
        return text
    try:
        return int(text)
    except ValueError as error:
        raise IntegrityError(f"record {text!r}", "its id is no integer") from error


def to_wire(point: Point) -> dict[str, Any]:
    """Return a point as JSON values, for the way to and from the process of the client."""
    vectors = {name: base64.b64encode(one).decode("ascii") for name, one in point.vectors.items()}
    return {
        "id": point.id,
        "vectors": vectors,
        "payload": to_json(point.payload),
        "native": to_json(point.native),
    }


def from_wire(plain: Mapping[str, Any]) -> Point:
    """Return the point that :func:`to_wire` was given."""
    return Point(
        id=plain["id"],
        vectors={name: base64.b64decode(one) for name, one in plain["vectors"].items()},
        payload=from_json(plain["payload"]),
        native=from_json(plain["native"]),
    )


def searched_field(name: str, definition: Definition, collection: str) -> str | None:
    """Return the vector that ``collection`` or ``collection.vector`` speaks of, or None."""
    wanted = collection.removeprefix(name).removeprefix(".")
    fields = dense_fields(definition)
    if not wanted:
        return fields[0] if fields else None
    return wanted if wanted in fields else None


def nearest_first(found: Sequence[tuple[str, float]], metric: str) -> list[str]:
    """Return ids by distance, equal ones by id."""
    sign = 1 if metric == "L2" else -1
    return [one for one, _ in sorted(found, key=lambda pair: (sign * pair[1], pair[0]))]
