"""A point as the row of a segment: text, digests, and payloads as canonical JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmvault.core.canonical import canonical_bytes
from llmvault.core.errors import IntegrityError
from llmvault.sources.interface import Point, RecordSet, VectorField

DIGEST_SIZE = 16
_ABSENT = b"\xff" * 8


@dataclass(frozen=True, slots=True)
class Row:
    """A point, encoded.

    Attributes:
        payload, native: canonical JSON; native is None where there is nothing.
        vectors: float32 little endian, in the order of the collection's fields.
        subject: text of the subject field; None where the point has none.
    """

    id: str
    payload: bytes
    document: str | None
    native: bytes | None
    vectors: tuple[bytes | None, ...]
    subject: str | None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return (
            64
            + len(self.payload)
            + len(self.document or "")
            + len(self.native or b"")
            + sum(len(one or b"") for one in self.vectors)
        )

    def digest(self, *, with_vectors: bool = True) -> bytes:
        """Return the SHA-256 of its parts, each after its length (8 bytes, little endian)."""
        parts: list[bytes | None] = [
            self.id.encode(),
            self.payload,
            None if self.document is None else self.document.encode(),
            self.native,
        ]
        if with_vectors:
            parts.extend(self.vectors)
        pieces: list[bytes] = []
        for part in parts:
            if part is None:
                pieces.append(_ABSENT)
            else:
                pieces += (len(part).to_bytes(8, "little"), part)
        return hashlib.sha256(b"".join(pieces)).digest()


def key_of(identifier: str) -> bytes:
    """Return the 16 bytes by which an id is looked up."""
    return hashlib.sha256(identifier.encode()).digest()[:DIGEST_SIZE]


def encode_point(point: Point, records: RecordSet, subject_field: str) -> Row:
    """Return a point as a row of its collection.

    Raises:
        IntegrityError: when a vector does not have its field's dimension or is in no field, or
            something has no form in the format.
    """
    where = f"{records.name}: record {point.id!r}"
    try:
        point.id.encode()
        payload = canonical_bytes(to_json(point.payload))
        native = canonical_bytes(to_json(point.native)) if point.native else None
        document = point.document
        if document is not None:
            document.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(where, f"its content has no form in a records capture: {error}") from (
            error
        )
    vectors = tuple(point.vectors.get(one.name) for one in records.vectors)
    if strange := point.vectors.keys() - {one.name for one in records.vectors}:
        raise IntegrityError(where, f"its vector {sorted(strange)[0]!r} is not in the collection")
    for one, vector in zip(records.vectors, vectors, strict=True):
        check_dimension(where, one, vector)
    subject = point.payload.get(subject_field) if subject_field else None
    return Row(point.id, payload, document, native, vectors, _as_text(subject))


def check_dimension(where: str, field: VectorField, vector: bytes | None) -> None:
    """Raise unless a vector has as many values as its field says.

    Raises:
        IntegrityError: when it has not.
    """
    if vector is None or field.dimension is None or len(vector) == 4 * field.dimension:
        return
    raise IntegrityError(
        where, f"its vector has {len(vector) // 4} values, the collection {field.dimension}"
    )


def decode_row(row: Row, fields: Sequence[VectorField]) -> Point:
    """Return the point of a row.

    Raises:
        ValueError: when its JSON is not as documented.
    """
    vectors = {
        one.name: vector
        for one, vector in zip(fields, row.vectors, strict=True)
        if vector is not None
    }
    payload = from_json(json.loads(row.payload))
    native = from_json(json.loads(row.native)) if row.native is not None else {}
    if not isinstance(payload, dict) or not isinstance(native, dict):
        raise ValueError(f"record {row.id!r}: its payload is not an object")
    return Point(row.id, vectors, payload, row.document, native)


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value
    return canonical_bytes(to_json(value)).decode()


def to_json(value: Any) -> Any:  # noqa: ANN401  any JSON value, and bytes
    """Return a value in which everything is JSON: bytes and odd numbers become marked objects."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value if kind is not str or _is_unicode(value) else _marked_text(value)
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, Mapping):
        plain = {str(key): to_json(one) for key, one in value.items()}
        marked = len(plain) == 1 and next(iter(plain)).startswith("$")
        return {"$object": plain} if marked else plain
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    for plain_kind in (str, int, float):
        if isinstance(value, plain_kind):  # a subclass: an enumeration, a number of numpy's
            return to_json(plain_kind(value))
    raise TypeError(f"a value of type {kind.__name__}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _marked_text(text: str) -> dict[str, str]:
    return {"$text": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}


def from_json(value: Any) -> Any:  # noqa: ANN401  as to_json
    """Return what :func:`to_json` was given.

    Raises:
        ValueError: for a mark that the format does not know.
    """
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (mark := next(iter(value))).startswith("$"):
        return _unmarked(mark, value[mark])
    return {key: from_json(one) for key, one in value.items()}


def _unmarked(mark: str, inner: Any) -> Any:  # noqa: ANN401  as to_json
    match mark:
        case "$bytes":
            return base64.b64decode(inner, validate=True)
        case "$float":
            return float(inner)
        case "$text":
            return base64.b64decode(inner, validate=True).decode("utf-8", "surrogatepass")
        case "$object":
            return {key: from_json(one) for key, one in inner.items()}
    raise ValueError(f"unknown mark {mark}")
