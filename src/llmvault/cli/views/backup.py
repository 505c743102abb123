"""Backups, as they were planned and as they went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmvault.backup.model import BackupPlan, BackupResult, Reading
from llmvault.cli.output import Output
from llmvault.cli.views.checks import check_json, show_checks, show_verdict
from llmvault.core.units import format_seconds, format_size
from llmvault.core.verdict import combine


def backup_json(result: BackupResult) -> dict[str, Any]:
    """Return the document of ``backup --json`` (a contract: scripts rely on it)."""
    return {
        "recovery_point": result.recovery_point,
        "plan": result.plan,
        "verdict": result.verdict.value,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "snapshot": source.snapshot,
                "verdict": source.verdict.value,
                "bytes_processed": source.bytes_processed,
                "bytes_added": source.bytes_added,
                "files": source.files,
                "sha256_verified": source.sha256_verified,
                "seconds": source.seconds,
                "reason": source.reason,
            }
            for source in result.sources
        ],
        "repositories": [
            {"name": one.name, "verdict": one.verdict.value, "reason": one.reason}
            for one in result.repositories
        ],
        "checks": [check_json(check) for check in result.checks],
        "seconds": result.seconds,
    }


def show_backups(output: Output, results: Sequence[BackupResult]) -> int:
    """Show how backups went and return the exit code; several make one document of all."""
    documents = [backup_json(result) for result in results]
    verdict = combine(result.verdict for result in results)
    if len(documents) == 1:
        output.emit_json(documents[0])
    else:
        output.emit_json({"verdict": verdict.value, "backups": documents})
    for result in results:
        _show(output, result)
    return verdict.exit_code


def _show(output: Output, result: BackupResult) -> None:
    output.show_table(
        f"Recovery point {result.recovery_point}",
        ("source", "kind", "files", "size", "added", "time", "verdict", "reason"),
        [
            (
                source.name,
                source.kind,
                source.files,
                format_size(source.bytes_processed),
                format_size(source.bytes_added),
                format_seconds(source.seconds),
                source.verdict,
                source.reason,
            )
            for source in result.sources
        ],
    )
    output.show_table(
        "Repositories",
        ("repository", "verdict", "detail"),
        [(one.name, one.verdict, one.reason) for one in result.repositories],
    )
    if result.checks:
        show_checks(output, result.checks)
    size = format_size(sum(source.bytes_processed for source in result.sources))
    added = format_size(sum(source.bytes_added for source in result.sources))
    took = format_seconds(result.seconds)
    text = f"{result.plan}: {result.verdict}, {size} in {took}, {added} added"
    show_verdict(output, result.verdict, text)


def show_plans(output: Output, plans: Sequence[BackupPlan]) -> int:
    """Show what backups would do, and return the exit code."""
    output.emit_json({"plans": [_plan_json(plan) for plan in plans]})
    for plan in plans:
        output.show_table(
            f"Plan {plan.plan} would write to {', '.join(plan.repositories)}",
            ("source", "kind", "compression", "how", "can"),
            [(r.source, r.kind, r.compression, _how(r), ", ".join(r.can)) for r in plan.readings],
        )
    return 0


def _how(reading: Reading) -> str:
    if reading.snapshot == "none":
        return reading.reason
    return f"{reading.reason}; from a filesystem snapshot ({reading.snapshot})"


def _plan_json(plan: BackupPlan) -> dict[str, Any]:
    return {
        "plan": plan.plan,
        "repositories": list(plan.repositories),
        "sources": [
            {
                "name": reading.source,
                "kind": reading.kind,
                "compression": reading.compression,
                "parents": dict(reading.parents),
                "reason": reading.reason,
                "snapshot": reading.snapshot,
                "can": list(reading.can),
            }
            for reading in plan.readings
        ],
    }
