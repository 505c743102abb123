"""What the entries of a ledger tell that the catalog and the policies are made again from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from llmvault.catalog.model import DrillEntry, ProofEntry
from llmvault.core.verdict import Verdict
from llmvault.ledger.files import LedgerFiles

POLICY_CHANGED = "policy.changed"


def policies_in_force(ledger: LedgerFiles) -> tuple[int, Mapping[str, str]] | None:
    """Return index and file digests of the newest entry that names policies; None without any."""
    found = None
    for entry in ledger.entries():
        files = entry.facts.get("files") if entry.kind == POLICY_CHANGED else None
        if isinstance(files, dict):
            found = entry.index, files
    return found


def unended_backups(ledger: LedgerFiles) -> tuple[str, ...]:
    """Return the recovery points whose beginning the ledger tells, but no end."""
    begun: dict[str, None] = {}
    for entry in ledger.entries():
        point = str(entry.facts.get("recovery_point", ""))
        if entry.kind == "backup.started":
            begun[point] = None
        elif entry.kind.startswith("backup."):
            begun.pop(point, None)
    return tuple(begun)


def proofs(ledger: LedgerFiles, start: int) -> Iterator[ProofEntry]:
    """Yield what entries from `start` on tell that was established of repositories.

    How long locks last is told by no entry: ``llmvault lock status`` looks at them anew.
    """
    for entry in ledger.entries(start):
        kind, wanted = _PROOFS.get(entry.kind, ("", ()))
        facts = {key: entry.facts[key] for key in wanted if key in entry.facts}
        if kind and len(facts) == len(wanted):
            repository, verdict = str(entry.facts["repository"]), _verdict(entry.facts)
            identity = f"proof-of-entry-{entry.index}"
            yield ProofEntry(identity, kind, repository, entry.at, verdict, facts)


# kind of entry -> kind of proof, and what it needs to tell
_PROOFS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tamper.tested": ("tamper", ("attempts",)),
    "verification.done": ("verification", ("part", "parts", "errors")),
    "copy.done": ("copy", ("newest", "missing")),
}


def _verdict(facts: Mapping[str, Any]) -> str:
    """Return an entry's verdict; a copy is proven when nothing is missing in it."""
    told = facts.get("verdict")
    if told is not None:
        return str(told)
    return Verdict.PROVEN if facts["missing"] == 0 and facts["snapshots"] else Verdict.UNPROVEN


def drills(ledger: LedgerFiles, reports: Path) -> Iterator[DrillEntry]:
    """Yield the drills that the ledger tells of, as far as its entries go."""
    started: dict[str, datetime] = {}
    for entry in ledger.entries():
        drill = entry.facts.get("drill")
        if not isinstance(drill, str):
            continue
        if entry.kind == "drill.started":
            started[drill] = entry.at
        elif entry.kind == "drill.finished":
            began = started.pop(drill, entry.at)
            yield _drill(drill, entry.facts, began, reports / f"{drill}.html")


def _drill(drill: str, facts: Mapping[str, Any], started: datetime, report: Path) -> DrillEntry:
    return DrillEntry(
        id=drill,
        plan=str(facts.get("plan", "")),
        recovery_point=str(facts.get("recovery_point", "")),
        started=started,
        verdict=str(facts.get("verdict", "unproven")),
        rto_objective_s=float(facts.get("rto_objective_s") or 0.0),
        rto_measured_s=facts.get("rto_s"),
        rpo_objective_s=float(facts.get("rpo_objective_s") or 0.0),
        rpo_measured_s=facts.get("rpo_s"),
        phases={},
        report=str(report) if report.exists() else "",
    )
