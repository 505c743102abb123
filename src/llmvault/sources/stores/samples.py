"""Samples of a collection: the records with the lowest ids, as digests and vectors."""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
import struct
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from llmvault.core.canonical import canonical_bytes
from llmvault.sources.interface import CollectionFacts, Finding


def plain(value: object) -> object:  # noqa: PLR0911  one per type
    """Return a value of any store as JSON values that no other value gives.

    Bytes, dates, decimals and floats without a JSON form become objects that name their type.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, Mapping):
        return {"map": [[plain(key), plain(item)] for key, item in _ordered(value)]}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return {type(value).__name__: value.isoformat()}
    if isinstance(value, datetime.timedelta | Decimal):
        return {type(value).__name__: str(value)}
    return {type(value).__name__: repr(value)}


def _text(value: str) -> object:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return {"text": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")}
    return value


def _ordered(value: Mapping[object, object]) -> list[tuple[object, object]]:
    return sorted(value.items(), key=lambda item: str(item[0]))


def record_digest(content: object, vectors: Mapping[str, bytes] | None = None) -> str:
    """Return the SHA-256 (64 hex digits) of a record: its content and each vector, bit for bit."""
    kept = {name: base64.b64encode(data).decode("ascii") for name, data in (vectors or {}).items()}
    return hashlib.sha256(canonical_bytes({"content": plain(content), "vectors": kept})).hexdigest()


def float32_bytes(values: Iterable[float]) -> bytes:
    """Return numbers as float32, little endian, 4 bytes each."""
    numbers = tuple(values)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def floats(vector: bytes) -> tuple[float, ...]:
    """Return the values of a vector of float32, little endian."""
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def is_finite(vector: bytes) -> bool:
    """Whether no value of a float32 vector is NaN or infinite."""
    return math.isfinite(sum(array("f", vector)))


@dataclass(slots=True)
class VectorTally:
    """What is learned of the vectors of a collection while they pass by.

    Attributes:
        limit: how many samples are kept, those of the lowest ids by code point.
        not_finite: how many vectors hold NaN or an infinity.
    """

    limit: int
    count: int = 0
    not_finite: int = 0
    dimensions: set[int] = field(default_factory=set)
    example: str = ""
    _kept: dict[str, bytes] = field(default_factory=dict)
    _highest: str = ""

    def add(self, key: str, vector: bytes) -> None:
        """Take note of one vector: float32, little endian."""
        self.count += 1
        self.dimensions.add(len(vector) // 4)
        if not is_finite(vector):
            self.not_finite += 1
            self.example = self.example or key
        if len(self._kept) >= self.limit and key >= self._highest:
            return
        self._kept[key] = vector
        if len(self._kept) > self.limit:
            del self._kept[self._highest]
        self._highest = max(self._kept)

    @property
    def dimension(self) -> int | None:
        """The dimension that all have; None when there are none, or they differ."""
        return next(iter(self.dimensions)) if len(self.dimensions) == 1 else None

    def facts(self, name: str, settings: Mapping[str, str]) -> CollectionFacts:
        """Return what was learned; a sample that is not finite has a digest only."""
        ordered = sorted(self._kept.items())
        return CollectionFacts(
            name=name,
            count=self.count,
            dimension=self.dimension,
            sample_digests={key: hashlib.sha256(data).hexdigest() for key, data in ordered},
            sample_vectors={key: floats(data) for key, data in ordered if is_finite(data)},
            settings=dict(settings),
        )

    def findings(self, name: str) -> tuple[Finding, ...]:
        """Return what is wrong with the vectors."""
        found = []
        if self.not_finite:
            detail = f"{self.not_finite} vectors hold NaN or an infinity, e.g. of {self.example}: "
            detail += "no search finds them"
            found.append(Finding("vector-not-finite", name, detail, "unproven"))
        if len(self.dimensions) > 1:
            sizes = ", ".join(map(str, sorted(self.dimensions)))
            detail = f"its vectors have different dimensions: {sizes}"
            found.append(Finding("dimension-mismatch", name, detail, "failed"))
        return tuple(found)


def changed_findings(
    before: Iterable[CollectionFacts], after: Iterable[CollectionFacts], *, taken: str
) -> tuple[Finding, ...]:
    """Return which collections were written to while they were captured by a snapshot or backup.

    Args:
        taken: what is made of them: "snapshot" or "backup".
    """
    still = tuple(after)
    detail = f"it was written to while its {taken} was made; hold its writers with quiesce"
    changed = sorted(one.name for one in before if one not in still)
    return tuple(Finding("changed-during-capture", n, detail, "unproven") for n in changed)


def presence_findings(
    present: Mapping[str, int] | set[str], wanted: tuple[str, ...], *, noun: str
) -> tuple[Finding, ...]:
    """Return what is missing: `wanted` collections must be there, and there must be one at all."""
    detail = "the policy names it and it is not there"
    absent = [Finding(f"{noun}-missing", n, detail, "failed") for n in wanted if n not in present]
    if not present:
        plural = "indexes" if noun == "index" else f"{noun}s"
        absent.append(Finding(f"no-{plural}", "", f"the store holds no {noun}", "unproven"))
    return tuple(absent)
