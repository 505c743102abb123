"""Goldens: questions with recorded answers. The records, and their form as JSON.

The form is specified in ``docs/formats/goldens.md``. Nothing here reads or writes a file.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from llmvault.core.canonical import digest
from llmvault.core.errors import IntegrityError
from llmvault.core.units import format_time, parse_time
from llmvault.drill.engines.interface import EngineIdentity

FORMAT = "llmvault-goldens/1"

T = TypeVar("T")
Vector = tuple[float, ...]


class Kind(StrEnum):
    """What is asked, and so how answers are compared."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """A prompt and its greedy answer; `tokens` is empty where the server tells none."""

    prompt: str
    tokens: tuple[int, ...]
    text: str

    @property
    def question(self) -> str:
        """What was asked."""
        return self.prompt


@dataclass(frozen=True, slots=True)
class EmbeddingRecord:
    """A text and its unit-length vector, in float32 values."""

    text: str
    vector: Vector

    @property
    def question(self) -> str:
        """What was asked."""
        return self.text


@dataclass(frozen=True, slots=True)
class NeighboursRecord:
    """A query, its vector in float32 values, and the ids of the nearest records in order."""

    query: str
    vector: Vector
    ids: tuple[str, ...]

    @property
    def question(self) -> str:
        """What was asked."""
        return self.query


Record = CompletionRecord | EmbeddingRecord | NeighboursRecord


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """One golden of a policy, answered once.

    Attributes:
        name: of the golden in the policy.
        source: what the answers speak of: the model's source, or the store that was searched.
        engine: what answered; for neighbours, what embedded the queries.
        model_sha256: :func:`model_digest` of the model that answered.
        parameters: what the answers depend on beside question and model, JSON values only:
            ``max_tokens`` of completions, ``collection`` and ``k`` of neighbours.
    """

    name: str
    kind: Kind
    source: str
    engine: EngineIdentity
    model_sha256: str
    recorded_at: datetime
    parameters: Mapping[str, str | int]
    records: tuple[Record, ...]


def model_digest(files: Mapping[str, str]) -> str:
    """Return the digest that names a model of one or several files; empty for no file.

    Args:
        files: path -> SHA-256 in hex. One file's digest stands for itself; several are named by the
            SHA-256 of the canonical JSON of this mapping.
    """
    if len(files) <= 1:
        return next(iter(files.values()), "")
    return digest(dict(files))


def float32(vector: Sequence[float]) -> Vector:
    """Return the vector with each number rounded to the nearest float32.

    Raises:
        OverflowError: when a number is too large for float32.
    """
    return _unpack(_pack(vector))


def encode_vector(vector: Sequence[float]) -> str:
    """Return the base64 text of a vector's little-endian float32 values."""
    return base64.b64encode(_pack(vector)).decode("ascii")


def decode_vector(text: str) -> Vector:
    """Return the vector of a base64 text.

    Raises:
        ValueError: when the text is no base64 of whole float32 values.
    """
    try:
        return _unpack(base64.b64decode(text, validate=True))
    except (ValueError, struct.error) as error:
        raise ValueError("is no base64 of float32 values") from error


def to_json(golden: GoldenSet) -> dict[str, Any]:
    """Return the set as a value of JSON types."""
    return {
        "format": FORMAT,
        "name": golden.name,
        "kind": golden.kind.value,
        "source": golden.source,
        "engine": {name: getattr(golden.engine, name) for name in EngineIdentity.__slots__},
        "model_sha256": golden.model_sha256,
        "recorded_at": format_time(golden.recorded_at),
        "parameters": dict(golden.parameters),
        "records": [_write_record(record) for record in golden.records],
    }


def from_json(value: object) -> GoldenSet:
    """Return the set that :func:`to_json` wrote.

    Raises:
        IntegrityError: when the value is anything else; the cause names the field.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise IntegrityError("golden set", f"is not in the format {FORMAT}")
    try:
        return _read_set(value)
    except (KeyError, ValueError, TypeError) as error:
        name = value.get("name")
        raise IntegrityError(f'golden set "{name}"', f"cannot be read: {error}") from error


def _read_set(value: dict[str, Any]) -> GoldenSet:
    kind = Kind(value["kind"])
    engine = _expect(value, "engine", dict)
    return GoldenSet(
        name=_expect(value, "name", str),
        kind=kind,
        source=_expect(value, "source", str),
        engine=EngineIdentity(**{slot: _expect(engine, slot, str) for slot in _IDENTITY}),
        model_sha256=_expect(value, "model_sha256", str),
        recorded_at=parse_time(_expect(value, "recorded_at", str)),
        parameters=_read_parameters(kind, _expect(value, "parameters", dict)),
        records=tuple(_READERS[kind](record) for record in _expect(value, "records", list)),
    )


def _read_parameters(kind: Kind, value: dict[str, Any]) -> dict[str, str | int]:
    return {name: _expect(value, name, wanted) for name, wanted in _PARAMETERS[kind].items()}


def _write_record(record: Record) -> dict[str, Any]:
    match record:
        case CompletionRecord(prompt, tokens, text):
            return {"prompt": prompt, "tokens": list(tokens), "text": text}
        case EmbeddingRecord(text, vector):
            return {"text": text, "vector": encode_vector(vector)}
        case NeighboursRecord(query, vector, ids):
            return {"query": query, "vector": encode_vector(vector), "ids": list(ids)}


def _read_completion(value: dict[str, Any]) -> Record:
    tokens = tuple(_each(value, "tokens", int))
    return CompletionRecord(_expect(value, "prompt", str), tokens, _expect(value, "text", str))


def _read_embedding(value: dict[str, Any]) -> Record:
    return EmbeddingRecord(
        _expect(value, "text", str), decode_vector(_expect(value, "vector", str))
    )


def _read_neighbours(value: dict[str, Any]) -> Record:
    vector = decode_vector(_expect(value, "vector", str))
    return NeighboursRecord(_expect(value, "query", str), vector, tuple(_each(value, "ids", str)))


_IDENTITY = ("engine", "version", "device", "dtype")
_PARAMETERS: Mapping[Kind, Mapping[str, type[str | int]]] = {
    Kind.COMPLETION: {"max_tokens": int},
    Kind.EMBEDDING: {},
    Kind.NEIGHBOURS: {"collection": str, "k": int},
}
_READERS: Mapping[Kind, Callable[[dict[str, Any]], Record]] = {
    Kind.COMPLETION: _read_completion,
    Kind.EMBEDDING: _read_embedding,
    Kind.NEIGHBOURS: _read_neighbours,
}


def _expect(value: dict[str, Any], field: str, kind: type[T]) -> T:
    found = value[field]
    if type(found) is not kind:
        raise TypeError(f"{field} is {type(found).__name__}, not {kind.__name__}")
    return found


def _each(value: dict[str, Any], field: str, kind: type[T]) -> list[T]:
    found: list[T] = _expect(value, field, list)
    if any(type(item) is not kind for item in found):
        raise TypeError(f"{field} holds something that is not {kind.__name__}")
    return found


def _pack(vector: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _unpack(data: bytes) -> Vector:
    return struct.unpack(f"<{len(data) // 4}f", data)
