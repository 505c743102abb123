"""The files around the segments: what a records capture says of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.core.files import write_durably
from llmvault.sources.interface import RecordSet, VectorField

FORMAT = "llmvault/records/1"
ROOT_FILE = "records.json"
COLLECTION_FILE = "collection.json"
SEGMENT_SUFFIX = ".parquet"
_LONGEST_PART = 200  # bytes; a name in a directory may have 255


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of points.

    Attributes:
        rows: how many are in it.
        superseded: how many of them a later segment replaces.
    """

    file: str
    rows: int
    superseded: int = 0


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection of a capture.

    Attributes:
        subject_field: key of the payload that names the person a point is about; empty for none.
        count: points, each counted once.
        segments: in order: a point in a later one replaces that of the same id in an earlier one.
    """

    records: RecordSet
    subject_field: str
    count: int
    segments: tuple[Segment, ...]


def is_capture(root: Path) -> bool:
    """Whether restored files are a records capture."""
    return (root / ROOT_FILE).is_file()


def directory_of(name: str) -> str:
    """Return a collection's name as one safe path component that no other name gives."""
    encoded = quote(name, safe="") or "%"
    if encoded in (".", ".."):
        return encoded.replace(".", "%2E")
    if len(encoded) <= _LONGEST_PART:
        return encoded
    return encoded[:64] + "~" + hashlib.sha256(name.encode()).hexdigest()


def write_root(root: Path, kind: str, names: tuple[str, ...]) -> None:
    """Write the list of a capture's collections."""
    _replace(root / ROOT_FILE, {"collections": sorted(names), "format": FORMAT, "kind": kind})


def read_root(root: Path) -> tuple[str, ...]:
    """Return the names of a capture's collections.

    Raises:
        IntegrityError: when it is no records capture, or of another version of the format.
    """
    path = root / ROOT_FILE
    value = _json_object(path)
    if value.get("format") != FORMAT:
        raise IntegrityError(
            str(path),
            f"its format is {value.get('format')!r}, not {FORMAT}",
            "restore it again, or use the version of llmvault that wrote it",
        )
    names = value.get("collections")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise IntegrityError(str(path), "it does not list the collections")
    return tuple(names)


def write_collection(directory: Path, collection: Collection) -> None:
    """Write what is said of a collection, in place of what was said before."""
    records = collection.records
    value = {
        "count": collection.count,
        "exact": records.exact,
        "format": FORMAT,
        "id_type": records.id_type,
        "kind": records.kind,
        "name": records.name,
        "native": dict(records.native),
        "segments": [
            {"file": one.file, "rows": one.rows, "superseded": one.superseded}
            for one in collection.segments
        ],
        "subject_field": collection.subject_field,
        "vectors": [
            {
                "column": column_of(one),
                "dimension": one.dimension,
                "distance": one.distance,
                "index": dict(one.index),
                "name": one.name,
            }
            for one in records.vectors
        ],
    }
    _replace(directory / COLLECTION_FILE, value)


def read_collection(directory: Path) -> Collection:
    """Return what is said of a collection.

    Raises:
        IntegrityError: when it is not in the documented form, or a segment is not there.
    """
    path = directory / COLLECTION_FILE
    value = _json_object(path)
    if value.get("format") != FORMAT:
        raise IntegrityError(str(path), f"its format is {value.get('format')!r}, not {FORMAT}")
    try:
        collection = _collection(value)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(str(path), f"it is not in the documented form: {error!r}") from error
    for segment in collection.segments:
        if "/" in segment.file or not (directory / segment.file).is_file():
            raise IntegrityError(str(directory), f"segment {segment.file} is not there")
    return collection


def column_of(field: VectorField) -> str:
    """Return the name of a vector's column in the segments."""
    return f"vector:{field.name}" if field.name else "vector"


def _collection(value: Mapping[str, Any]) -> Collection:
    vectors = tuple(
        VectorField(one["name"], one["dimension"], one["distance"], one["index"])
        for one in value["vectors"]
    )
    return Collection(
        records=RecordSet(
            name=value["name"],
            kind=value["kind"],
            id_type=value["id_type"],
            vectors=vectors,
            exact=value["exact"],
            native=value["native"],
        ),
        subject_field=value["subject_field"],
        count=int(value["count"]),
        segments=tuple(
            Segment(str(one["file"]), int(one["rows"]), int(one["superseded"]))
            for one in value["segments"]
        ),
    )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(str(path), "it is not there", "restore the source again") from error
    except ValueError as error:
        raise IntegrityError(str(path), "it is not JSON", "restore the source again") from error
    if not isinstance(value, dict):
        raise IntegrityError(str(path), "it is not a JSON object")
    return value


def _replace(path: Path, value: Mapping[str, Any]) -> None:
    data = canonical_bytes(value) + b"\n"
    if path.is_file() and path.read_bytes() == data:
        return  # an unchanged file keeps its times, so that it is not read again
    write_durably(path, data)
