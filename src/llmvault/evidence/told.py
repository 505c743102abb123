"""What the ledger alone tells of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from llmvault.core.canonical import digest
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.kinds import BAD, BEGUN, BY_NAME, Kind, event_of, lifetimes
from llmvault.evidence.model import LedgerEntry, PolicyFacts, Statement
from llmvault.evidence.proofs import leaf_hash
from llmvault.evidence.withhold import cleaned, masked

_NOT_IN_LEDGER = "the ledger has no entry of its end"
_REMOVED_LISTS = ("recovery_points", "deleted", "removed", "targets")
_WHY = ("why", "reason", "rule")


def from_ledger(
    policy: PolicyFacts, kind: str, run: str, entries: Sequence[LedgerEntry], gaps: tuple[str, ...]
) -> Statement:
    """Return what the ledger alone tells of a run."""
    last = entries[-1]
    verdict, reason = told_by(last)
    return Statement(
        kind=kind,
        run=run,
        about=_about(BY_NAME[kind], entries),
        subject_sha256=subject_of(entries, run),
        verdict=verdict,
        reason=reason,
        collected=last.time,
        expires=expiry(policy, kind, last.time, None),
        facts=_entry_facts(kind, entries),
        entries=tuple(entry.index for entry in entries),
        gaps=gaps,
    )


def judged(known: Verdict, entries: Sequence[LedgerEntry], reason: str) -> tuple[Verdict, str]:
    """Return the verdict of a run that the catalog knows, held against the ledger."""
    if not entries:
        return Verdict.UNPROVEN, _NOT_IN_LEDGER
    told, why = told_by(entries[-1])
    if event_of(entries[-1].kind) in BEGUN:
        return Verdict.UNPROVEN, _NOT_IN_LEDGER
    if told is not known and "verdict" in entries[-1].facts:
        return Verdict.FAILED, f"the ledger says {told}, the catalog {known}"
    if known is not Verdict.PROVEN:
        return known, reason
    return told, why


def told_by(entry: LedgerEntry) -> tuple[Verdict, str]:
    """Return the verdict that an entry tells."""
    event = event_of(entry.kind)
    said = entry.facts.get("verdict")
    if event in BEGUN:
        return Verdict.UNPROVEN, f"it was announced ({event}), its end is not in the ledger"
    if said is not None:
        return _verdict_said(said, event)
    if event in BAD:
        return Verdict.FAILED, f"the ledger says {event}"
    if left := entry.facts.get("left"):
        return Verdict.FAILED, f"{len(left)} left undone"
    return Verdict.PROVEN, ""


def _verdict_said(said: object, event: str) -> tuple[Verdict, str]:
    try:
        verdict = Verdict(str(said))
    except ValueError:
        return Verdict.UNPROVEN, "the ledger tells no verdict that is known"
    return verdict, "" if verdict is Verdict.PROVEN else f"{event}: {verdict}"


def subject_of(entries: Sequence[LedgerEntry], run: str) -> str:
    """Return a digest that names what a statement rests on: its last entry's hash in the tree."""
    return leaf_hash(entries[-1].raw).hex() if entries else digest({"run": run})


def expiry(
    policy: PolicyFacts, kind: str, collected: datetime, objective: float | None
) -> datetime | None:
    """Return when evidence goes stale: a backup with its objective, unless the policy says."""
    valid = policy.valid_for.get(kind)
    if valid is None:
        valid = objective if objective is not None else lifetimes({}).get(kind)
    return None if valid is None else collected + timedelta(seconds=valid)


def first_of(facts: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Return the first of some facts that is there, as text; empty when none is."""
    return next((str(facts[key]) for key in keys if facts.get(key)), "")


def _about(kind: Kind, entries: Sequence[LedgerEntry]) -> str:
    for entry in reversed(entries):
        for key in kind.about_keys:
            if entry.facts.get(key):
                return masked(f"{key} {entry.facts[key]}")
    return kind.title.lower()


def _entry_facts(kind: str, entries: Sequence[LedgerEntry]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "events": [
            {"event": entry.kind, "time": format_time(entry.time), "facts": cleaned(entry.facts)}
            for entry in entries
        ]
    }
    attempts = entries[-1].facts.get("attempts")
    if isinstance(attempts, dict):
        told["checks"] = [
            {"name": masked(name), "source": "", "verdict": str(verdict)}
            for name, verdict in attempts.items()
        ]
    if kind == "retention":
        told["removed"] = list(_removed(entries))
    return told


def _removed(entries: Sequence[LedgerEntry]) -> Iterator[dict[str, str]]:
    """Yield what a retention run deleted, and by which rule: announced first, then done."""
    reasons: dict[tuple[str, str], str] = {}
    for entry in entries:
        for one in _listed(entry.facts):
            if why := first_of(one, _WHY):
                reasons[_thing(one)] = why
    done = entries[-1]
    if event_of(done.kind) in BEGUN:
        return
    for one in _listed(done.facts):
        thing, repository = _thing(one)
        yield {
            "recovery_point": masked(thing),
            "repository": masked(repository),
            "why": masked(reasons.get((thing, repository), "")) or "no reason in the ledger",
            "when": format_time(done.time),
            "gone_not_before": str(one.get("gone_not_before") or ""),
        }


def _listed(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _REMOVED_LISTS:
        for one in facts.get(name) or ():
            if isinstance(one, dict):
                yield one


def _thing(one: Mapping[str, Any]) -> tuple[str, str]:
    return first_of(one, ("recovery_point", "point", "id", "snapshot")), first_of(
        one, ("repository",)
    )
