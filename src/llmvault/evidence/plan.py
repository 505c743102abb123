"""From what was observed to what is stated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.coverage import coverage_statement
from llmvault.evidence.kinds import KINDS, kind_of
from llmvault.evidence.known import Run, backups, drills, restores
from llmvault.evidence.model import LedgerEntry, Statement
from llmvault.evidence.observed import Observed
from llmvault.evidence.proofs import leaf_hash
from llmvault.evidence.told import first_of, from_ledger
from llmvault.evidence.withhold import masked

_ORDER = {kind.name: position for position, kind in enumerate(KINDS)}


def plan_statements(seen: Observed) -> tuple[Statement, ...]:
    """Return everything that can be stated, by kind and time."""
    runs = _runs(seen.ledger.entries)
    found = [
        *backups(seen, runs),
        *drills(seen, runs),
        *restores(seen, runs),
        *_others(seen, runs),
        _policy_statement(seen),
        _ledger_statement(seen),
    ]
    found.append(coverage_statement(seen, found))
    return tuple(sorted(found, key=lambda one: (_ORDER[one.kind], one.collected, one.run)))


def _runs(entries: Sequence[LedgerEntry]) -> dict[Run, tuple[LedgerEntry, ...]]:
    """Return the entries of each run, in order."""
    keyed = sorted(((_run_of(entry), entry) for entry in entries), key=_run_and_index)
    return {run: tuple(entry for _, entry in found) for run, found in groupby(keyed, _run)}


def _run(pair: tuple[Run, LedgerEntry]) -> Run:
    return pair[0]


def _run_and_index(pair: tuple[Run, LedgerEntry]) -> tuple[Run, int]:
    return pair[0], pair[1].index


def _run_of(entry: LedgerEntry) -> Run:
    kind = kind_of(entry.kind)
    named = first_of(entry.facts, kind.run_keys) or first_of(entry.facts, kind.about_keys)
    if kind.name in ("tamper", "activity") or not named:
        named = f"{named or entry.kind} {entry.time:%Y-%m-%d}"
    return kind.name, masked(named)


def _others(seen: Observed, runs: Mapping[Run, tuple[LedgerEntry, ...]]) -> Iterator[Statement]:
    for (kind, run), entries in runs.items():
        if kind not in ("backup", "drill", "restore"):
            yield from_ledger(seen.policy, kind, run, entries, ())


def _policy_statement(seen: Observed) -> Statement:
    used = {manifest.policy_digest for manifest in seen.manifests.values()}
    used |= {report.policy_digest for report in seen.reports.values()}
    return Statement(
        kind="policy",
        run=seen.policy.digest,
        about="policy in force",
        subject_sha256=seen.policy.digest,
        verdict=Verdict.PROVEN,
        reason="",
        collected=seen.period.end,
        expires=None,
        facts={
            "digest": seen.policy.digest,
            "files": dict(seen.policy.files),
            "digests_used_in_the_period": sorted(used - {""}),
        },
    )


def _ledger_statement(seen: Observed) -> Statement:
    entries = seen.ledger.entries
    return Statement(
        kind="ledger",
        run=format_time(seen.period.end),
        about="entries of the period",
        subject_sha256=leaf_hash(seen.ledger.checkpoint).hex(),
        verdict=Verdict.PROVEN if entries else Verdict.UNPROVEN,
        reason="" if entries else "the ledger has no entry in the period",
        collected=seen.period.end,
        expires=None,
        facts={
            "entries": len(entries),
            "first": entries[0].index if entries else None,
            "last": entries[-1].index if entries else None,
        },
    )
