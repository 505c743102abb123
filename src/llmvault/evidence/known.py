"""What catalog, manifests and reports tell of a run, held against the ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmvault.catalog.model import DrillEntry, PointEntry, RestoreEntry
from llmvault.core.units import format_time
from llmvault.core.verdict import Verdict
from llmvault.evidence.model import DrillFacts, LedgerEntry, ManifestFacts, Statement
from llmvault.evidence.observed import Observed
from llmvault.evidence.told import expiry, from_ledger, judged, subject_of
from llmvault.evidence.withhold import cleaned, masked

Run = tuple[str, str]
"""Kind of evidence and name of the run."""


def backups(seen: Observed, runs: Mapping[Run, tuple[LedgerEntry, ...]]) -> Iterator[Statement]:
    """Yield a statement about every backup of the period."""
    points = {point.id: point for point in seen.points if seen.period.holds(point.started)}
    plans = {plan.name: plan for plan in seen.policy.plans}
    stated = {run for kind, run in runs if kind == "backup"}
    for run in sorted(stated | points.keys()):
        point, entries = points.get(run), runs.get(("backup", run), ())
        if point is None:
            yield from_ledger(
                seen.policy, "backup", run, entries, ("the catalog does not list it",)
            )
            continue
        manifest = seen.manifests.get(run)
        declared = plans.get(point.plan)
        rpo = manifest.rpo_seconds if manifest else declared.rpo_seconds if declared else None
        verdict, reason = judged(Verdict(point.verdict), entries, _source_reason(point.sources))
        yield Statement(
            kind="backup",
            run=run,
            about=f"plan {point.plan}",
            subject_sha256=manifest.sha256 if manifest else subject_of(entries, point.id),
            verdict=verdict,
            reason=reason,
            collected=point.started,
            expires=expiry(seen.policy, "backup", point.started, rpo),
            facts=_backup_facts(point, manifest, rpo),
            entries=tuple(entry.index for entry in entries),
            gaps=() if manifest else ("no copy of its manifest on this host",),
        )


def _backup_facts(
    point: PointEntry, manifest: ManifestFacts | None, rpo: float | None
) -> dict[str, Any]:
    sources = manifest.sources if manifest else tuple(map(_source_facts, point.sources))
    copies = [len(source["copies"]) for source in sources]
    return {
        "plan": point.plan,
        "host": masked(point.host),
        "started": format_time(point.started),
        "finished": format_time(point.finished),
        "files": point.files,
        "bytes": point.bytes,
        "rpo_objective_s": rpo,
        "copies": min(copies, default=0),
        "sources": [dict(source) for source in sources],
        "checks": [dict(check) for check in manifest.checks] if manifest else [],
        "policy_digest": manifest.policy_digest if manifest else "",
    }


def _source_facts(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": masked(str(source["name"])),
        "kind": source["kind"],
        "verdict": source["verdict"],
        "files": source["files"],
        "bytes": source["bytes"],
        "copies": sorted(masked(name) for name in source["snapshots"]),
    }


def _source_reason(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return which sources are not proven; why lies in the manifest, for it may name files."""
    bad = [
        f"source {masked(str(source['name']))} is {source['verdict']}"
        for source in sources
        if source["verdict"] != Verdict.PROVEN
    ]
    return ", ".join(bad) or "a check between its sources is not proven"


def drills(seen: Observed, runs: Mapping[Run, tuple[LedgerEntry, ...]]) -> Iterator[Statement]:
    """Yield a statement about every drill of the period."""
    known = {drill.id: drill for drill in seen.drills if seen.period.holds(drill.started)}
    stated = {run for kind, run in runs if kind == "drill"}
    for run in sorted(stated | known.keys()):
        drill, entries = known.get(run), runs.get(("drill", run), ())
        if drill is None:
            yield from_ledger(seen.policy, "drill", run, entries, ("the catalog does not list it",))
            continue
        report = seen.reports.get(run)
        verdict, reason = judged(Verdict(drill.verdict), entries, _check_reason(drill, report))
        if report is None and verdict is Verdict.PROVEN:
            verdict, reason = Verdict.UNPROVEN, "its report is missing, and with it every check"
        yield Statement(
            kind="drill",
            run=run,
            about=f"plan {drill.plan}",
            subject_sha256=report.sha256 if report else subject_of(entries, run),
            verdict=verdict,
            reason=reason,
            collected=drill.started,
            expires=expiry(seen.policy, "drill", drill.started, None),
            facts=_drill_facts(drill, report),
            entries=tuple(entry.index for entry in entries),
            gaps=() if report else ("its report is missing",),
        )


def _drill_facts(drill: DrillEntry, report: DrillFacts | None) -> dict[str, Any]:
    return {
        "plan": drill.plan,
        "recovery_point": drill.recovery_point,
        "started": format_time(drill.started),
        "rto_objective_s": drill.rto_objective_s,
        "rto_measured_s": drill.rto_measured_s,
        "rpo_objective_s": drill.rpo_objective_s,
        "rpo_measured_s": drill.rpo_measured_s,
        "phases": dict(drill.phases),
        "host": masked(report.host) if report else "",
        "checks": [dict(check) for check in report.checks] if report else [],
        "sources": [dict(source) for source in report.sources] if report else [],
        "engines": {name: dict(one) for name, one in report.engines.items()} if report else {},
        "policy_digest": report.policy_digest if report else "",
    }


def _check_reason(drill: DrillEntry, report: DrillFacts | None) -> str:
    bad = [
        f"{check['name']} {check['source']} {check['verdict']}".replace("  ", " ")
        for check in (report.checks if report else ())
        if check["verdict"] != Verdict.PROVEN
    ]
    return ", ".join(bad) or f"the drill ended {drill.verdict}"


def restores(seen: Observed, runs: Mapping[Run, tuple[LedgerEntry, ...]]) -> Iterator[Statement]:
    """Yield a statement about every restore of the period."""
    known = {one.id: one for one in seen.restores if seen.period.holds(one.started)}
    stated = {run for kind, run in runs if kind == "restore"}
    for run in sorted(stated | known.keys()):
        restore, entries = known.get(run), runs.get(("restore", run), ())
        if restore is None:
            yield from_ledger(
                seen.policy, "restore", run, entries, ("the catalog does not list it",)
            )
            continue
        verdict, reason = judged(
            Verdict(restore.verdict), entries, f"the restore ended {restore.verdict}"
        )
        yield Statement(
            kind="restore",
            run=run,
            about=f"recovery point {restore.recovery_point}",
            subject_sha256=subject_of(entries, run),
            verdict=verdict,
            reason=reason,
            collected=restore.started,
            expires=None,
            facts=_restore_facts(restore),
            entries=tuple(entry.index for entry in entries),
        )


def _restore_facts(restore: RestoreEntry) -> dict[str, Any]:
    return {
        "recovery_point": restore.recovery_point,
        "started": format_time(restore.started),
        "sources": [
            {key: cleaned(one[key]) for key in ("name", "kind", "verdict") if key in one}
            for one in restore.sources
        ],
    }
