"""A legal hold as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.units import format_time, parse_time

KINDS = ("recovery-point", "source", "subject", "log-range")


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that must not be deleted until people release it.

    Attributes:
        kind: one of `KINDS`.
        target: a recovery point's id, a source's name, a subject's handle (never an identifier), or
            a range of log days ``YYYY-MM-DD..YYYY-MM-DD``, both included.
        matter: what it is held for, e.g. a case number.
        until: when it should be looked at again; it holds on after that until it is released.
        by: who placed it (a person of the policy, or a login name).
    """

    id: str
    kind: str
    target: str
    matter: str
    why: str
    by: str
    placed: datetime
    until: datetime | None = None

    @property
    def release_digest(self) -> str:
        """What people approve to release it."""
        return digest({"format": "llmvault/hold-release/1", "hold": hold_json(self)})


@dataclass(frozen=True, slots=True)
class Release:
    """That a hold was released.

    Attributes:
        approvals: what was known of each approval: see ``access.model.Judged.facts``.
    """

    at: datetime
    by: str
    approvals: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A hold and, when it no longer holds, its release."""

    hold: Hold
    release: Release | None = None


def hold_json(hold: Hold) -> dict[str, Any]:
    """Return a hold as JSON values."""
    return {
        "id": hold.id,
        "kind": hold.kind,
        "target": hold.target,
        "matter": hold.matter,
        "why": hold.why,
        "by": hold.by,
        "placed": format_time(hold.placed),
        "until": format_time(hold.until) if hold.until else None,
    }


def record_json(record: HoldRecord) -> dict[str, Any]:
    """Return a hold and its release as JSON values."""
    released = record.release
    return hold_json(record.hold) | {
        "release": released
        and {
            "at": format_time(released.at),
            "by": released.by,
            "approvals": [dict(one) for one in released.approvals],
        }
    }


def record_of(raw: Mapping[str, Any]) -> HoldRecord:
    """Return the record of its JSON values.

    Raises:
        ValueError, KeyError, TypeError: when they are not a record's.
    """
    if raw["kind"] not in KINDS:
        raise ValueError(f"a hold of kind {raw['kind']} is not known")
    hold = Hold(
        id=str(raw["id"]),
        kind=str(raw["kind"]),
        target=str(raw["target"]),
        matter=str(raw["matter"]),
        why=str(raw["why"]),
        by=str(raw["by"]),
        placed=parse_time(raw["placed"]),
        until=parse_time(raw["until"]) if raw["until"] else None,
    )
    released = raw.get("release")
    if released is None:
        return HoldRecord(hold)
    approvals = tuple(dict(one) for one in released["approvals"])
    return HoldRecord(hold, Release(parse_time(released["at"]), str(released["by"]), approvals))
