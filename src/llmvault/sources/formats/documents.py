"""JSON documents beside weights (headers, indexes, configs), with bounded memory.

A hostile document of a few bytes per value would take fifty times its size in memory; so the values
are counted before anything is built.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmvault.sources.formats.faults import HeaderError

# A header of 250,000 tensors; the largest models known have 140,000 in all their shards together.
MAX_VALUES = 2_000_000
MAX_DOCUMENT = 32 << 20


def parse_strictly(raw: bytes, path: str, *, fault: str) -> object:
    """Return the value of a JSON text that repeats no key and holds neither NaN nor an infinity.

    Args:
        raw: UTF-8 text.
        path: the file, for messages.
        fault: name of the :class:`HeaderError` that is raised.

    Raises:
        HeaderError: when it is no such JSON, or holds more than :data:`MAX_VALUES` values.
    """
    return _parse(raw, path, fault, {"object_pairs_hook": _unique, "parse_constant": _refuse})


def read_document(location: Path | str, path: str, *, fault: str) -> object:
    """Return the value of a JSON file, as forgiving as the libraries that load models from it.

    Raises:
        HeaderError: when it is no JSON, larger than 32 MiB, or holds more than :data:`MAX_VALUES`
            values.
        OSError: when the file cannot be read.
    """
    with open(location, "rb") as stream:  # noqa: PTH123  names may hold surrogate escapes
        if os.fstat(stream.fileno()).st_size > MAX_DOCUMENT:
            raise HeaderError(path, fault, f"it is larger than {MAX_DOCUMENT >> 20} MiB")
        raw = stream.read(MAX_DOCUMENT)
    return _parse(raw, path, fault, {})


def _parse(raw: bytes, path: str, fault: str, hooks: Mapping[str, Any]) -> object:
    if sum(map(raw.count, (b"{", b"[", b","))) > MAX_VALUES:
        raise HeaderError(path, fault, f"it holds more than {MAX_VALUES:,} values")
    try:
        value: object = json.loads(raw.decode("utf-8"), **hooks)
        return value
    except RecursionError:
        raise HeaderError(path, fault, "its JSON is nested too deeply") from None
    except ValueError as error:
        raise HeaderError(path, fault, f"it is not valid JSON: {error}") from error


def positive(document: Mapping[str, Any], *keys: str) -> int | None:
    """Return the first of the keys' values that is an integer between 1 and 2^31; else None."""
    for key in keys:
        value = document.get(key)
        if type(value) is int and 0 < value < 1 << 31:
            return value
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return members


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON value")
