"""Locks of the policy's repositories."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from llmvault.app.buckets import MAINTENANCE, open_bucket, stores
from llmvault.app.installation import Installation
from llmvault.catalog.model import ProofEntry
from llmvault.core.errors import PolicyError
from llmvault.core.units import format_time
from llmvault.locks.inventory import Inventory
from llmvault.locks.model import LockReport, Terms
from llmvault.locks.run import LockPorts, extend, lock_status
from llmvault.locks.undelete import UndeletePlan, plan_undelete, undelete
from llmvault.objectstore.clocks import refuse_skew
from llmvault.objectstore.model import LockMode


def locked(app: Installation, names: Iterable[str] | None = None) -> dict[str, Terms]:
    """Return the repositories that declare a lock, with its terms: the named ones, or all.

    Raises:
        PolicyError: when a named one declares none, or none does.
    """
    named = tuple(names or ())
    found = {
        name: Terms(
            LockMode(store.lock.mode.upper()),
            store.lock.period.total_seconds(),
            store.lock.renewal.total_seconds(),
        )
        for name, store in stores(app, named).items()
        if store.lock is not None
    }
    missing = [name for name in named if name not in found]
    if missing or not found:
        raise PolicyError(
            f'repository "{missing[0]}"' if missing else "lock",
            "it declares no lock" if missing else "no repository declares a lock",
            "declare object_store: {lock: {mode: compliance, period: 30d}}",
        )
    return found


def tell_locks(app: Installation, names: Iterable[str] | None = None) -> tuple[LockReport, ...]:
    """Tell how the locks of repositories stand."""
    return tuple(
        _kept(app, lock_status(_ports(app, name, terms)))
        for name, terms in locked(app, names).items()
    )


def extend_all(
    app: Installation, names: Iterable[str] | None, on_done: Callable[[str, int, int], None]
) -> tuple[LockReport, ...]:
    """Make longer what would lapse too soon, in one repository after the other."""
    reports = []
    for name, terms in locked(app, names).items():

        def count(done: int, of: int, name: str = name) -> None:
            on_done(name, done, of)

        with app.memory.exclusive(f"lock-{name}"):
            reports.append(_kept(app, extend(_ports(app, name, terms), count)))
    return tuple(reports)


def plan_return(app: Installation, name: str, before: datetime) -> UndeletePlan:
    """Return what would make a repository what it was at a moment.

    Raises:
        RefusedError: when this host's clock and the server's differ: then moments mean nothing.
    """
    stores(app, (name,))
    bucket = open_bucket(app, name, MAINTENANCE)
    refuse_skew(str(bucket), bucket.settings().clock_skew_s)
    where = bucket.location
    return plan_undelete(bucket.versions(where.key("")), before, where.key("locks/"))


def bring_objects_back(app: Installation, name: str, plan: UndeletePlan) -> int:
    """Carry out what :func:`plan_return` said; return how many objects came back."""
    with app.memory.exclusive(f"lock-{name}"):
        return undelete(open_bucket(app, name, MAINTENANCE), plan, name, app.ledger)


def _ports(app: Installation, name: str, terms: Terms) -> LockPorts:
    directory = app.memory.directory / "inventory" / name
    return LockPorts(
        clock=app.clock,
        repository=app.repository(name),
        bucket=open_bucket(app, name, MAINTENANCE),
        terms=terms,
        inventory=lambda identity: Inventory(directory, identity),
        ledger=app.ledger,
    )


def _kept(app: Installation, report: LockReport) -> LockReport:
    now, plan = app.clock.now(), report.plan
    facts = {
        "objects": plan.objects,
        "earliest": format_time(plan.earliest) if plan.earliest else None,
        "reason": report.reason,
    }
    proof = app.ids.new("proof", now)
    app.catalog.add_proof(
        ProofEntry(proof, "lock", report.repository, now, report.verdict.value, facts)
    )
    return report
