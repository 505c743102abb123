"""Locks: tell how they stand, and make them longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from llmvault.core.clock import Clock
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.ledger.interface import Ledger
from llmvault.locks.apply import extend_locks
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import LockPlan, LockReport, Objects, Terms
from llmvault.locks.observe import known_locks
from llmvault.locks.plan import extended, plan_extension
from llmvault.objectstore.clocks import refuse_skew
from llmvault.objectstore.s3 import Bucket
from llmvault.restic.repo import Repository

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LockPorts:
    """What looking at one repository's locks works with.

    Attributes:
        bucket: at the repository's prefix, with the maintenance credential.
        inventory: by restic's id of the repository.
    """

    clock: Clock
    repository: Repository
    bucket: Bucket
    terms: Terms
    inventory: Callable[[str], Inventory]
    ledger: Ledger


def lock_status(ports: LockPorts) -> LockReport:
    """Tell how the locks of everything that must be kept stand; nothing is changed.

    Raises:
        VaultError: when repository or store cannot be looked at, or the clocks differ.
    """
    began = ports.clock.monotonic()
    _, plan, _, planning = _look(ports)
    return _report(ports, plan, began, planning)


def extend(ports: LockPorts, on_done: Callable[[int, int], None]) -> LockReport:
    """Make longer what would lapse too soon, and tell how the locks stand then.

    Raises:
        VaultError: when it could not be done; what was done by then is remembered.
    """
    began = ports.clock.monotonic()
    inventory, plan, objects, planning = _look(ports)
    if not plan.extend:
        return _report(ports, plan, began, planning)
    facts = {
        "repository": ports.repository.name,
        "plan": plan.digest,
        "objects": len(plan.extend),
        "until": format_time(plan.until),
    }
    ports.ledger.append("lock.extending", facts)
    done = 0

    def count(so_far: int) -> None:
        nonlocal done
        done = so_far
        on_done(so_far, len(plan.extend))

    try:
        extend_locks(ports.bucket, plan, inventory, count)
    finally:
        ports.ledger.append("lock.extended", {**facts, "done": done})
    after = plan_extension(
        objects, extended(inventory.locks(), plan), ports.terms, ports.clock.now()
    )
    report = _report(ports, after, began, planning)
    lapsed = f"{len(plan.lapsed)} locks had lapsed before" if plan.lapsed else ""
    reason = "; ".join(filter(None, (report.reason, lapsed)))
    return replace(report, extended=done, reason=reason)


def _look(ports: LockPorts) -> tuple[Inventory, LockPlan, Objects, float]:
    refuse_skew(str(ports.bucket), ports.bucket.settings().clock_skew_s)
    inventory = ports.inventory(ports.repository.config_id())
    objects, now = known_locks(ports.repository, ports.bucket, inventory)
    began = ports.clock.monotonic()
    plan = plan_extension(objects, now, ports.terms, ports.clock.now())
    planning = ports.clock.monotonic() - began
    return inventory, plan, objects, planning


def _report(ports: LockPorts, plan: LockPlan, began: float, planning: float) -> LockReport:
    verdict = plan.verdict
    return LockReport(
        repository=ports.repository.name,
        verdict=verdict,
        plan=plan,
        extended=0,
        requests=dict(ports.bucket.requests),
        seconds=round(ports.clock.monotonic() - began, 3),
        planning_seconds=round(planning, 3),
        reason="" if verdict is Verdict.PROVEN else _why(plan),
    )


def _why(plan: LockPlan) -> str:
    told: Mapping[str, tuple[str, ...]] = {
        "that the index names are hidden or gone": plan.missing,
        "have no lock as declared": plan.unlocked,
        "have a lock that has lapsed": plan.lapsed,
    }
    parts = [
        f"{len(names)} objects {what} ({', '.join(names[:_SHOWN])}"
        + (", …)" if len(names) > _SHOWN else ")")
        for what, names in told.items()
        if names
    ]
    return "; ".join(parts) or "the repository holds nothing yet"
