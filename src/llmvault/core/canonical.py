"""Canonical JSON: one value has one sequence of bytes, so that its digest names it.

Follows RFC 8785 (JSON Canonicalization Scheme) but for two things: keys are sorted by code point
(the same order, unless a key holds characters beyond U+FFFF), and a float keeps its point or
exponent in the shortest form that reads back as it (``900.0``), so that it stays a float. NaN and
infinities are refused.
"""

from __future__ import annotations

import hashlib
import json

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def canonical_bytes(value: object) -> bytes:
    """Return the canonical UTF-8 JSON of a value of JSON types (tuples count as arrays).

    Raises:
        ValueError: for NaN, an infinity, or text that is not Unicode (lone surrogates).
        TypeError: for any other type.
    """
    return _ENCODER.encode(value).encode("utf-8")


def digest(value: object) -> str:
    """Return the SHA-256 (64 hex digits) of the canonical bytes of a value."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()
