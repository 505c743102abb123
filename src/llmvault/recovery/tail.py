"""The tail that a manifest carries, as JSON values: ``docs/formats/installation.md``. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.errors import IntegrityError
from llmvault.recovery.model import FORMAT, Tail


def tail_values(tail: Tail) -> dict[str, Any]:
    """Return a tail as JSON values."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "origin": tail.origin,
        "host": tail.host,
        "first": tail.first,
        "entries": [one.decode() for one in tail.entries],
        "checkpoint": tail.note,
        "keys": list(tail.keys),
    }
    if tail.policies is not None:
        values["policies"] = dict(tail.policies)
    return values


def read_tail(values: Mapping[str, Any]) -> Tail:
    """Return the tail of JSON values.

    Raises:
        IntegrityError: when they are none, or of another format.
    """
    try:
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']!r}, not {FORMAT}")
        policies = values.get("policies")
        return Tail(
            origin=str(values["origin"]),
            host=str(values["host"]),
            first=int(values["first"]),
            entries=tuple(one.encode() for one in values["entries"]),
            note=str(values["checkpoint"]),
            keys=tuple(str(one) for one in values["keys"]),
            policies=None if policies is None else {k: str(v) for k, v in policies.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            "what a manifest carries", f"it is not in the documented form: {error}"
        ) from error


def policies_digest(policies: Mapping[str, bytes]) -> str:
    """Return what names the bytes of policy files together."""
    return digest(file_digests(policies))


def file_digests(policies: Mapping[str, bytes]) -> dict[str, str]:
    """Return name -> SHA-256 of policy files."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in policies.items()}
