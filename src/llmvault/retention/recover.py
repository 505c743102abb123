"""Holds, approvals and deletions again, from the entries of a ledger, when all else is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from llmvault.access.model import Approval, Request
from llmvault.access.store import AccessStore
from llmvault.catalog.model import DeletionEntry
from llmvault.core.errors import IntegrityError
from llmvault.core.units import format_time, parse_time
from llmvault.holds.model import HoldRecord, Release, record_of
from llmvault.holds.store import HoldStore
from llmvault.ledger.model import Entry
from llmvault.retention.store import FINISHED, STOPPED, RetentionStore, Run


class Deletions(Protocol):
    """Where deletions are kept: the catalog."""

    def add_deletion(self, deletion: DeletionEntry) -> None:
        """Record a deletion; one that is known stays as it is."""


@dataclass(frozen=True, slots=True)
class RecoveryStores:
    """Where what the ledger tells is written to."""

    holds: HoldStore
    access: AccessStore
    runs: RetentionStore
    deletions: Deletions


@dataclass(slots=True)
class Recovered:
    """How much was written.

    Attributes:
        holds: all of them; released ones too.
    """

    holds: int = 0
    requests: int = 0
    approvals: int = 0
    deletions: int = 0
    _started: dict[str, Entry] = field(default_factory=dict, repr=False)


def recover(entries: Iterable[Entry], stores: RecoveryStores) -> Recovered:
    """Write again what the ledger tells of holds, approvals and deletions; repeating it is safe.

    A plan that was approved and not applied has to be made again: in the same world it gets the
    same digest, and its approvals count. One that was applied or stopped is not applied again.

    Args:
        entries: of a ledger that was verified, the oldest first; others than these are passed over.

    Raises:
        IntegrityError: when an entry is not in the documented form.
    """
    done = Recovered()
    for entry in entries:
        read = _READERS.get(entry.kind)
        if read is None:
            continue
        try:
            read(entry, stores, done)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(
                f"ledger entry {entry.index}", f"{entry.kind} is not in the documented form"
            ) from error
    return done


def _hold(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    record = record_of(entry.facts)
    if all(known.hold.id != record.hold.id for known in stores.holds.records()):
        stores.holds.keep(record)
    done.holds += 1


def _release(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    facts = entry.facts
    approvals = tuple(dict(one) for one in facts["approvals"])
    release = Release(entry.at, str(facts["by"]), approvals)
    for known in stores.holds.records():
        if known.hold.id == facts["id"] and known.release is None:
            stores.holds.keep(HoldRecord(known.hold, release))


def _request(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    facts = entry.facts
    asked = {
        "by": str(facts["by"]),
        "account": str(facts["account"]),
        "at": format_time(entry.at),
    }
    before = stores.access.request(str(facts["digest"]))
    known = before.asked if before else ()
    if all((one["by"], one["account"]) != (asked["by"], asked["account"]) for one in known):
        stores.access.keep_request(
            Request(str(facts["digest"]), str(facts["rule"]), str(facts["what"]), (*known, asked))
        )
    done.requests += 1


def _approval(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    facts = entry.facts
    approval = Approval(str(facts["statement"]), str(facts["signature"]))
    stores.access.keep_approval(str(facts["digest"]), str(facts["by"]), approval)
    done.approvals += 1


def _started(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    done._started[str(entry.facts["plan"])] = entry


def _ended(entry: Entry, stores: RecoveryStores, done: Recovered) -> None:
    digest = str(entry.facts["plan"])
    begun = done._started.get(digest)
    if begun is None:  # the entry before it is no longer kept
        return
    told = {
        (one["repository"], one["recovery_point"]): one for one in begun.facts["recovery_points"]
    }
    by = tuple(sorted(str(one["by"]) for one in begun.facts["approvals"]))
    for one in entry.facts["deleted"]:
        about = told[one["repository"], one["recovery_point"]]
        stores.deletions.add_deletion(_deletion(one, about, entry.at, digest, by))
        done.deletions += 1
    if entry.kind == "retention.applied" and entry.facts["left"]:
        return  # it can be run again
    state = FINISHED if entry.kind == "retention.applied" else STOPPED
    freed = dict(entry.facts["bytes_freed"])
    stores.runs.keep_run(Run(digest, state, format_time(begun.at), freed))


def _deletion(
    one: Mapping[str, Any],
    about: Mapping[str, Any],
    at: datetime,
    digest: str,
    approved_by: tuple[str, ...],
) -> DeletionEntry:
    return DeletionEntry(
        id=f"{one['repository']}/{one['recovery_point']}",
        retention_class=str(about["class"]),
        repository=str(one["repository"]),
        recovery_point=str(one["recovery_point"]),
        plan=str(about["plan"]),
        taken=parse_time(about["taken"]),
        deleted=at,
        why=str(about["why"]),
        run=digest,
        approved_by=approved_by,
        bytes_added=int(about["bytes_added"]),
        gone=str(one["gone_not_before"]),
    )


_READERS: Mapping[str, Callable[[Entry, RecoveryStores, Recovered], None]] = {
    "hold.added": _hold,
    "hold.released": _release,
    "approval.requested": _request,
    "approval.given": _approval,
    "retention.started": _started,
    "retention.applied": _ended,
    "retention.stopped": _ended,
}
