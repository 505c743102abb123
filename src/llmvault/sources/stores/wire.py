"""Points and collections on their way to and from the process of an engine, as JSON. Pure."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

from llmvault.sources.interface import Point, RecordSet, VectorField
from llmvault.sources.records.rows import from_json, to_json


def point_to_wire(point: Point) -> dict[str, Any]:
    """Return a point as JSON values."""
    return {
        "id": to_json(point.id),
        "vectors": {
            name: base64.b64encode(one).decode("ascii") for name, one in point.vectors.items()
        },
        "payload": to_json(point.payload),
        "document": to_json(point.document),
        "native": to_json(point.native),
    }


def point_from_wire(plain: Mapping[str, Any]) -> Point:
    """Return the point that :func:`point_to_wire` was given."""
    return Point(
        id=from_json(plain["id"]),
        vectors={name: base64.b64decode(one) for name, one in plain["vectors"].items()},
        payload=from_json(plain["payload"]),
        document=from_json(plain["document"]),
        native=from_json(plain["native"]),
    )


def set_to_wire(records: RecordSet) -> dict[str, Any]:
    """Return a collection as JSON values."""
    return dataclasses.asdict(records)


def set_from_wire(plain: Mapping[str, Any]) -> RecordSet:
    """Return the collection that :func:`set_to_wire` was given."""
    vectors = tuple(VectorField(**one) for one in plain["vectors"])
    return RecordSet(**{**plain, "vectors": vectors})
