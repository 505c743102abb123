"""A legal hold as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.units import format_time, parse_time

KINDS = ("recovery-point", "source", "subject", "log-range")
# Nowhere on earth does a day begin earlier than so long before it does in UTC.
_EARLIEST_ZONE = timedelta(hours=14)


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
        in_source: of a log range, the only source in which those logs are; empty: in any.
    """

    id: str
    kind: str
    target: str
    matter: str
    why: str
    by: str
    placed: datetime
    until: datetime | None = None
    in_source: str = ""

    @property
    def what(self) -> str:
        """What it is on, in words."""
        narrowed = f" in {self.in_source}" if self.in_source else ""
        return f"{self.kind} {self.target}{narrowed}"

    @property
    def logs_from(self) -> datetime:
        """When the first of the days of a log range may have begun: logs count local days."""
        first, _, _ = self.target.partition("..")
        return datetime.combine(date.fromisoformat(first), time(), UTC) - _EARLIEST_ZONE

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
    } | ({"in_source": hold.in_source} if hold.in_source else {})


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
        in_source=str(raw.get("in_source", "")),
    )
    released = raw.get("release")
    if released is None:
        return HoldRecord(hold)
    approvals = tuple(dict(one) for one in released["approvals"])
    return HoldRecord(hold, Release(parse_time(released["at"]), str(released["by"]), approvals))
