"""Copies of the policy's repositories: made, read back, counted; and what reading them costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llmvault.app.buckets import READ_ONLY, variables
from llmvault.app.installation import Installation
from llmvault.catalog.model import PointEntry, ProofEntry
from llmvault.copies.make import CopyResult, make_copy
from llmvault.copies.model import CopyFacts, Coverage, PartRead, Placed
from llmvault.copies.plan import coverage, judge_copies, parts_to_read
from llmvault.copies.verify import PartResult, VerifyPorts, read_part
from llmvault.core.errors import PolicyError, UnavailableError, VaultError
from llmvault.core.units import parse_time
from llmvault.core.verdict import Check, Verdict
from llmvault.objectstore.costs import Estimate, Prices, estimate
from llmvault.policy.model import Plan
from llmvault.policy.object_store import Place, PricePolicy, VerificationPolicy
from llmvault.restic.errors import MISSING

_log = logging.getLogger(__name__)
TAMPER_FRESH = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading a repository back told, and how much is covered now."""

    repository: str
    coverage: Coverage
    read: tuple[PartResult, ...]
    healed: tuple[str, ...]


def named(app: Installation, names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the named repositories, or all.

    Raises:
        PolicyError: when one is unknown.
    """
    wanted = tuple(names or app.policy.repositories)
    for name in wanted:
        if name not in app.policy.repositories:
            known = ", ".join(app.policy.repositories) or "none"
            raise PolicyError(f'repository "{name}"', "the policy has no such one", known)
    return wanted


def covered(app: Installation, name: str) -> Coverage:
    """Return how much of a repository was read back in time."""
    declared = app.policy.repositories[name].verification
    return covered_by(app.catalog.proofs("verification", name), declared, app.clock.now())


def covered_by(
    proofs: Iterable[ProofEntry], declared: VerificationPolicy, now: datetime
) -> Coverage:
    """Return how much was read back in time, by what the catalog has of a repository."""
    readings = [_reading(proof) for proof in proofs]
    return coverage(readings, declared.parts, declared.within, now)


def _reading(proof: ProofEntry) -> PartRead:
    facts = proof.facts
    return PartRead(
        int(facts["part"]), int(facts["parts"]), proof.at, Verdict(proof.verdict),
        int(facts["errors"]),
    )  # fmt: skip


def verify(
    app: Installation,
    names: Iterable[str] | None,
    at_least: int | None,
    on_part: Callable[[str, int, int], None],
) -> tuple[Verified, ...]:
    """Read the next parts of repositories back.

    Args:
        at_least: how many parts; None for all. What is overdue is read in any case.
    """
    return tuple(_verify(app, name, at_least, on_part) for name in named(app, names))


def _verify(
    app: Installation,
    name: str,
    at_least: int | None,
    on_part: Callable[[str, int, int], None],
) -> Verified:
    with app.memory.exclusive(f"verify-{name}"):
        known = covered(app, name)
        repository = app.repository(name)
        healed = _heal(app, name)
        reader = repository.with_backend(variables(app, name, READ_ONLY))
        ports = VerifyPorts(app.clock, reader, app.ledger)
        results = []
        for part in parts_to_read(known, at_least=at_least or known.parts):
            on_part(name, part, known.parts)
            result = read_part(ports, part, known.parts)
            _keep(app, name, result)
            results.append(result)
            if result.reading.verdict is Verdict.UNPROVEN:
                break  # it cannot be reached; the other parts would fare the same
        return Verified(name, covered(app, name), tuple(results), healed)


def _heal(app: Installation, name: str) -> tuple[str, ...]:
    """Remove stale locks; one that cannot be removed does not keep anybody from reading."""
    try:
        return app.repository(name).remove_stale_locks()
    except VaultError as error:
        _log.warning("stale locks stay in %s: %s", name, error.cause)
        return ()


def _keep(app: Installation, name: str, result: PartResult) -> None:
    reading = result.reading
    facts = {
        "part": reading.part,
        "parts": reading.parts,
        "errors": reading.errors,
        "seconds": result.seconds,
        "reason": result.reason,
    }
    proof = app.ids.new("proof", reading.at)
    app.catalog.add_proof(
        ProofEntry(proof, "verification", name, reading.at, reading.verdict.value, facts)
    )


def copies_of(app: Installation, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return copy -> original: the named repositories, or all that are copies.

    Raises:
        PolicyError: when a named one is no copy, or there is none.
    """
    found = {
        name: original
        for name in named(app, names)
        if (original := app.policy.repositories[name].copy_of) is not None
    }
    missing = [name for name in names or () if name not in found]
    if missing or not found:
        thing = f'repository "{missing[0]}"' if missing else "copies"
        raise PolicyError(thing, "no copy is declared", "declare copy_of: NAME for a repository")
    return found


def make_copies(app: Installation, names: Iterable[str] | None) -> tuple[CopyResult, ...]:
    """Fill repositories from the ones they are copies of.

    Raises:
        RefusedError: when the two cut files differently.
        VaultError: when one cannot be reached.
    """
    results = []
    for name, original in copies_of(app, names).items():
        with app.memory.exclusive(f"copy-{name}"):
            _heal(app, name)
            result = make_copy(app.repository(original), app.repository(name), app.ledger)
        now = app.clock.now()
        facts = {"newest": result.newest, "missing": len(result.missing)}
        proof = app.ids.new("proof", now)
        app.catalog.add_proof(ProofEntry(proof, "copy", name, now, result.verdict.value, facts))
        results.append(result)
    return tuple(results)


def create(app: Installation, name: str) -> tuple[str, str]:
    """Open a repository, or create it, a copy with the parameters of its original.

    Returns its id, and ``exists`` or ``created``.
    """
    repository = app.repository(name)
    try:
        return repository.config_id(), "exists"
    except UnavailableError as error:
        if MISSING not in error.cause:
            raise
    original = app.policy.repositories[name].copy_of
    if original is None:
        return repository.init(), "created"
    create(app, original)
    return repository.init_like(app.repository(original)), "created"


def creation_order(app: Installation) -> tuple[str, ...]:
    """Return the repositories, originals before their copies."""
    known = app.policy.repositories
    return tuple(sorted(known, key=lambda name: known[name].copy_of is not None))


def tell_copies(app: Installation, plan: str) -> tuple[Check, ...]:
    """Return whether the copies of a plan's newest recovery point are 3-2-1-1-0."""
    declared = app.policy.plans[plan]
    newest = next(iter(app.catalog.points(plan)), None)
    facts = tuple(_facts(app, name, newest) for name in _all_copies(app, declared))
    return judge_copies(_placed(declared.live), facts)


def _all_copies(app: Installation, plan: Plan) -> Iterator[str]:
    yield from plan.repositories
    for name, declared in app.policy.repositories.items():
        if declared.copy_of in plan.repositories:
            yield name


def _placed(place: Place) -> Placed:
    return Placed(place.site or "", place.account or "", place.media or "", place.offline)


def _facts(app: Installation, name: str, newest: PointEntry | None) -> CopyFacts:
    declared = app.policy.repositories[name]
    immutable, why = _immutable(app, name)
    holds = _holds(app, name, newest)
    place = _placed(declared.place)
    return CopyFacts(name, place, holds, immutable, why, covered(app, name))


def _holds(app: Installation, name: str, newest: PointEntry | None) -> bool | None:
    if newest is None:
        return False
    if app.policy.repositories[name].copy_of is not None:
        proof = next(iter(app.catalog.proofs("copy", name)), None)
        if proof is None:
            return None
        return bool(proof.facts["newest"] == newest.id and not proof.facts["missing"])
    return all(name in source.get("snapshots", {}) for source in newest.sources)


def _immutable(app: Installation, name: str) -> tuple[bool | None, str]:
    store = app.policy.repositories[name].object_store
    if store is None or store.lock is None:
        return False, "no lock is declared"
    now = app.clock.now()
    attacked = next(iter(app.catalog.proofs("tamper", name)), None)
    if attacked is None or now - attacked.at > TAMPER_FRESH:
        return None, "its lock was not attacked lately: llmvault tamper"
    if attacked.verdict != Verdict.PROVEN:
        return attacked.verdict != Verdict.FAILED and None, "the tamper test was not passed"
    told = next(iter(app.catalog.proofs("lock", name)), None)
    until = earliest_lapse(told)
    if told is None or until is None:
        return None, "nobody looked at all its locks yet: llmvault lock status"
    if told.verdict != Verdict.PROVEN or until <= now:
        return False, f"not everything is locked: {told.facts.get('reason') or 'a lock lapsed'}"
    return True, ""


def earliest_lapse(proof: ProofEntry | None) -> datetime | None:
    """Return when the first lock of a repository lapses; None when that is not known."""
    told: Any = proof.facts.get("earliest") if proof else None
    return parse_time(str(told)) if told else None


def _prices(declared: PricePolicy) -> Prices:
    return Prices(
        declared.currency,
        declared.requests_per_1000,
        declared.egress_per_gb,
        declared.retrieval_per_gb,
        declared.retrieval_requests_per_1000,
        declared.retrieval_time.total_seconds(),
        declared.source,
    )


def cost_of(app: Installation, name: str, size: int) -> Estimate | None:
    """Return what reading so many bytes from a repository takes; None for one that is no store."""
    declared = app.policy.repositories[name]
    store = declared.object_store
    if store is None:
        return None
    prices = _prices(store.prices) if store.prices else None
    pack = declared.pack_size_mib << 20
    return estimate(name, size, pack, store.storage_class or "STANDARD", prices)
