"""Placing, releasing and listing holds."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import date

from llmvault.access.run import AccessPorts, ask, demand, who_asks
from llmvault.core.clock import Clock
from llmvault.core.errors import PolicyError
from llmvault.core.ids import Ids
from llmvault.holds.model import Hold, HoldRecord, Release, hold_json
from llmvault.holds.store import HoldStore
from llmvault.ledger.interface import Ledger

RELEASE_RULE = "hold-release"
_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{15,127}")


@dataclass(frozen=True, slots=True)
class HoldPorts:
    """What holds work with.

    Attributes:
        points: ids of the recovery points that are known.
        sources: names of the sources that are known, in the policy or in recovery points.
    """

    clock: Clock
    ids: Ids
    store: HoldStore
    ledger: Ledger
    access: AccessPorts
    points: Container[str]
    sources: Container[str]


def place_hold(ports: HoldPorts, hold: Hold) -> Hold:
    """Place a hold; `id`, `by` and `placed` are filled in here. The ledger knows it first.

    Raises:
        PolicyError: when what is to be held does not exist, or is an identifier of a person.
    """
    _demand_target(ports, hold)
    for field in ("matter", "why"):
        if not getattr(hold, field).strip():
            raise PolicyError("hold", f"it does not say its {field}", f"give --{field}")
        if "@" in getattr(hold, field):
            raise PolicyError(
                "hold", f"its {field} holds an address; holds go into the ledger", "leave it out"
            )
    now = ports.clock.now()
    by = who_asks(ports.access, hold.by) or ports.access.account
    placed = replace(hold, id=ports.ids.new("hold", now), by=by, placed=now)
    ports.ledger.append("hold.added", hold_json(placed))
    ports.store.keep(HoldRecord(placed))
    return placed


def _demand_target(ports: HoldPorts, hold: Hold) -> None:
    thing = f"{hold.kind} {hold.target}"
    if hold.kind == "recovery-point" and hold.target not in ports.points:
        raise PolicyError(
            thing, "it is not known", "list what there is: llmvault recovery-points list --scan"
        )
    if hold.in_source and hold.kind != "log-range":
        raise PolicyError(thing, "only logs are looked for in one source", "leave out --in-source")
    for source in (hold.target if hold.kind == "source" else "", hold.in_source):
        if source and source not in ports.sources:
            raise PolicyError(
                f"source {source}", "neither the policy nor a recovery point has it",
                "check its name",
            )  # fmt: skip
    if hold.kind == "subject" and not _HANDLE.fullmatch(hold.target):
        raise PolicyError(
            "subject",
            "a subject is held by its handle, 16 or more letters and digits, never by a name or an "
            "address",
            "ask for the handle of the person first",
        )
    if hold.kind == "log-range" and not _is_range(hold.target):
        raise PolicyError(
            thing, "it is no range of days", "write for example 2026-01-01..2026-03-31"
        )


def _is_range(text: str) -> bool:
    first, _, last = text.partition("..")
    try:
        return date.fromisoformat(first) <= date.fromisoformat(last)
    except ValueError:
        return False


def release_hold(ports: HoldPorts, identity: str, by: str) -> HoldRecord:
    """Release a hold that people approved to release; asks them first when nobody did.

    Raises:
        PolicyError: when there is no such hold, or it was released before.
        RefusedError: when it is not approved; the request for it is recorded then.
    """
    record = find_hold(ports.store, identity)
    if record.release is not None:
        raise PolicyError(f"hold {identity}", f"it was released by {record.release.by}")
    person, digest = who_asks(ports.access, by), record.hold.release_digest
    if ports.access.store.request(digest) is None:
        what = f"release hold {identity} on {record.hold.what}"
        ask(ports.access, digest, rule=RELEASE_RULE, what=what, by=person)
    standing = demand(ports.access, digest)
    approvals = tuple(one.facts for one in standing.counted)
    release = Release(ports.clock.now(), person or ports.access.account, approvals)
    facts = {"id": identity, "by": release.by, "approvals": [dict(one) for one in approvals]}
    ports.ledger.append("hold.releasing", facts)
    released = HoldRecord(record.hold, release)
    ports.store.keep(released)
    ports.ledger.append("hold.released", facts)
    return released


def find_hold(store: HoldStore, identity: str) -> HoldRecord:
    """Return a hold by its id.

    Raises:
        PolicyError: when there is none.
    """
    for record in store.records():
        if record.hold.id == identity:
            return record
    raise PolicyError(f"hold {identity}", "there is none", "list them: llmvault hold list")
